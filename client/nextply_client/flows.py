"""Lets a call be written once and made both ways: a flow says what to do next and is given what came of it.

A flow is a generator. What it yields is an effect (send this request, wait so long), which is carried out by whoever
runs it: a sync runner in the calling thread, an async one in the event loop. Neither knows anything of the calls.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from nextply_client.errors import NextplyError

T = TypeVar("T")
P = ParamSpec("P")

Flow = Generator[Any, Any, T]
"""Yields effects, is sent what came of them (or thrown a NextplyError), and returns a T."""


class Effect:
    """Something that a flow asks its runner to do."""


def run(flow: Flow[T], do: Callable[[Any], Any]) -> T:
    """Run a flow; ``do`` carries out an effect, or raises NextplyError, which the flow may catch."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = do(effect)
            except NextplyError as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


async def run_async(flow: Flow[T], do: Callable[[Any], Awaitable[Any]]) -> T:
    """Run a flow whose effects are awaited."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = await do(effect)
            except NextplyError as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


class Runner(Protocol):
    """What sync methods are made for."""

    @property
    def calls(self) -> Any:
        """The object whose flows are run."""

    def do(self, effect: Any) -> Any:
        """Carry out an effect."""


class AsyncRunner(Protocol):
    """What async methods are made for."""

    @property
    def calls(self) -> Any:
        """The object whose flows are run."""

    async def do(self, effect: Any) -> Any:
        """Carry out an effect."""


class blocking(Generic[P, T]):  # noqa: N801 - it stands where a decorator would
    """A method that runs a flow of the object's ``calls`` to its end; it takes what the flow takes."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        """Take the flow, a method of the class of ``calls``."""
        self._flow, self.__doc__ = flow, flow.__doc__

    def __get__(self, runner: Runner, owner: type) -> Callable[P, T]:
        """Give the method of one object."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return run(self._flow(runner.calls, *args, **kwargs), runner.do)

        return _named(call, self._flow)


class awaiting(Generic[P, T]):  # noqa: N801
    """A method that gives a coroutine which runs a flow of the object's ``calls`` to its end."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        """Take the flow, a method of the class of ``calls``."""
        self._flow, self.__doc__ = flow, flow.__doc__

    def __get__(self, runner: AsyncRunner, owner: type) -> Callable[P, Coroutine[Any, Any, T]]:
        """Give the method of one object."""

        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await run_async(self._flow(runner.calls, *args, **kwargs), runner.do)

        return _named(call, self._flow)


F = TypeVar("F", bound=Callable[..., Any])


def _named(call: F, flow: Callable[..., Any]) -> F:
    call.__name__, call.__doc__ = flow.__name__, flow.__doc__
    return call
