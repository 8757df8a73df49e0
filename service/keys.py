"""Reads what a new key is for and gives the key, once, and what of it goes into the file of keys.

``python -m service.keys new --tenant arena --scopes predict,sessions --file keys.toml``
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from service.security.caller import SCOPES
from service.security.failures import KeysError
from service.security.keys import Entry, Keys, digest_of, new_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a key; 1 if it cannot be kept, 2 if it would be none."""
    asked = _parser().parse_args(arguments)
    key = new_key()
    members = {name: getattr(asked, name) for name in ("tenant", "rate", "burst", "sessions")}
    try:
        entry = Entry.model_validate(
            {**members, "scopes": asked.scopes.split(","), "sha256": digest_of(key.encode()).hex()}
        )
    except ValidationError as error:
        found = error.errors()[0]
        _say(f"{found['loc'][0]}: {found['msg']}")
        return 2
    if asked.file is not None:
        try:
            _append(asked.file, _written(entry))
        except (KeysError, OSError) as error:
            _say(str(error))
            return 1
        _say(f"its hash is in {asked.file}; the key itself is shown this once:")
    else:
        _say(f"put this into the file of keys:\n\n{_written(entry)}\nthe key itself is shown this once:")
    sys.stdout.write(f"{key}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.keys", description="API keys of the service.")
    new = parser.add_subparsers(required=True, metavar="new").add_parser("new", help="make a key")
    new.add_argument("--tenant", required=True, help="whose sessions it sees; letters, digits, . _ -")
    new.add_argument("--scopes", required=True, help=f"what it may do: {','.join(sorted(SCOPES))}")
    new.add_argument("--rate", type=float, help="requests a second")
    new.add_argument("--burst", type=int, help="requests at once after a pause")
    new.add_argument("--sessions", type=int, help="sessions that the tenant may keep")
    new.add_argument("--file", type=Path, help="file of keys, TOML, to which it is added")
    return parser


def _written(entry: Entry) -> str:
    """Give a key's entry in TOML; nothing in it needs to be escaped."""
    scopes = ", ".join(f'"{scope}"' for scope in sorted(entry.scopes))
    lines = ["[[keys]]", f'tenant = "{entry.tenant}"', f"scopes = [{scopes}]", f'sha256 = "{entry.sha256}"']
    for name in ("rate", "burst", "sessions"):
        value = getattr(entry, name)
        if value is not None:
            lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"


def _append(file: Path, entry: str) -> None:
    """Add to a file of keys that can be read, or begin one that only its owner can read."""
    there = ""
    if file.exists():
        Keys(str(file), None, None)
        there = file.read_text(encoding="utf-8")
        if there.lstrip().startswith("{"):
            raise KeysError(f"{file} is JSON; a key can be added to TOML alone")
    part = file.with_name(f"{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
        written.write(f"{there.rstrip()}\n\n{entry}".lstrip())
    if there:
        part.chmod(file.stat().st_mode & 0o777)
    os.replace(part, file)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
