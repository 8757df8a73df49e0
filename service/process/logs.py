"""Gives the format of what is logged, by us and by uvicorn, and says in one line why the service does not start."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from service.timing import current_timing

# What a record may carry beside its message, and goes into JSON as it is.
_EXTRA = "method", "path", "status", "milliseconds"


class JsonLines(logging.Formatter):
    """One JSON object a line, with the request for which it was logged, if it was for one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in _EXTRA if name in record.__dict__}
        timing = current_timing()
        if timing is not None:
            about = {"request": timing.request_id.decode(), "session": timing.session, "trace": timing.trace}
            line |= {name: value for name, value in about.items() if value}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_config(level: str, form: str = "line") -> dict[str, object]:
    """Give the settings of Python's logging; ``form`` is ``line`` or ``json``."""
    # uvicorn tells of every WebSocket that comes and goes, and, where it debugs, the headers of each, with the key.
    of_uvicorn = {"info": "warning", "debug": "info"}.get(level, level)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"},
            "json": {"()": JsonLines},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {"uvicorn.error": {"level": of_uvicorn.upper()}},
    }


def refuse(reason: object) -> None:
    """Say on stderr why the service does not start."""
    sys.stderr.write(f"nextply: {reason}\n")
