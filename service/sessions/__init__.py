"""Reads the settings and gives the store in which sessions live."""

from service.sessions.lmdb import LmdbStore
from service.sessions.memory import MemoryStore
from service.sessions.session import Commit, Session, SessionStore, StoreError
from service.settings import Settings

__all__ = ["Commit", "LmdbStore", "MemoryStore", "Session", "SessionStore", "StoreError", "open_store"]


def open_store(settings: Settings) -> SessionStore:
    """Open the store that the settings name; StoreError says why it cannot be."""
    if settings.store == "memory":
        return MemoryStore()
    return LmdbStore(settings.data_dir, settings.store_gib, settings.fsync)
