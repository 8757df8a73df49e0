"""Run ``python -m scripts.reference``: writes docs/http.md.

Reads the service's own OpenAPI document and its errors, runs an example of each call, and gives the page.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.reference_examples import EXAMPLES, WRONG
from service.app import create_app
from service.errors import Problem
from service.settings import Settings

_ROOT = Path(__file__).parent.parent
PAGE = _ROOT / "docs" / "http.md"
_WIDTH, _DIGITS = 110, 4

_INTRO = """# HTTP reference
<!-- written by python -m scripts.reference; change that, or the service -->
Every call, as the service itself describes it; a running one shows the same at `/docs`, and `/openapi.json` is for
machines. The examples were run in this order on the models that ship, and their numbers are shortened. WebSockets are
described in [Streams](streams.md), `/v2` in [Open Inference Protocol](v2.md).

Bodies are JSON, with `content-type: application/json`. Members that are not described, and other types, are refused.
The header `Request-Timeout-Ms` says how long a request may take; when that is over, 503 says so, and nothing was
applied.
"""
_TAGS = {
    "predict": "Without a session",
    "sessions": "Sessions",
    "operations": "Operations",
}


@contextmanager
def _serving() -> Iterator[str]:
    """Give the address of a service that has its sessions in memory."""
    flags = ["--port=0", "--store=memory", "--watch-seconds=0", f"--artifacts={_ROOT / 'artifacts'}"]
    service = subprocess.Popen([sys.executable, "-m", "service", *flags], stderr=subprocess.PIPE, text=True, cwd=_ROOT)
    assert service.stderr is not None
    try:
        yield next(found[1] for line in service.stderr if (found := re.search(r"running on http://([\d.]+:\d+)", line)))
    finally:
        service.kill()
        service.communicate()


def _answer(command: str, url: str, folder: str) -> str:
    """Run a command; give the block that shows what came of it, if anything did."""
    local = command.replace("localhost:8000", url)
    written = subprocess.run(["bash", "-c", local], cwd=folder, capture_output=True, text=True, check=False).stdout
    if written.startswith("{"):
        rest, shown = written, []
        while rest:
            value, end = json.JSONDecoder().raw_decode(rest)
            shown.append(_laid_out(_shortened(value)))
            rest = rest[end:].lstrip()
        return _fenced("json", shown)
    lines = [re.sub(r"\d+\.\d+", lambda at: _short(float(at[0])), line) for line in written.strip().splitlines()]
    return _fenced("text", lines) if lines else ""


def _fenced(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```", ""])


def _short(number: float) -> str:
    return str(round(number, _DIGITS))


def _shortened(value: Any) -> Any:
    """Give a value with shorter fractions, and without what is another one every time."""
    match value:
        case dict():
            return {name: "…" if name == "idle_seconds" else _shortened(one) for name, one in value.items()}
        case list():
            return [_shortened(one) for one in value]
        case float():
            return float(_short(value))
    return value


def _laid_out(value: Any, indent: int = 0) -> str:
    """Write JSON in lines that fit a screen."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= _WIDTH or not isinstance(value, dict | list):
        return line
    items = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    values = value.values() if isinstance(value, dict) else value
    space, ends = " " * (indent + 1), "{}" if isinstance(value, dict) else "[]"
    written = [f"{space}{name}{_laid_out(one, indent + 1)}" for name, one in zip(items, values, strict=True)]
    return "\n".join([ends[0], ",\n".join(written), " " * indent + ends[1]])


def _kind(schema: Mapping[str, Any], *, answer: bool = False) -> str:
    """Say in a word or two what a schema allows; only in answers does null mean more than left out."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[choice] if answer or one != _NULL))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    if schema.get("type") == "object":
        return "object"
    limits = [limit.format(schema[name]) for name, limit in _LIMITS.items() if name in schema]
    return " ".join([words.get(schema.get("type", ""), str(schema.get("type", "anything"))), *limits])


_NULL = {"type": "null"}
_LIMITS = {"minimum": "from {:g}", "maximum": "to {:g}", "maxLength": "of at most {} characters"}


def _said_of(schema: Mapping[str, Any]) -> str:
    """Give the description of a schema, or of one of its choices."""
    told = [schema, *schema.get("anyOf", [])]
    return next((one["description"] for one in told if "description" in one), "").replace("``", "`")


def _left_out(schema: Mapping[str, Any], needed: bool) -> str:
    """Say what holds if a member is left out."""
    default = schema.get("default")
    return "needed" if needed else f"`{json.dumps(default)}`" if default not in (None, "") else ""


def _table(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"


def _members(schema: Mapping[str, Any], *, answer: bool = False) -> str:
    """Write the members of an object as a table."""
    text, needed = _table("member", "type", "there" if answer else "if left out", ""), schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        there = "always" if name in needed else "sometimes"
        there = there if answer else _left_out(one, name in needed)
        text += f"| `{name}` | {_kind(one, answer=answer)} | {there} | {_said_of(one)} |\n"
    return text


def _body(call: Mapping[str, Any]) -> str | None:
    """Give the name of the schema of a call's body, if it is JSON."""
    content = call.get("requestBody", {}).get("content", {}).get("application/json")
    return content["schema"]["$ref"].rpartition("/")[2] if content else None


def _call(method: str, path: str, call: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """Write what one call takes and gives."""
    text = f"### {method.upper()} {path}\n{call['description']}\n\n"
    if given := [one for one in call.get("parameters", []) if one["in"] == "query"]:
        text += _table("parameter", "type", "if left out", "")
        for one in given:
            said = one.get("description", "")
            optional = _left_out(one["schema"], needed=False)
            text += f"| `{one['name']}` | {_kind(one['schema'])} | {optional} | {said} |\n"
        text += "\n"
    if body := _body(call):
        text += _members(schemas[body]) + "\n"
    good, bad = [], []
    for status, answer in sorted(call["responses"].items()):
        ((kind, content),) = answer.get("content", {"": {}}).items()
        name = _kind(content["schema"]) if "$ref" in content.get("schema", {}) else f"`{kind}`" if kind else "no body"
        (bad if status >= "4" else good).append(f"{status} {name}" if status < "4" else status)
    return f"{text}Answers {', '.join(good)}; errors {', '.join(bad)}.\n\n"


def _kinds(kind: type[Problem]) -> Iterator[type[Problem]]:
    """Give every error that is one of a kind; those of /v2 are written in another way."""
    for one in kind.__subclasses__():
        if not one.__module__.startswith("service.v2"):
            yield one
            yield from _kinds(one)


def _errors() -> str:
    """Write every error that the service knows by its code."""
    text = "## Errors\nEvery error is `application/problem+json` (RFC 9457): `status`, a stable `code`, `detail` for "
    text += "people, and what else helps.\n\n"
    text += _table("status", "code", "because")
    for kind in sorted(_kinds(Problem), key=lambda kind: (kind.status, kind.code)):
        says = " ".join((kind.__doc__ or "").replace("``", "`").split())
        text += f"| {kind.status} | `{kind.code}` | {says} |\n"
    text += "\nBeside these there are 400 `malformed_json`, 405 `method_not_allowed`, "
    text += "415 `unsupported_media_type`, and 500 `internal_error`, which is a bug.\n"
    return text + "\nAn example, a move that cannot be played:\n\n"


def _reached(part: Any, schemas: Mapping[str, Any], found: set[str]) -> set[str]:
    """Give the names of the schemas that a part of the document leads to."""
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part)):
        if name not in found:
            found.add(name)
            _reached(schemas[name], schemas, found)
    return found


def page() -> str:
    """Give the page; it takes as long as the examples."""
    document = create_app(Settings(artifacts=_ROOT / "artifacts", store="memory")).openapi()
    schemas, text = document["components"]["schemas"], _INTRO
    asked, answered = set[str](), set[str]()
    calls = [(method, path, call) for path, calls in document["paths"].items() for method, call in calls.items()]
    with _serving() as url, TemporaryDirectory() as folder:
        for tag, title in _TAGS.items():
            text += f"\n## {title}\n"
            for method, path, call in calls:
                if tag in call["tags"]:
                    command = EXAMPLES[f"{method} {path}"]
                    text += _call(method, path, call, schemas)
                    text += _fenced("sh", [command]) + _answer(command, url, folder) + "\n"
                    good = [answer for status, answer in call["responses"].items() if status < "4"]
                    _reached(good, schemas, answered)
                    asked |= _reached(call.get("requestBody"), schemas, set()) - {_body(call)}
        text += "\n" + _errors() + _fenced("sh", [WRONG]) + _answer(WRONG, url, folder)
    text += "\n## Parts of requests and answers\n"
    for name in sorted(asked | answered):
        members = _members(schemas[name], answer=name in answered)
        text += f"### {name}\n{_said_of(schemas[name])}\n\n{members}\n"
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def main(words: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.reference", description="Write docs/http.md.")
    parser.add_argument("--out", type=Path, default=PAGE, metavar="FILE", help="where to (docs/http.md)")
    parser.parse_args(words).out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
