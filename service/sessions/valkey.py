"""Sessions in a Valkey server, or any that speaks its protocol: shared by all processes of all machines."""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from valkey import Connection, ConnectionPool, SSLConnection, Valkey
from valkey.connection import parse_url
from valkey.exceptions import ConnectionError as NotConnected
from valkey.exceptions import ReadOnlyError, ResponseError, ValkeyError

from service.names import in_tenant
from service.sessions.channels import Channels
from service.sessions.session import Commit, Forgotten, Found, Limits, Page, Session, StoreError, read

# Seconds to wait for a connection, and for an answer; the URL may say otherwise.
_CONNECT, _ANSWER = 0.5, 1.0
# Seconds for which a server that was away is not asked again, so that not every call waits for it.
_PAUSE = 0.25
# What the URL may set. Retries are not among it: a commit sent twice would be refused because of itself.
_OPTIONS = "socket_timeout", "socket_connect_timeout", "ssl_"
# What means something in a pattern of keys.
_GLOB = re.compile(r"[*?\[\]^\\-]")
# Times that the server is asked for one page of a listing.
_ASKED = 8

# Revisions are compared as bytes: Lua has no integers above 2^53. A log that is not there has none, which is "".
_COMMIT = """
if redis.call('GETRANGE', KEYS[1], 8, 15) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[4] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5]) end
redis.call('SET', KEYS[3], '', 'PX', ARGV[6])
redis.call('PUBLISH', ARGV[7], '')
return 1
"""
_DELETE = """
local there = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2], KEYS[3])
if there == 1 then redis.call('PUBLISH', ARGV[1], '') end
return there
"""


class ValkeyStore:
    """One round trip a call. Of a session there are three keys: its log, its cache, and a mark that it was there.

    The server forgets by itself: each key has a time to live. Where memory is short, a server with ``maxmemory-policy
    volatile-ttl`` and ``maxmemory-samples 64`` gives up what has least of it left: caches before logs, and those that
    were idle longest before others. While the server is away a call raises StoreError, most of them at once.
    """

    near = quick = False

    def __init__(self, url: str, limits: Limits) -> None:
        """Take the address; StoreError if it is none. The server need not be there yet."""
        self._limits = limits
        pool = _pool(url)
        self._server = Valkey(connection_pool=pool)
        self._where = "{host}:{port}".format(**{"port": 6379} | pool.connection_kwargs)
        self._channels = Channels(pool.make_connection())
        self._away_until = 0.0
        self._away = ""

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        """Give the sessions of ``ids``, in order, None for those that nothing is known of."""
        answers = self._ask([("MGET", *_keys(id_)) for id_ in ids])
        return [
            read(id_, log, cache, gone=mark is not None) for id_, (log, cache, mark) in zip(ids, answers, strict=True)
        ]

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        """Give False for each: asking would take as long as loading."""
        return [False] * len(sessions)

    def commit_many(self, commits: Sequence[Commit], waits: Callable[[], None] = lambda: None) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept."""
        return self._run(_COMMIT, [(commit.session.id, self._change(commit)) for commit in commits])

    def _change(self, commit: Commit) -> tuple[bytes | int, ...]:
        expected = b"" if commit.expected is None else commit.expected.to_bytes(8, "little")
        (log, cache), limits = commit.session.pack(), self._limits
        return expected, log, limits.session_ttl, cache or b"", limits.state_ttl, 2 * limits.session_ttl

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions without a trace; say for each whether it was there."""
        return self._run(_DELETE, [(id_, ()) for id_ in ids])

    def _run(self, script: str, calls: Sequence[tuple[str, tuple[bytes | int, ...]]]) -> list[bool]:
        """Run a script for each id, with the arguments and the id's channel."""
        if not calls:
            return []
        # Sent every time, a server that came back without its scripts is no special case.
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        runs = [("EVALSHA", digest, 3, *_keys(id_), *arguments, _channel(id_)) for id_, arguments in calls]
        return [answer == 1 for answer in self._ask([("SCRIPT LOAD", script), *runs])[1:]]

    def scan(self, after: str | None, count: int, prefix: str) -> Page:
        """Give about ``count`` sessions in an order that means nothing; ``after`` is the server's cursor."""
        cursor = 0 if after is None else int(after)
        if not 0 <= cursor < 1 << 64:
            raise ValueError("no place in this listing")
        ids: dict[str, None] = {}
        pattern = _keys(_GLOB.sub(r"\\\g<0>", prefix) + "*")[0]
        # The server gives whole buckets of keys of all kinds. Half a page is enough, so that none runs over.
        for _ in range(_ASKED):
            [(place, keys)] = self._ask([("SCAN", cursor, "MATCH", pattern, "COUNT", count - len(ids))])
            cursor = int(place)
            ids |= dict.fromkeys(id_ for id_ in map(_id, keys) if in_tenant(id_, prefix))
            if cursor == 0 or len(ids) * 2 >= count:
                break
        logs = self._ask([("MGET", _keys(id_)[0]) for id_ in ids])
        found = [read(id_, log, None) for id_, (log,) in zip(ids, logs, strict=True)]
        sessions = [session for session in found if isinstance(session, Session)]
        return Page(sessions, str(cursor) if cursor else None)

    def forget(self, now: int) -> Forgotten:
        """Do nothing: the server forgets by itself."""
        return Forgotten()

    def kept(self) -> None:
        """Give None: the server counts its keys, not the sessions that they are of."""

    def watch(self, id_: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each write of a session by any process, until what is given is called."""
        return self._channels.add(_channel(id_), changed)

    def close(self) -> None:
        """Let go of the connections."""
        self._channels.close()
        self._server.connection_pool.disconnect()

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands together and give their answers; StoreError if the server is away or refuses one."""
        if time.monotonic() < self._away_until:
            raise StoreError(self._away)
        pipeline = self._server.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        except (ValkeyError, OSError) as error:
            self._away = f"the session store at {self._where} is away: {error}"
            self._away_until = time.monotonic() + _PAUSE
            raise StoreError(self._away) from error
        for answer in answers:
            if isinstance(answer, ResponseError):
                if isinstance(answer, ReadOnlyError):
                    # It is a replica now. A new connection may lead to the new primary.
                    self._server.connection_pool.disconnect()
                raise StoreError(f"the session store at {self._where} refused: {answer}")
        return answers


def _pool(url: str) -> ConnectionPool:
    try:
        given = parse_url(url)
        given.get("host", "").encode("idna")
        options = parse_qs(urlsplit(url).query)
    except ValueError:
        # The client's own words may repeat what it took a password for.
        raise StoreError("the address of the session store is none of a Valkey server: valkey://host:port") from None
    for name in options:
        if not name.startswith(_OPTIONS):
            raise StoreError(f"the address of the session store has an option that there is not: {name}")
    settings = {
        "socket_timeout": _ANSWER,
        "socket_connect_timeout": _CONNECT,
        "socket_keepalive": True,
        "valkey_connect_func": _on_connect,
    }
    if given.get("connection_class") is SSLConnection:
        settings["ssl_check_hostname"] = given.get("ssl_cert_reqs") != "none"
    pool = ConnectionPool(**settings | given)
    try:
        pool.make_connection()
    except (TypeError, ValkeyError) as error:
        raise StoreError(f"the address of the session store has an option that cannot be used: {error}") from None
    return pool


def _on_connect(connection: Connection) -> None:
    """Sign in, and refuse a replica: what it answers may be out of date."""
    connection.on_connect()
    connection.send_command("HELLO")
    answer = connection.read_response()
    if b"replica" in answer or b"slave" in answer:
        raise NotConnected("it is a replica, which is only read from")


def _keys(id_: str) -> tuple[str, str, str]:
    """Give the keys of log, cache and mark; the braces keep them on one node of a cluster."""
    return f"nextply:{{{id_}}}:log", f"nextply:{{{id_}}}:cache", f"nextply:{{{id_}}}:was"


def _id(key: bytes) -> str:
    return key.decode().removeprefix("nextply:{").removesuffix("}:log")


def _channel(id_: str) -> str:
    return f"nextply:{{{id_}}}"
