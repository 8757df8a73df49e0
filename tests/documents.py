"""Reads a page of documentation and does what it says: files are written, commands are run, answers are compared."""

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from nextply_client.cli.app import app
from pydantic_settings import CliApp
from typer.testing import CliRunner

from service.settings import Settings
from tests.serving import Process

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d+")
# What a page may let a test do; whatever installs, or changes more than the reader's folder, is none of it.
_MAY = {"cat", "cp", "curl", "head", "mkdir", "mv", "nextply", "python", "rm", "sleep"}
_PLAIN = re.compile(r"[^|<>&;$`]*")
_OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, the file that it is (or none), its text."""

    page: str
    line: int
    language: str
    title: str | None
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, those of several lines as one; none of any other block."""
        if self.language != "sh":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]

    def begins(self, words: str) -> bool:
        """Say whether it is a shell block whose first command begins with these words."""
        return self.commands[:1] != [] and self.commands[0].startswith(words)


def blocks_of(page: Path) -> list[Block]:
    """Give the blocks of a page."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    return [Block(name, text.count("\n", 0, at.start()) + 1, at[1], at[2], at[3]) for at in _FENCE.finditer(text)]


def values_of(text: str) -> Iterator[Any]:
    """Give the JSON values that stand one after another."""
    rest = text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        yield value
        rest = rest[end:].lstrip()


def assert_same(shown: Any, answered: Any) -> None:
    """Compare two answers; floats may differ by what another processor's arithmetic makes of them, "…" is anything."""
    if isinstance(shown, dict):
        assert shown.keys() == answered.keys()
        for name, value in shown.items():
            assert_same(value, answered[name])
    elif isinstance(shown, list):
        assert len(shown) == len(answered), (shown, answered)
        for one, other in zip(shown, answered, strict=True):
            assert_same(one, other)
    elif isinstance(shown, float):
        assert answered == pytest.approx(shown, abs=0.01, rel=0.01)
    elif shown != "…":
        assert answered == shown


def assert_alike(shown: str, written: str) -> None:
    """Compare lines of text, their fractions as numbers; a line "…" stands for any lines."""
    lines = [re.escape(_NUMBER.sub("#", line.rstrip())) for line in shown.strip().splitlines()]
    pattern = "\n".join(".*" if line == "…" else line for line in lines)
    plain = "\n".join(_NUMBER.sub("#", line.rstrip()) for line in written.strip().splitlines())
    assert re.fullmatch(pattern, plain, re.DOTALL), f"shown:\n{shown}\nwritten:\n{written}"
    if "…" not in shown.splitlines():
        assert_same([float(one) for one in _NUMBER.findall(shown)], [float(one) for one in _NUMBER.findall(written)])


def _flag(setting: str) -> str:
    """Give the flag of a setting in the environment."""
    name, _, value = setting.removeprefix("NEXTPLY_").partition("=")
    return f"--{name.lower().replace('_', '-')}={value}"


class Reader:
    """Somebody who follows a page from its beginning, in a folder that is like a checkout."""

    def __init__(self, folder: Path) -> None:
        """Lay out the folder; a service is started when the page says so, or first needs one."""
        self.folder = folder
        self.names: dict[str, Any] = {}
        """What the Python file that was run last has defined."""
        self._service: Process | None = None
        self._written: str | None = None
        """What the shell block wrote that was followed last, until a block of another kind comes."""
        for name in ("model", "service", "scripts", "client", "Makefile", "pyproject.toml", "constraints.txt"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "artifacts").mkdir()
        for model in (ROOT / "artifacts").iterdir():
            (folder / "artifacts" / model.name).symlink_to(model)
        (folder / "games.pgn").write_text("1. e4 e5 *\n")

    def __enter__(self) -> "Reader":
        """Give the reader."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the service."""
        if self._service is not None:
            self._service.kill()

    @property
    def url(self) -> str:
        """The address of the service, which is started if the page did not say so."""
        return (self._service or self._serve([])).url

    def follow(self, block: Block) -> None:
        """Write a file, run commands, or compare an answer with what the commands before it wrote."""
        if block.language == "sh":
            self._written = "".join(self.run(command) for command in block.commands)
        elif block.language == "json" and block.title:
            (shown,) = values_of(block.text)
            assert_same(shown, json.loads((self.folder / block.title).read_text()))
        elif block.language == "json" and self._written is not None:
            assert_same(list(values_of(block.text)), list(values_of(self._written)))
        elif block.language == "text" and self._written is not None:
            assert_alike(block.text, self._written)
        else:
            self._written = None
            if block.title:
                (self.folder / block.title).write_text(block.text)

    def run(self, command: str) -> str:
        """Run one command; give what it wrote."""
        command = (self._recipe(command) if command.startswith("make ") else command).removesuffix(" &")
        words = shlex.split(command, comments=True)
        settings = [*takewhile(re.compile(r"NEXTPLY_\w+=").match, words)]
        words = words[len(settings) :]
        assert words[0] in _MAY, f"{command}: not what a test runs"
        match words:
            case ["python", "-m", "service", *rest]:
                self._serve([*map(_flag, settings), *rest])
                return ""
            case _ if not _PLAIN.fullmatch(command):
                return self._run_in_shell(command)
            case ["nextply", *rest]:
                return self._run_nextply(rest)
            case ["python", "-m", module, *rest] if module.startswith("scripts."):
                return self._run_python(lambda: import_module(module).main(rest))
            case ["python", file]:
                return self._run_python(lambda: self.names.update(runpy.run_path(file, run_name="__main__")))
        return self._run_in_shell(command)

    def _recipe(self, command: str) -> str:
        """Give the command that a target of the Makefile ends with."""
        dry = ["make", "--dry-run", "--always-make", *shlex.split(command)[1:]]
        # The tests may themselves run under make, which would tell this one so.
        environment = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
        done = subprocess.run(dry, cwd=self.folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()[-1].replace(".venv/bin/python", "python")

    def _serve(self, flags: list[str]) -> Process:
        if self._service is not None:
            self._service.kill()
        given = CliApp.run(Settings, cli_args=flags).model_dump(exclude_unset=True, exclude={"port"})
        given = {"artifacts": Path("artifacts"), "data_dir": Path("data")} | given
        with contextlib.chdir(self.folder):
            self._service = Process(Settings(**given))
        return self._service

    def _run_in_shell(self, command: str) -> str:
        local = command.replace("http://localhost:8000", "localhost:8000")
        if "localhost:8000" in local:
            local = local.replace("localhost:8000", self.url)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", local],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": path},
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _run_nextply(self, words: list[str]) -> str:
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, words, env={"NEXTPLY_URL": self.url})
        assert done.exit_code == 0, done.output
        return done.stdout

    def _run_python(self, call: Any) -> str:
        written = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(written), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        return written.getvalue()
