"""Reads files of game records, picked by the ending of their names, and gives one record a game, never a whole file."""

from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from model.games.records.files import COMPRESSIONS, open_records
from model.games.records.json_lines import read_json_lines
from model.games.records.pgn import read_pgn
from model.games.records.record import BadRecord, Record, first_of_each
from model.games.records.wthor import read_wthor

__all__ = ["BadRecord", "Record", "first_of_each", "read_records"]

_READERS: dict[str, Callable[[BufferedReader], Iterator[Record]]] = {
    ".pgn": read_pgn,
    ".jsonl": read_json_lines,
    ".wtb": read_wthor,
}


def read_records(path: Path) -> Iterator[Record]:
    """Give the records of ``.pgn``, ``.jsonl`` or ``.wtb``, each plain or compressed (``.zst``, ``.gz``, ``.zip``).

    A record that cannot be read comes with its ``problem``, so that the reader's caller can count and name it.
    ValueError if the file's name has another ending, or its content is damaged or cut off.
    """
    suffixes = [suffix for suffix in map(str.lower, path.suffixes) if suffix in (*_READERS, *COMPRESSIONS)]
    if not suffixes or suffixes[0] not in _READERS:
        raise ValueError(f"{path.name}: records come as .pgn, .jsonl or .wtb, each with or without .zst, .gz or .zip")
    with open_records(path, suffixes[-1]) as file:
        try:
            yield from _READERS[suffixes[0]](file)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
