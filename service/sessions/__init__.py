"""Reads the settings and gives the store in which sessions live."""

from service.sessions.cache import Cache
from service.sessions.lmdb import LmdbStore
from service.sessions.memory import MemoryStore
from service.sessions.session import (
    Commit,
    Expired,
    Forgotten,
    Found,
    Kept,
    Limits,
    Page,
    Session,
    SessionStore,
    StoreError,
    Unreadable,
    moves_after,
    pack_moves,
)
from service.settings import Settings

__all__ = [
    "Cache",
    "Commit",
    "Expired",
    "Forgotten",
    "Found",
    "Kept",
    "Limits",
    "LmdbStore",
    "MemoryStore",
    "Page",
    "Session",
    "SessionStore",
    "StoreError",
    "Unreadable",
    "moves_after",
    "open_store",
    "pack_moves",
]


def open_store(settings: Settings) -> SessionStore:
    """Open the store that the settings name; StoreError says why it cannot be."""
    limits = Limits(
        state_ttl=settings.state_ttl * 1000,
        session_ttl=settings.session_ttl * 1000,
        max_states=settings.max_states,
        max_sessions=settings.max_sessions,
    )
    if settings.store == "memory":
        return MemoryStore(limits)
    if settings.store == "lmdb":
        return LmdbStore(settings.data_dir, settings.store_gib, settings.fsync, limits)
    # The client is only loaded where it is used.
    from service.sessions.valkey import ValkeyStore

    return ValkeyStore(settings.store, limits)
