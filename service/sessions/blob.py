"""Reads a session and gives it as one blob that another service can open, and the other way round."""

import hashlib
import struct
from dataclasses import replace

from service.names import shown
from service.sessions.cache import Cache
from service.sessions.session import Session

_MAGIC = b"nextply session\n"
_SIZES = struct.Struct("<HII")
_SHA256 = 32


def pack(session: Session) -> bytes:
    """Give a session as a blob: a magic line, three sizes, its name, log and cache, and the SHA-256 of all before.

    Whose it was is not told.
    """
    id_, (log, cache) = shown(session.id).encode(), session.pack()
    parts = id_, log, cache or b""
    body = _MAGIC + _SIZES.pack(*map(len, parts)) + b"".join(parts)
    return body + hashlib.sha256(body).digest()


def unpack(blob: bytes) -> Session:
    """Read a blob; ValueError if it is none, not whole, or of another format. What it says is not checked further."""
    if not blob.startswith(_MAGIC):
        raise ValueError("this is no exported session")
    body, checksum = blob[:-_SHA256], blob[-_SHA256:]
    if len(body) < len(_MAGIC) + _SIZES.size or hashlib.sha256(body).digest() != checksum:
        raise ValueError("the exported session is damaged or not whole: its SHA-256 does not fit")
    id_size, log_size, cache_size = _SIZES.unpack_from(body, len(_MAGIC))
    rest = body[len(_MAGIC) + _SIZES.size :]
    if len(rest) != id_size + log_size + cache_size:
        raise ValueError("the exported session is not whole")
    id_, log, cache = rest[:id_size], rest[id_size : id_size + log_size], rest[id_size + log_size :]
    try:
        session = replace(Session.unpack(id_.decode(), log), cache=Cache.unpack(cache, None))
    except (struct.error, TypeError) as error:
        raise ValueError(f"the exported session cannot be read: {error}") from None
    if not (isinstance(session.model, str) and isinstance(session.version, str) and isinstance(session.context, dict)):
        raise ValueError("the exported session cannot be read: its head is not what it should be")
    return session
