"""Reads the name of an ASGI server and gives the command that serves scripts/peers/bare.py with one process of it.

They get a virtual environment of their own, which is made on first use and kept.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.peers.triton_server import PeerError

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
    environment = home / "asgi"
    done = environment / "installed"
    if not done.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            subprocess.run([environment / "bin" / "pip", "install", "--quiet", *_PACKAGES], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerError(f"ASGI servers cannot be installed: {error}; --without-peers leaves them out") from None
        done.touch()
    return [str(environment / "bin" / "python"), "-m", server, _APP, *_WORDS[server].split()]
