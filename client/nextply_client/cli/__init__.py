"""The command ``nextply``: what the client can do, for people and for scripts."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command."""
    if find_spec("typer") is None:
        sys.exit('nextply: the command needs more than the library: pip install "nextply-client[cli]"')
    from nextply_client.cli.app import app

    app(prog_name="nextply")
