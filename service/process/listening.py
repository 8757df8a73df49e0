"""Reads a host and a port and gives the sockets to serve, one for each process."""

import select
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

# Connections that may wait to be taken, if the system's own limit is not lower.
BACKLOG = 2048
# Connections that are taken over from another process at a time.
_AT_ONCE = 64


class AddressError(Exception):
    """The address to listen on cannot be had."""


def listen(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Give sockets on which connections wait until they are served; AddressError if the address cannot be had.

    The system deals new connections out to ``count`` of them evenly; where it cannot, all are the same socket.
    """
    deals_out = count > 1 and sys.platform == "linux"
    try:
        first = _listen(host, port)
        if not deals_out:
            return [first] * count
        # Who shares a port shares it with every process of this user: the first says that nobody is there yet.
        port = first.getsockname()[1]
        first.close()
        return [_listen(host, port, shared=True) for _ in range(count)]
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (")
        raise AddressError(f"cannot listen on {host} port {port}: {reason}") from None


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)


class Neighbours:
    """The sockets of other processes, which are looked after in case that one of them hangs or starts anew."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """Take the sockets."""
        self._sockets = {listening.fileno(): listening for listening in sockets}
        self._poll = select.poll()
        for number, listening in self._sockets.items():
            listening.setblocking(False)
            self._poll.register(number, select.POLLIN)
        self._waited: set[int] = set()

    def overdue(self) -> list[socket.socket]:
        """Take connections that wait on a socket on which some waited at the last look already."""
        waiting = {number for number, _ in self._poll.poll(0)}
        overdue, self._waited = waiting & self._waited, waiting
        return [connection for number in overdue for connection in _accepted(self._sockets[number])]

    def close(self) -> None:
        """Look after nobody any more."""
        for listening in self._sockets.values():
            self._poll.unregister(listening)
            listening.close()
        self._sockets.clear()


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    with suppress(OSError):
        for _ in range(_AT_ONCE):
            yield listening.accept()[0]


def address(listening: socket.socket) -> str:
    """Give the URL of what is served on a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
