"""Reads the records of an LMDB store and gives the places of sessions in its indices, and what was idle longest.

A place is a moment and an id. In an index they stand in the order of time, so that what is to be forgotten is in front.
"""

import heapq
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Any

import lmdb

from service.sessions.session import USED

# Bytes of the moment that leads a place, and that stands in place of the log of a session that is gone.
MARK = 8
# Milliseconds in which a session keeps its place though it is used, since changing it costs as much as its log. Who was
# idle for too long is known exactly all the same; only of many who are too many, the order may be wrong by so much.
_PERIOD = 16_384
# Places that are looked at for what is to be forgotten: nobody waits long for the store.
_AT_ONCE = 512


def place_of(record: bytes, key: bytes) -> bytes:
    """Give the place of an id by its log or its mark; big-endian, so that byte order is the order of time."""
    if len(record) == MARK:
        return record[::-1] + key
    used = int.from_bytes(record[USED], "little")
    return (used - used % _PERIOD).to_bytes(MARK, "big") + key


def oldest(transaction: lmdb.Transaction, logs: Any, indices: Sequence[Any], before: int, surplus: int) -> list[bytes]:
    """Give the places of what was used before a moment, and of so many that are a surplus; some at a time."""
    places = heapq.merge(*(map(bytes, transaction.cursor(index).iternext(values=False)) for index in indices))
    early = islice(takewhile(lambda place: surplus > 0 or _time(place) < before, places), _AT_ONCE)
    used = sorted((_used(transaction, logs, place), place) for place in early)
    # In their own order, so that what is written of them is written page by page.
    return sorted(place for number, (at, place) in enumerate(used) if number < surplus or at < before)


def get(transaction: lmdb.Transaction, key: bytes, database: Any) -> bytes | None:
    """Give the record of a key, None if there is none."""
    found = transaction.get(key, db=database)
    return None if found is None else bytes(found)


def _used(transaction: lmdb.Transaction, logs: Any, place: bytes) -> int:
    """Give when that was used which stands at a place; the place itself tells no more than about when."""
    key = place[MARK:]
    log = get(transaction, key, logs) or b""
    told = len(log) > MARK and place_of(log, key) == place
    return int.from_bytes(log[USED], "little") if told else _time(place)


def _time(place: bytes) -> int:
    """Give the moment at which a place begins."""
    return int.from_bytes(place[:MARK], "big")
