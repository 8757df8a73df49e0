"""Reads a page as GitHub does and gives it as Python-Markdown does: mkdocs calls this for every page of docs/."""

import re
from typing import Any

# The beginning of an item of a list, or of a row of a table.
_ROW = re.compile(r"(-|\d+\.) |\|")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the empty line that Python-Markdown wants before a list or a table; between fences all stays as it is."""
    lines: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        before = lines[-1] if lines else ""
        text = before != "" and not before.startswith(" ") and not _ROW.match(before)
        if not fenced and text and _ROW.match(line):
            lines.append("")
        fenced ^= line.startswith("```")
        lines.append(line)
    return "\n".join(lines)
