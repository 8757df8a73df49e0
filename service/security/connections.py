"""Reads what clients send before a request is whole and closes connections that take too long or send too much.

uvicorn bounds neither: whoever opens connections and sends a byte now and then could hold any number of them.
"""

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.attention import LEAVING, Leaving

# Seconds for the head of a request, and bytes of it and of whatever else is not body; Request-Timeout-Ms is for bodies.
PATIENCE = 20.0
LARGEST = 65_536


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which counts what is not body, knows since when it waits for a head, and tells of its end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Begin as a connection that has sent nothing."""
        super().__init__(*arguments, **options)
        self._since: float | None = self.loop.time()
        """Since when a head is waited for; None while there is nothing to wait for."""
        self._beside = 0
        """Bytes since the last request began, less twice its body: a body may come in small chunks."""
        self.leaving = Leaving()

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is too much."""
        self._beside += len(data)
        super().data_received(data)
        if self._beside > LARGEST and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        super().on_message_begin()
        self._since, self._beside = self.loop.time(), 0
        self.scope["state"][LEAVING] = self.leaving

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take what is body from what is counted."""
        self._beside -= 2 * len(body)
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who answers a request of the client that it has left."""
        super().connection_lost(exc)
        self.leaving.left()

    def look(self, now: float) -> None:
        """Close the connection if its head is overdue."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._since is not None and now - self._since > PATIENCE and not answering:
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()


def look_after(connections: Iterable[object], now: float) -> None:
    """Close the connections whose heads are overdue at a moment, by the clock of the event loop."""
    for connection in list(connections):
        if isinstance(connection, BoundedProtocol):
            connection.look(now)
