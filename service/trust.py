"""Reads how often what a process remembers of a session was no longer so, and says whether to go without asking."""

import math
from collections.abc import Mapping, Sequence

from service.sessions import Found, Session

# Sessions after which an observation counts a third.
_LATELY = 128
# The share that may be out of date: moves on these are computed twice, the others save a question to the store.
_MOST = 0.02
# What is believed at first; so many sessions have to be as they were remembered before that is relied on.
_AT_FIRST = 0.1


class Trust:
    """How far the memory of this process is right, which depends on how many others play in the same sessions."""

    def __init__(self) -> None:
        """Begin in doubt."""
        self._old = _AT_FIRST

    def note(self, count: int, old: int) -> None:
        """Take that ``old`` of so many remembered sessions were out of date."""
        if count:
            keep = math.exp(-count / _LATELY)
            self._old = self._old * keep + (1 - keep) * old / count

    def compare(self, remembered: Sequence[Session], found: Mapping[str, Found]) -> None:
        """Take what was found of sessions in the store, by their ids."""
        revisions = (one.revision if isinstance(one := found[was.id], Session) else None for was in remembered)
        self.note(len(remembered), sum(was.revision != now for was, now in zip(remembered, revisions, strict=True)))

    @property
    def justified(self) -> bool:
        """Whether nearly all were as they were remembered, lately."""
        return self._old <= _MOST
