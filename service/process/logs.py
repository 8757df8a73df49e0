"""Gives the format of what is logged, by us and by uvicorn, and says in one line why the service does not start."""

import sys


def log_config(level: str) -> dict[str, object]:
    """Give the settings of Python's logging."""
    # uvicorn tells of every WebSocket that comes and goes.
    of_uvicorn = "warning" if level == "info" else level
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {"uvicorn.error": {"level": of_uvicorn.upper()}},
    }


def refuse(reason: object) -> None:
    """Say on stderr why the service does not start."""
    sys.stderr.write(f"nextply: {reason}\n")
