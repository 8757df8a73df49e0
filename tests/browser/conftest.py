"""Fixtures of the tests in a browser. Without one they are skipped, and say so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.serving import Process

SHIPPED = Path(__file__).parents[2] / "artifacts"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service with the models that ship."""
    with Process(Settings(artifacts=SHIPPED, store="memory")) as process:
        yield process.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browser.desk import CHROMIUM, chromium

    if CHROMIUM is None:
        pytest.skip("no browser is tested: there is no Chromium here")
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """What opens the playground; in the end no page may have complained of anything."""
    from tests.browser.desk import Desk

    desks: list[Desk] = []

    def open_desk(address: str = "/", at: str = url, **options: Any) -> Any:
        desks.append(Desk(browser, at, address, **options))
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.leave()
        assert desk.complaints == []


@pytest.fixture
def desk(opened: Callable[..., Any]) -> Any:
    """The playground, with a new game of chess."""
    return opened().ready()
