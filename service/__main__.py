"""Reads flags and environment and runs the service; what keeps it from starting is said in one line."""

import sys

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from service.process.logs import refuse
from service.settings import Settings


def main() -> int:
    """Serve until stopped; 1 if the service cannot start, 2 if a setting is wrong."""
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        refuse(where + first["msg"].removeprefix("Value error, "))
        return 2
    except SettingsError as error:
        refuse(error)
        return 2
    if settings.workers > 1:
        from service.process.supervisor import supervise

        return supervise(settings, sys.argv[1:])
    # The supervisor does without all that this imports.
    from service.process.worker import serve

    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
