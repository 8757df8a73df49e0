"""Reads API keys from a file or from a setting and gives who a key is; only their hashes are ever kept.

A key is 256 random bits, so its plain SHA-256 is enough: nobody can try out as many, and slow hashes, which are made
for passwords that people think of, would only slow down every request.
"""

import hashlib
import hmac
import logging
import secrets
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.security.caller import Caller, Scope
from service.security.failures import KeysError
from service.security.rates import Rate

_log = logging.getLogger("nextply")
# How every key begins, so that people and scanners for secrets know one when they see it.
_MARK = "nextply_"
# Bytes of a hash by which it is looked up; all of it is then compared in constant time.
_INDEX = 8
# Seconds between two looks at the file.
_LOOK = 1.0

Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$")]


class Entry(BaseModel):
    """One key as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tenant: Tenant
    """Whose sessions it sees; several keys may have the same. Empty: the sessions of a service without keys."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    rate: float | None = Field(None, gt=0)
    """Requests a second."""
    burst: int | None = Field(None, ge=1)
    """Requests at once after a pause; as many as in a second if nothing is said."""
    sessions: int | None = Field(None, ge=1)
    """Sessions that the tenant may keep."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keys: list[Entry]


class Keys:
    """The keys of a service, read again when their file changes."""

    def __init__(self, source: str, rate: float | None, quota: int | None) -> None:
        """Read keys: ``source`` is the path of a file, or JSON itself; KeysError says what is wrong with it.

        ``rate`` and ``quota`` are those of a key for which nothing else is said.
        """
        self._rate, self._quota = rate, quota
        inline = source.lstrip().startswith(("{", "["))
        self._file = None if inline else Path(source)
        self._seen: tuple[int, ...] = ()
        self._callers: dict[Entry, Caller] = {}
        self._index: dict[bytes, list[tuple[bytes, Caller]]] = {}
        self._look_at = time.monotonic() + _LOOK
        if self._file is None:
            self._take(_entries(source, "the keys"))
        else:
            self._read(self._file)

    def find(self, digest: bytes) -> Caller | None:
        """Give who the key with this SHA-256 is, None if there is no such key."""
        if self._file is not None and time.monotonic() >= self._look_at:
            self._look(self._file)
        for hashed, caller in self._index.get(digest[:_INDEX], ()):
            if hmac.compare_digest(hashed, digest):
                return caller
        return None

    def _look(self, file: Path) -> None:
        """Read the file again if it is another one now; while it cannot be read the keys stay as they are."""
        self._look_at = time.monotonic() + _LOOK
        try:
            if _state(file) != self._seen:
                self._read(file)
                _log.info("%s was read again: %d keys", file, len(self._callers))
        except KeysError as error:
            _log.error("%s; the keys stay as they were", error)
        except OSError as error:
            if self._seen:
                _log.error("%s cannot be read: %s; the keys stay as they were", file, error.strerror)
            self._seen = ()

    def _read(self, file: Path) -> None:
        try:
            self._seen = _state(file)
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise KeysError(f"{file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise KeysError(f"{file} is not UTF-8") from None
        self._take(_entries(text, str(file)))

    def _take(self, entries: list[Entry]) -> None:
        """Put keys in place of those before; who is as before goes on as before, who is not there any more ends."""
        before, self._callers = self._callers, {}
        index: dict[bytes, list[tuple[bytes, Caller]]] = {}
        for entry in entries:
            who = self._callers[entry] = before.pop(entry) if entry in before else self._caller(entry)
            digest = bytes.fromhex(entry.sha256)
            index.setdefault(digest[:_INDEX], []).append((digest, who))
        self._index = index
        for gone in before.values():
            gone.until = 0

    def _caller(self, entry: Entry) -> Caller:
        quota = entry.sessions or self._quota
        return Caller(entry.tenant, entry.scopes, rate_of(entry.rate or self._rate, entry.burst), quota)


def rate_of(per_second: float | None, burst: int | None = None) -> Rate | None:
    """Give a rate, None if there is no limit; after a pause a second's worth comes at once, unless ``burst`` says."""
    return None if per_second is None else Rate(per_second, burst or max(1, round(per_second)))


def digest_of(key: bytes) -> bytes:
    """Give the SHA-256 by which a key is known."""
    return hashlib.sha256(key).digest()


def new_key() -> str:
    """Give a key that nobody can guess."""
    return _MARK + secrets.token_urlsafe(32)


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _entries(text: str, where: str) -> list[Entry]:
    """Read keys, JSON or TOML; KeysError says what is wrong, in words that repeat nothing of them."""
    try:
        entries = _File.model_validate(_members(text)).keys
    except orjson.JSONDecodeError as error:
        raise KeysError(f"{where}: line {error.lineno} is not JSON") from None
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(")[2].removesuffix(")")
        raise KeysError(f"{where}: not TOML {place}") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(map(str, found["loc"]))
        raise KeysError(f"{where}: {path}: {found['msg']}") from None
    if len({entry.sha256 for entry in entries}) < len(entries):
        raise KeysError(f"{where}: two keys have the same sha256")
    return entries


def _members(text: str) -> Mapping[str, Any]:
    if not text.lstrip().startswith(("{", "[")) or text.lstrip().startswith("[["):
        return tomllib.loads(text)
    found = orjson.loads(text)
    return {"keys": found} if isinstance(found, list) else found
