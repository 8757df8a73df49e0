"""Subscribes to channels of a Valkey server and calls back when something is published there."""

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from valkey import Connection
from valkey.exceptions import TimeoutError as NotAnswered
from valkey.exceptions import ValkeyError

from service.sessions.watchers import Watchers

_log = logging.getLogger(__name__)

# Seconds between two tries to reach a server that is away.
_PAUSE = 0.25
# Seconds of silence after which the server is asked whether it is still there.
_SILENCE = 5.0


class Channels:
    """A connection and a thread that only live while somebody listens.

    A callback is called once its channel is subscribed to, and again each time after the server was away, since
    something may have been published before.
    """

    def __init__(self, connection: Connection) -> None:
        """Take a connection of its own, not connected yet."""
        self._connection = connection
        self._watchers = Watchers()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._closed = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._live, name="store-channels", daemon=True)
        self._start = threading.Lock()

    def add(self, channel: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each message of a channel, on a thread of its own, until what is given is called."""
        leave = self._watchers.add(channel, changed)
        with self._start:
            if self._thread.ident is None:
                self._thread.start()
        self._poke()

        def left() -> None:
            leave()
            self._poke()

        return left

    def close(self) -> None:
        """End the thread and the connection."""
        self._closed.set()
        self._poke()
        with self._start:
            if self._thread.ident is not None:
                self._thread.join()
        self._wake.close()
        self._woken.close()

    def _poke(self) -> None:
        # A full pipe wakes as well, and a closed one has nobody to wake.
        with suppress(OSError):
            self._wake.send(b"!")

    def _live(self) -> None:
        while not self._closed.is_set():
            if not self._watchers.ids():
                self._wait(None)
                continue
            try:
                self._connection.connect()
                self._listen()
            except (ValkeyError, OSError) as error:
                if not self._away:
                    _log.warning("what other processes write is not heard of until the store is back: %s", error)
                self._away = True
                self._closed.wait(_PAUSE)
            finally:
                self._connection.disconnect()

    def _listen(self) -> None:
        """Keep the subscriptions what they should be, and pass on what is said, while there is anybody to listen."""
        subscribed: set[str] = set()
        while not self._closed.is_set() and (wanted := self._watchers.ids()):
            for command, channels in ("SUBSCRIBE", wanted - subscribed), ("UNSUBSCRIBE", subscribed - wanted):
                if channels:
                    self._connection.send_command(command, *channels)
            subscribed = wanted
            self._pass_on()

    def _pass_on(self) -> None:
        """Pass on what is said until the wishes of the listeners change."""
        asked = False
        while True:
            while self._connection.can_read(0):
                kind, channel, *_ = self._connection.read_response()
                self._away = asked = False
                if kind in (b"subscribe", b"message"):
                    self._watchers.tell(channel.decode())
            ready = self._wait(_SILENCE)
            if self._woken in ready:
                return
            if not ready:
                if asked:
                    raise NotAnswered("no answer")
                self._connection.send_command("PING")
                asked = True

    def _wait(self, seconds: float | None) -> list[object]:
        """Wait until the server says something or the listeners' wishes change, and give what it was."""
        with selectors.PollSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if self._connection._sock is not None:
                selector.register(self._connection._sock, selectors.EVENT_READ)
            ready: list[object] = [key.fileobj for key, _ in selector.select(seconds)]
        if self._woken in ready:
            self._woken.recv(4096)
        return ready
