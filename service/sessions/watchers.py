"""Takes callbacks for sessions, and calls those of a session when it hears that the session was written."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Watchers:
    """Who wants to hear of which session. Any thread may add, leave and tell at any time."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._lock = threading.Lock()
        self._callbacks: dict[str, dict[object, Callable[[], None]]] = {}

    def add(self, id_: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` for a session from now on; what is given ends that."""
        with self._lock:
            self._callbacks.setdefault(id_, {})[leave := object()] = changed
        return lambda: self._remove(id_, leave)

    def _remove(self, id_: str, leave: object) -> None:
        with self._lock:
            callbacks = self._callbacks.get(id_, {})
            if callbacks.pop(leave, None) and not callbacks:
                del self._callbacks[id_]

    def ids(self) -> set[str]:
        """Give the sessions that somebody wants to hear of."""
        with self._lock:
            return set(self._callbacks)

    def tell(self, id_: str) -> None:
        """Call back those who want to hear of a session."""
        with self._lock:
            callbacks = list(self._callbacks.get(id_, {}).values())
        for changed in callbacks:
            try:
                changed()
            except Exception:
                # The others want to hear too.
                _log.exception("a watcher of session %r failed", id_)
