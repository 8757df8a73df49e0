"""Leaves the containers to ``make containers``."""

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.getoption("--full") else True
