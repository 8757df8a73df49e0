"""What can go wrong between a caller and what it may do."""

from collections.abc import Iterable

from service.errors import Overloaded, Problem


class KeysError(Exception):
    """Keys or settings of tokens that cannot be used; the message says where, and never repeats a key."""


class Unauthorized(Problem):
    """The key or token is missing, wrong, or over."""

    status, code = 401, "unauthorized"

    def __init__(self, detail: str, *, invalid: bool = True) -> None:
        """Say what is wrong; ``invalid`` says that something was given, and is not good."""
        super().__init__(detail)
        self._error = ', error="invalid_token"' if invalid else ""

    def headers(self) -> dict[str, str]:
        """Say how to sign in (RFC 6750)."""
        return {"WWW-Authenticate": f'Bearer realm="nextply"{self._error}'}


class Forbidden(Problem):
    """The key may not do this; ``needs`` names the scopes of which one would do."""

    status, code = 403, "forbidden"

    def __init__(self, needs: Iterable[str]) -> None:
        """Take the scopes of which the key has none."""
        self._needs = sorted(needs)
        super().__init__(f"the key lacks the scope {' or '.join(self._needs)}", needs=self._needs)

    def headers(self) -> dict[str, str]:
        """Say which scope would do (RFC 6750)."""
        scope = " ".join(self._needs)
        return {"WWW-Authenticate": f'Bearer realm="nextply", error="insufficient_scope", scope="{scope}"'}


class NotNamed(Problem):
    """An address of which nobody has said who may use it."""

    status, code = 404, "not_found"


class ForeignPage(Problem):
    """A WebSocket that a page of another origin opens."""

    status, code = 403, "foreign_page"


class RateLimited(Overloaded):
    """More requests than the key may send."""

    code = "rate_limited"


class QuotaReached(Problem):
    """As many sessions as the key may keep."""

    status, code = 403, "quota_reached"


class IssuerAway(Problem):
    """The keys that tokens are signed with cannot be fetched."""

    status, code = 503, "issuer_away"
