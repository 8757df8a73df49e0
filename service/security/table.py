"""Says which scope each address needs: the one place where that is decided. What is not named here is refused."""

import re

from service.security.caller import SCOPES, Scope

Needed = frozenset[Scope]

OPEN: Needed = frozenset()
"""Needs no key."""
PREDICT: Needed = frozenset({"predict"})
SESSIONS: Needed = frozenset({"sessions"})
ADMIN: Needed = frozenset({"admin"})
EITHER = PREDICT | SESSIONS
ANY: Needed = SCOPES

# One of the scopes is enough. ``{}`` is any one name, on one line: a router may overlook the end of a line at the end
# of an address, and this table must not name another route than it finds. What is asked for most often stands first.
_ROUTES: dict[str, Needed] = {
    "/sessions/{}/moves": SESSIONS,
    "/predict": PREDICT,
    "/steps": SESSIONS,
    # The route asks for sessions where there is a sequence, and else for predict.
    "/v2/models/{}/infer": EITHER,
    "/v2/models/{}/versions/{}/infer": EITHER,
    "/sessions": SESSIONS,
    "/sessions/{}": SESSIONS,
    "/sessions/{}/peek": SESSIONS,
    "/sessions/{}/takeback": SESSIONS,
    "/sessions/{}/fork": SESSIONS,
    "/sessions/{}/explain": SESSIONS,
    "/sessions/{}/state": SESSIONS,
    "/sessions/{}/events": SESSIONS,
    "/sessions/{}/stream": SESSIONS,
    "/stream": SESSIONS,
    "/health/live": OPEN,
    "/health/ready": OPEN,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/models": ANY,
    "/models/reload": ADMIN,
    "/metrics": ADMIN,
    "/v2": ANY,
    # How much others ask for is none of a tenant's business.
    "/v2/models/stats": ADMIN,
    "/v2/models/{}/stats": ADMIN,
    "/v2/models/{}/versions/{}/stats": ADMIN,
    "/v2/models/{}": ANY,
    "/v2/models/{}/ready": ANY,
    "/v2/models/{}/config": ANY,
    "/v2/models/{}/versions/{}": ANY,
    "/v2/models/{}/versions/{}/ready": ANY,
    "/v2/models/{}/versions/{}/config": ANY,
    "/v2/repository/index": ANY,
    "/v2/repository/models/{}/load": ADMIN,
    "/v2/repository/models/{}/unload": ADMIN,
    "/openapi.json": ANY,
    "/docs": ANY,
    "/docs/oauth2-redirect": ANY,
    "/redoc": ANY,
}


class Table:
    """The addresses of one service."""

    def __init__(self, *, open_metrics: bool) -> None:
        """Take whether metrics are for everybody."""
        routes = _ROUTES | ({"/metrics": OPEN} if open_metrics else {})
        self._needed = list(routes.values())
        patterns = (re.escape(route).replace(r"\{\}", r"[^/\n]+") for route in routes)
        self._find = re.compile("|".join(f"({pattern})" for pattern in patterns)).fullmatch

    def needed(self, path: str) -> Needed | None:
        """Give the scopes of which an address needs one; none if it is open, None if it is not named."""
        found = self._find(path)
        return None if found is None or found.lastindex is None else self._needed[found.lastindex - 1]
