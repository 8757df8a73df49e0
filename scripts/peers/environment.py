"""Reads names of packages and gives a virtual environment that has them, which is made on first use and kept."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class PeerError(Exception):
    """A peer that cannot be installed or started; the message says why."""


def environment(folder: Path, packages: Sequence[str]) -> Path:
    """Give ``folder`` with an environment in it; PeerError if it cannot be made."""
    done = folder / "installed"
    if not done.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerError(f"{packages[0]} cannot be installed: {error}; --without-peers leaves it out") from None
        done.touch()
    return folder
