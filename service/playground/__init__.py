"""Reads the files of ``static/`` and gives the page at ``/`` on which people play and see what the network thinks."""

from service.playground.pages import Playground

__all__ = ["Playground"]
