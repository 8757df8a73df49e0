"""What the README shows is what the model that ships answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.serving import serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CURL = re.compile(r"curl -s localhost:8000(\S+) [^']*'content-type: application/json'[^']*-d '([^']*)'")


def shown_answers() -> Iterator[Any]:
    for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL):
        rest = block.strip()
        while rest:
            answer, end = json.JSONDecoder().raw_decode(rest)
            yield answer
            rest = rest[end:].lstrip()


def assert_same(shown: Any, answered: Any) -> None:
    """Compare two answers; probabilities may differ by what another processor's float arithmetic makes of them."""
    if isinstance(shown, dict):
        assert shown.keys() == answered.keys()
        for name, value in shown.items():
            assert_same(value, answered[name])
    elif isinstance(shown, list):
        assert len(shown) == len(answered)
        for one, other in zip(shown, answered, strict=True):
            assert_same(one, other)
    elif isinstance(shown, float):
        assert answered == pytest.approx(shown, abs=0.01)
    else:
        assert answered == shown


@pytest.mark.anyio
async def test_the_commands_of_the_readme_give_the_answers_it_shows(tmp_path: Path):
    requests = CURL.findall(README)
    answers = list(shown_answers())
    assert len(requests) == len(answers) == 3
    async with serving(Settings(artifacts=ROOT / "artifacts", data_dir=tmp_path)) as client:
        for (path, body), shown in zip(requests, answers, strict=True):
            assert_same(shown, await client.ok("POST", path, json.loads(body)))


@pytest.mark.parametrize("line", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_the_targets_of_the_readme_are_in_the_makefile(line: str):
    assert re.search(rf"^{line}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
