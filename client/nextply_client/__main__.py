"""Lets ``python -m nextply_client`` be the command ``nextply``."""

from nextply_client.cli import main

main()
