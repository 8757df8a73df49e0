"""The size at which these tests run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run tests/soak at full size, and hold the times too")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to run at full size; the option is unknown where these tests are only found on the way."""
    return bool(pytestconfig.getoption("--full", default=False))
