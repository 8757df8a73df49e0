"""Reads the files of the playground, once, and gives the layer that answers them."""

from collections.abc import Awaitable
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
# Nothing but its own files and the service itself: no inline script or style, no other origin, no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class Playground:
    """An ASGI layer that answers ``/`` and ``/playground/…``.

    It stands before the layer that wants keys: the page is for everybody, and what it asks the service for is not.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Take the application behind this layer, and read the files."""
        self._app = app
        self._files = {_address(name): _File(content, name) for name, content in _read(files(__package__) / "static")}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a file, or pass the request on."""
        if scope["type"] == "http" and (file := self._files.get(scope["path"])) and scope["method"] in ("GET", "HEAD"):
            return file.answer(scope, receive, send)
        return self._app(scope, receive, send)


class _File:
    """One file, and the headers that go with it."""

    def __init__(self, content: bytes, name: str) -> None:
        """Take the content, and the name whose ending says what it is."""
        self._content, self._etag = content, f'"{sha256(content).hexdigest()[:32]}"'
        self._headers = {
            "Content-Type": _TYPES[_ending(name)],
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # Kept, and asked for again each time: after an upgrade, no file of before runs beside one of now.
            "Cache-Control": "no-cache",
            "ETag": self._etag,
        }

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the file, or that the browser's copy of it is still right."""
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"), "")
        if self._etag in (tag.strip().removeprefix("W/") for tag in given.split(",")):
            response = Response(status_code=304, headers=self._headers)
        else:
            response = Response(self._content, headers=self._headers)
        await response(scope, receive, send)


def _address(name: str) -> str:
    return "/" if name == "index.html" else f"/playground/{name}"


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


def _read(folder: Traversable, within: str = "") -> list[tuple[str, bytes]]:
    """Read all files of a folder that a page may want, each with its path in the folder."""
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{within}{entry.name}/")
        elif _ending(entry.name) in _TYPES:
            found.append((within + entry.name, entry.read_bytes()))
    return found
