"""Reads how many workers there are and gives how long the event loop may do itself what a thread could do for it."""

import os

# Seconds for which others may wait while the event loop does something itself; with a processor left for its threads,
# and without one.
_BRIEF, _BRIEF_IF_CROWDED = 0.003, 0.02


def crowded(workers: int) -> bool:
    """Say whether there are as many workers as processors: what a thread takes is then taken from some event loop."""
    return workers >= (os.cpu_count() or 1)


def brief(workers: int) -> float:
    """Give the seconds that the event loop of one of so many workers may be kept."""
    return _BRIEF_IF_CROWDED if crowded(workers) else _BRIEF
