"""Reads messages as bytes and gives what came of them over plain sockets: answers counted, times, processor time.

A client library would cost more than the service here. Messages are made before the clock runs, and of an answer only
its frame is read, and whether it holds a problem.
"""

import base64
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from scripts.benchmarks.servers import BenchmarkError, host_and_port

Take = Callable[[bytearray], int]
"""Takes the whole answers out of a buffer and says how many there were; BenchmarkError if one is an error."""

_PIECE = 1 << 18
_PATIENCE = 60.0
_PROBLEM = b'"problem"'


@dataclass(frozen=True, slots=True)
class Pumped:
    """What came of a load; times are seconds."""

    answers: int
    seconds: float
    times: list[float]
    """How long each answer took, where a connection waits for each."""
    client_cpu: float


@dataclass(slots=True, eq=False)
class _Link:
    socket: socket.socket
    messages: Iterator[bytes]
    unsent: bytes = b""
    buffer: bytearray = field(default_factory=bytearray)
    waiting: int = 0
    since: float = 0.0


def take_http(buffer: bytearray) -> int:
    """Take HTTP/1.1 answers that say how long they are."""
    count = 0
    while (end := buffer.find(b"\r\n\r\n")) >= 0:
        head = bytes(buffer[:end]).lower()
        _, found, length = head.partition(b"content-length: ")
        whole = end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
        if len(buffer) < whole:
            break
        if not head.startswith(b"http/1.1 2") or _PROBLEM in buffer[end:whole]:
            raise BenchmarkError(f"the service refused: {bytes(buffer[:whole])[:1000].decode(errors='replace')}")
        del buffer[:whole]
        count += 1
    return count


def take_frames(buffer: bytearray) -> int:
    """Take the text frames of a WebSocket."""
    count, at, size = 0, 0, len(buffer)
    if buffer.find(_PROBLEM) >= 0:
        raise BenchmarkError(f"the service refused: {bytes(buffer[:2000]).decode(errors='replace')}")
    while at + 4 <= size:
        length, head = buffer[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
        if at + head + length > size:
            break
        kind = buffer[at] & 15
        if kind == 8:
            raise BenchmarkError(f"the WebSocket was closed: {bytes(buffer[at + head : at + head + length])!r}")
        # Pings are not answered: the service gives a client two minutes.
        count += kind == 1
        at += head + length
    del buffer[:at]
    return count


def frame(text: bytes) -> bytes:
    """Give a text frame as a client sends it, under a mask of zeros, which leaves the text as it is."""
    size = len(text)
    length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


def connect(url: str) -> socket.socket:
    """Open a connection."""
    link = socket.create_connection(host_and_port(url), timeout=_PATIENCE)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def connect_stream(url: str, path: str) -> socket.socket:
    """Open a WebSocket; BenchmarkError if it is refused."""
    link = connect(url)
    key = base64.b64encode(bytes(16)).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    link.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = link.recv(_PIECE)
        answer += piece
        if not piece or not answer.startswith(b"HTTP/1.1 101"[: len(answer)]):
            raise BenchmarkError(f"no WebSocket at {url}{path}: {answer[:1000].decode(errors='replace')}")
    return link


def pump(
    links: Sequence[socket.socket], messages: Sequence[Iterable[bytes]], take: Take, window: int, seconds: float
) -> Pumped:
    """Send each connection its messages, with at most ``window`` of them unanswered, until the time is over.

    Ends before if there are no more. What is unanswered in the end is waited for, and all answers and all the time
    count. Connections are closed. BenchmarkError if an answer is an error, or none comes for a minute.
    """
    run = _Run(take, window)
    try:
        return run.through([_Link(link, iter(given)) for link, given in zip(links, messages, strict=True)], seconds)
    finally:
        for link in links:
            link.close()


class _Run:
    def __init__(self, take: Take, window: int) -> None:
        self._take, self._window = take, window
        self._selector = selectors.DefaultSelector()
        self._times: list[float] = []

    def through(self, links: Sequence[_Link], seconds: float) -> Pumped:
        cpu, begun = time.process_time(), time.perf_counter()
        now, end, answers = begun, begun + seconds, 0
        for link in links:
            link.socket.setblocking(False)
            self._selector.register(link.socket, selectors.EVENT_READ, link)
            self._send(link)
        while any(link.waiting for link in links):
            ready = self._selector.select(_PATIENCE)
            if not ready:
                raise BenchmarkError(f"no answer for {_PATIENCE:g} s")
            now = time.perf_counter()
            for key, events in ready:
                answers += self._receive(key.data, now) if events & selectors.EVENT_READ else 0
                self._send(key.data, more=now < end)
        self._selector.close()
        return Pumped(answers, now - begun, self._times, time.process_time() - cpu)

    def _receive(self, link: _Link, now: float) -> int:
        piece = link.socket.recv(_PIECE)
        if not piece:
            raise BenchmarkError(f"the service closed a connection: {bytes(link.buffer[:1000])!r}")
        link.buffer += piece
        count = self._take(link.buffer)
        link.waiting -= count
        if count and self._window == 1:
            self._times.append(now - link.since)
        return count

    def _send(self, link: _Link, *, more: bool = True) -> None:
        """Send what is left; with ``more`` fill the window once half of it is free, so that many go in one call."""
        if more and not link.unsent and link.waiting <= self._window // 2:
            batch = []
            for message in link.messages:
                batch.append(message)
                if link.waiting + len(batch) == self._window:
                    break
            link.waiting += len(batch)
            link.unsent, link.since = b"".join(batch), time.perf_counter()
        if not link.unsent:
            return
        try:
            sent = link.socket.send(link.unsent)
        except BlockingIOError:
            sent = 0
        link.unsent = link.unsent[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.unsent else 0)
        if self._selector.get_key(link.socket).events != wanted:
            self._selector.modify(link.socket, wanted, link)


def exchange(url: str, request: bytes) -> bytes:
    """Send one request and give the whole answer, headers included; BenchmarkError if it is an error."""
    with connect(url) as link:
        link.sendall(request)
        received = bytearray()
        while not take_http(bytearray(received)):
            piece = link.recv(_PIECE)
            if not piece:
                raise BenchmarkError(f"the service closed the connection after {bytes(received[:1000])!r}")
            received += piece
        return bytes(received)
