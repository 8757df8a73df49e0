"""Reads the name of an ASGI server and gives the command that serves scripts/peers/bare.py with one process of it."""

from collections.abc import Sequence
from pathlib import Path

from scripts.peers.environment import environment

_APP = "scripts.peers.bare:app"
_PACKAGES = ("uvicorn", "httptools", "uvloop", "granian[uvloop]", "hypercorn[uvloop]")
_WORDS = {
    "uvicorn": "--port {port} --http httptools --loop uvloop --lifespan off --no-access-log --no-proxy-headers",
    "granian": "--port {port} --interface asginl --loop uvloop --no-ws --log-level warning",
    "hypercorn": "--bind 127.0.0.1:{port} --worker-class uvloop",
}
ASGI_SERVERS: Sequence[str] = tuple(_WORDS)


def command(home: Path, server: str) -> list[str]:
    """Give a command, in which ``{port}`` stands for the port; PeerError if the servers cannot be installed."""
    python = environment(home / "asgi", _PACKAGES) / "bin" / "python"
    return [str(python), "-m", server, _APP, *_WORDS[server].split()]
