"""Reads JSON lines, each a list of moves or an object with ``moves``, ``context`` and ``date``, and gives records."""

import json
import re
from collections.abc import Iterator
from io import BufferedReader
from typing import IO, Any

from model.games.records.files import LONGEST, decode
from model.games.records.record import BadRecord, Record

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def read_json_lines(file: BufferedReader) -> Iterator[Record]:
    """Give one record a line; empty lines do not count."""
    with decode(file) as lines:
        for number, line in enumerate(_lines_of(lines), start=1):
            try:
                if len(line) > LONGEST:
                    raise BadRecord("it is longer than any game")
                record = _from_json(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                record = Record(number, [], problem=str(error))
            yield record


def _lines_of(file: IO[str]) -> Iterator[str]:
    """Give the lines that are not empty; of one that is too long, its beginning."""
    while line := file.readline(LONGEST + 1):
        part = line
        while len(part) > LONGEST and not part.endswith("\n"):
            part = file.readline(LONGEST + 1)
        if line.strip():
            yield line


def _from_json(number: int, value: Any) -> Record:
    if isinstance(value, list):
        value = {"moves": value}
    moves = value.get("moves") if isinstance(value, dict) else None
    if not isinstance(moves, list) or not all(isinstance(move, str) for move in moves):
        raise BadRecord('a line is a list of strings, or an object with "moves", such a list')
    context, date = value.get("context") or {}, value.get("date")
    if not isinstance(context, dict):
        raise BadRecord('"context" is an object, one value a field')
    if date is not None and not (isinstance(date, str) and _DATE.fullmatch(date)):
        raise BadRecord('"date" is a string like "2024-12-31"')
    return Record(number, moves, context, date=date)
