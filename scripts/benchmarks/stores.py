"""Reads a folder's name and gives it empty, for logs and stores that are gone afterwards."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Give an empty folder; what was left of an earlier run goes, and what this one leaves if it ends well."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def on_disk(folder: Path) -> int:
    """Give the bytes of disk that the files of a folder take; holes take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
