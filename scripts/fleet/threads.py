"""Reads turns of work and gives the moment when each is done: a thread does one at a time, on a core while it lasts."""

import random
from collections import defaultdict, deque
from collections.abc import Callable

import simpy
from simpy.resources.resource import Request

Seconds = Callable[[], float]

# Seconds for which a thread has a core while others wait for one: the base slice of Linux on machines of two cores.
_SLICE = 3e-3
# Seconds for which work on a crowded machine is slowed down alike: some batches.
_STEADY = 10e-3


class Noise:
    """Varies times: each is multiplied by a factor of mean 1 with the given standard deviation, from a gamma law."""

    def __init__(self, rng: random.Random, deviation: float) -> None:
        """Take where chance comes from; a deviation of 0 leaves times as they are."""
        self._rng, self._variance = rng, deviation * deviation

    def __call__(self, seconds: float) -> float:
        """Give a time that was varied."""
        if not self._variance or not seconds:
            return seconds
        return seconds * self._rng.gammavariate(1 / self._variance, self._variance)


class Crowd:
    """Says how fast work goes while every core is busy, as a part of how fast it goes else: for some time alike."""

    def __init__(self, env: simpy.Environment, mean: float, noise: Noise) -> None:
        """Take how fast it goes on average, and what varies that."""
        self._env, self._mean, self._noise = env, mean, noise
        self._speed, self._until = mean, 0.0

    def __call__(self) -> float:
        """Give the speed of this moment."""
        if self._env.now >= self._until:
            self._speed, self._until = self._noise(self._mean), self._env.now + _STEADY
        return self._speed


class Thread:
    """Does turns of work in the order in which they were asked for.

    It keeps a core until it has nothing to do or has had it for a slice, and where threads are more than cores, they
    go round. Without ``cores`` there is always one. This is the innermost loop of a simulation, written with callbacks:
    one event of simpy's a turn besides the one that is waited for, and one more for a core.
    """

    def __init__(
        self, env: simpy.Environment, cores: simpy.Resource | None, noise: Noise, crowd: Crowd | None = None
    ) -> None:
        """Take the cores that it shares with others, and how fast work goes while all are busy, if not as else."""
        self._env, self._cores, self._noise, self._crowd = env, cores, noise, crowd
        self._waiting: deque[tuple[str, float | Seconds | None, simpy.Event]] = deque()
        self._running = False
        self._core: Request | None = None
        self._until = 0.0
        self.busy: dict[str, float] = defaultdict(float)
        """Seconds of work by kind."""

    def work(self, kind: str, seconds: float | Seconds, *, next_: bool = False) -> simpy.Event:
        """Give the end of a turn; ``seconds`` is asked when it begins if it is a function. Nothing to do is no turn.

        With ``next_`` it goes before all that wait: Python passes to another thread soon, not after all else is done.
        """
        done = self._env.event()
        if seconds == 0:
            return done.succeed()
        (self._waiting.appendleft if next_ else self._waiting.append)((kind, seconds, done))
        self._start()
        return done

    def lend(self) -> simpy.Event:
        """Give the moment from which on the thread does nothing, and has no core, until it is taken back."""
        begun = self._env.event()
        self._waiting.append(("", None, begun))
        self._start()
        return begun

    def take_back(self) -> None:
        """Let the thread that was lent go on."""
        self._go_on()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self._next()

    def _next(self) -> None:
        """Begin the next turn, on the core that the thread has, or else on the next one that is free."""
        if self._cores is None or self._core is not None or self._waiting[0][1] is None:
            self._begin()
            return
        self._core = self._cores.request()
        assert self._core.callbacks is not None
        self._core.callbacks.append(self._take_core)

    def _take_core(self, _: simpy.Event) -> None:
        self._until = self._env.now + _SLICE
        self._begin()

    def _begin(self) -> None:
        kind, seconds, done = self._waiting.popleft()
        if seconds is None:
            self._leave_core()
            done.succeed()
            return
        seconds = self._noise(seconds() if callable(seconds) else seconds)
        if self._crowd is not None and self._cores is not None and self._cores.count == self._cores.capacity:
            seconds /= self._crowd()
        self.busy[kind] += seconds
        end = self._env.timeout(seconds)
        assert end.callbacks is not None
        end.callbacks.append(lambda _: self._end(done))

    def _end(self, done: simpy.Event) -> None:
        done.succeed()
        if not self._waiting or self._env.now >= self._until:
            self._leave_core()
        self._go_on()

    def _leave_core(self) -> None:
        if self._core is not None:
            self._core.resource.release(self._core)
            self._core = None

    def _go_on(self) -> None:
        if self._waiting:
            self._next()
        else:
            self._running = False
