"""Fixtures of the tests of the service."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from service.settings import Settings
from tests.serving import Client, serving, write_artifacts

hypothesis.settings.register_profile("long", max_examples=10_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run soak and conformance tests at full size")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to run at full size."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("NEXTPLY_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small untrained models: chess in int8 and in fp32, othello, and two without rules."""
    return write_artifacts(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def settings(artifacts: Path, tmp_path: Path) -> Settings:
    """Settings of a service with a store of its own."""
    return Settings(artifacts=artifacts, data_dir=tmp_path / "data")


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client of a running service."""
    async with serving(settings) as client:
        yield client
