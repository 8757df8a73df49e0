"""Reads flags and environment and runs the service; what keeps it from starting is said in one line."""

import sys

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from model.artifact import ArtifactError
from service.app import create_app
from service.sessions import StoreError
from service.settings import Settings


def main() -> int:
    """Serve until stopped; 1 if the service cannot start, 2 if a setting is wrong."""
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"nextply: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    except SettingsError as error:
        print(f"nextply: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        app = create_app(settings)
    except (ArtifactError, StoreError) as error:
        print(f"nextply: {error}", file=sys.stderr)  # noqa: T201
        return 1
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        access_log=settings.access_log,
        log_level=settings.log_level,
        log_config=_log_config(settings.log_level),
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    return 0


def _log_config(level: str) -> dict[str, object]:
    """Give one plain format for our lines and uvicorn's."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
    }


if __name__ == "__main__":
    sys.exit(main())
