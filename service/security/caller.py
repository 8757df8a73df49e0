"""Knows who asks in the request that runs: which tenant, with which scopes.

The layer that checks keys sets it, and only what reads requests may ask for it: below that, work of many requests runs
in one task, and whoever asked there would hear of somebody else.
"""

import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Literal, get_args

from service.names import prefix_of
from service.security.failures import Forbidden, Unauthorized
from service.security.rates import Rate

Scope = Literal["predict", "sessions", "admin"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


@dataclass(slots=True, eq=False)
class Caller:
    """One key, or one token, and what it may do."""

    tenant: str
    scopes: frozenset[Scope]
    rate: Rate | None = None
    quota: int | None = None
    """Sessions that its tenant may keep."""
    until: float | None = None
    """When it ends, in seconds since 1970; None if no end is set."""
    prefix: str = field(init=False)
    """How the ids of its sessions begin."""

    def __post_init__(self) -> None:
        """Name the prefix once, not at every request."""
        self.prefix = prefix_of(self.tenant)

    def over(self) -> bool:
        """Say whether it has ended: the key was taken away, or the token's time is over."""
        return self.until is not None and time.time() >= self.until

    def enter(self, patience: float = 0) -> float:
        """Let one more request or message in, and give the seconds after which.

        Unauthorized if it has ended, RateLimited if that is more than may come within ``patience`` seconds.
        """
        if self.over():
            raise Unauthorized("the key was taken away, or the token's time is over")
        return 0 if self.rate is None else self.rate.take(patience)

    def check(self, needed: frozenset[Scope]) -> None:
        """Pass if it has one of the scopes; Forbidden names them."""
        if self.scopes.isdisjoint(needed):
            raise Forbidden(needed)


# Where no keys are set up, everybody may do everything, and there is one tenant without a name.
_EVERYBODY = Caller("", SCOPES)
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Give who asks."""
    return _caller.get(_EVERYBODY)


def kept(name: str) -> str:
    """Give the id under which a session of the tenant that asks is kept."""
    return _caller.get(_EVERYBODY).prefix + name


def begin_acting(who: Caller) -> Token[Caller]:
    """Let what runs from here on, and the tasks that it starts, run for a caller; give what ends that."""
    return _caller.set(who)


def end_acting(begun: Token[Caller]) -> None:
    """Run for a caller no more."""
    _caller.reset(begun)
