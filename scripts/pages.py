"""Reads figures and gives what pages of docs/ and results are made of: numbers of few digits, tables, marked places."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class PageError(ValueError):
    """A page that has no place for a text, or several; the message names it."""


def rounded(value: Any, digits: int) -> Any:
    """Give what JSON can hold, numbers with so many digits that count."""
    if isinstance(value, Mapping):
        return {str(name): rounded(member, digits) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(member, digits) for member in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Give a table in Markdown; the first ``texts`` columns are texts, the others numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(page: str, texts: Mapping[str, str], begin: str = "", end: str = "/") -> str:
    """Put each text between ``<!-- name -->`` and ``<!-- /name -->``; PageError if such marks are missing.

    ``begin`` and ``end`` stand before the name in the first mark and in the second.
    """
    for name, text in texts.items():
        opening, closing = (f"<!-- {re.escape(which + name)} -->" for which in (begin, end))
        marked = re.compile(rf"({opening}\n).*?({closing})", re.DOTALL)
        page, found = marked.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)  # type: ignore[misc]
        if found != 1:
            raise PageError(f"the page has {found} places for {name}: the marks of {name!r} should stand there once")
    return page
