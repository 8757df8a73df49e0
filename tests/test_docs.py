"""Every command that the documentation shows is run as it stands there, or is named here with the reason why not."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import train
from tests.documents import ROOT, Block, Reader, blocks_of

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
READ = [ROOT / "README.md", ROOT / "client" / "README.md", *PAGES]

# Pages that another test follows as a whole.
ELSEWHERE = {
    "docs/http.md": "test_reference.py",
    "docs/own-graph.md": "test_own_graph.py",
    "docs/security.md": "test_security_docs.py",
}
# Pages whose Python examples another test runs.
EXAMPLES = {
    "client/README.md": "test_client_docs.py",
    "docs/client.md": "test_client_docs.py",
    "docs/streams.md": "streams.py",
    "docs/v2.md": "test_v2_triton.py",
}

_INSTALLS, _PLIES = "installs packages", "trains on millions of plies; docs/training.md does it in small"
_CONTAINERS = "needs docker; tests/containers runs it: make containers"
_RECORDS = "hours of training, on records that are not in the repository"
# A block by its page and the words it begins with.
NOT_RUN = {
    ("README.md", "make serve"): "also runs all tests; docs/quick-start.md begins with the first of its lines",
    ("README.md", "pip install"): _INSTALLS,
    ("README.md", "make train"): _RECORDS,
    ("README.md", "docker compose up"): _CONTAINERS,
    ("client/README.md", "pip install"): _INSTALLS,
    ("docs/benchmarks.md", "apt-get install wrk"): "installs a package, and measures for an hour",
    ("docs/client.md", "pip install"): _INSTALLS,
    ("docs/deploy.md", "docker compose build"): _CONTAINERS,
    ("docs/deploy.md", "docker compose run"): _CONTAINERS,
    ("docs/deploy.md", "docker build"): "needs a registry and a cluster",
    ("docs/deploy.md", "kubectl apply -k deploy/kserve"): "needs a cluster with KServe",
    ("docs/memory.md", "python -m scripts.long_memory"): "trains for long; tests/test_long_memory.py does less",
    ("docs/models.md", "git checkout 58d07c9"): _RECORDS,
    ("docs/models.md", "python -m scripts.evaluate --model artifacts/chess/3"): _RECORDS,
    ("docs/models.md", "python -m scripts.compare --run runs/chess-3"): _RECORDS,
    ("docs/models.md", "python -m scripts.train --game othello"): _RECORDS,
    ("docs/models.md", "python -m scripts.train --game xiangqi"): _RECORDS,
    ("docs/models.md", "python -m scripts.selfplay --game connect_four --games 20000"): _PLIES,
    ("docs/models.md", "python -m scripts.rock_paper_scissors --games 70000"): _PLIES,
    ("docs/operations.md", "docker compose"): _CONTAINERS,
    ("docs/operations.md", "pip install"): "installs packages; tests/test_tracing.py sends traces",
    ("docs/quick-start.md", "pip install"): _INSTALLS,
    ("docs/scaling.md", "TIMES="): "computes for minutes; tests/test_simulate_fleet.py does less",
}


def reason(block: Block) -> str | None:
    """Say why a block is not run, None if it is."""
    return next((why for (page, words), why in NOT_RUN.items() if page == block.page and block.begins(words)), None)


def followed(page: Path) -> list[Block]:
    """The blocks of a page that a reader follows: all but those that are not run, and what is shown after them."""
    blocks = []
    skipped = False
    for block in blocks_of(page):
        skipped = reason(block) is not None if block.language == "sh" else skipped
        if not skipped:
            blocks.append(block)
    return blocks


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


FOLLOWED = [page for page in READ if name_of(page) not in ELSEWHERE and any(b.commands for b in followed(page))]


@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path):
    with Reader(tmp_path) as reader:
        for block in followed(page):
            reader.follow(block)


def test_what_is_not_run_is_still_there():
    blocks = [block for page in READ for block in blocks_of(page)]
    assert [key for key in NOT_RUN if not any(block.page == key[0] and block.begins(key[1]) for block in blocks)] == []
    assert {"README.md", "docs/quick-start.md", "docs/concepts.md", "docs/training.md"} <= set(map(name_of, FOLLOWED))


def test_every_command_for_docker_is_one_that_the_tests_of_containers_run():
    text = (ROOT / "tests/containers/test_containers.py").read_text()
    tests = re.sub(r'"\n +"', "", text)
    shown = [
        " ".join(shlex.split(command, comments=True))
        for page in READ
        for block in blocks_of(page)
        if reason(block) == _CONTAINERS
        for command in block.commands
        if command.startswith("docker ")
    ]
    assert len(shown) > 5
    assert [command for command in shown if f'"{command}"' not in tests] == []


def test_every_python_example_is_run_by_some_test():
    untitled = {b.page for page in READ for b in blocks_of(page) if b.language == "python" and b.title is None}
    assert untitled <= EXAMPLES.keys()
    for name in (*EXAMPLES.values(), *ELSEWHERE.values()):
        assert (ROOT / "tests" / name).exists()


def test_the_flags_of_training_are_those_of_the_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    table = (DOCS / "training.md").read_text().partition("### The flags that matter")[2].partition("\n## ")[0]
    named = {
        flag for row in re.findall(r"^\| (`--.*?) \|", table, re.MULTILINE) for flag in re.findall(r"--[a-z-]+", row)
    }
    assert len(named) > 15
    assert named <= known


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as a site, made strictly: a page that is in no menu, or a link to nowhere, ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page_and_its_lists_are_lists(site: Path):
    for page in PAGES:
        html = (site / f"{page.stem}.html").read_text()
        paragraphs = re.findall(r"<p>(.*?)</p>", html, re.DOTALL)
        assert [text for text in paragraphs if re.search(r"^(- |\d+\. |\| )", text, re.MULTILINE)] == []
        assert "```" not in re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)


def test_the_site_needs_nothing_from_elsewhere(site: Path):
    fetched = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="?((?:https?:)?//[^" >]*)""")
    for page in site.rglob("*.html"):
        assert fetched.findall(page.read_text()) == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"@import|url\([\"']?(?:https?:)?//", sheet.read_text()) == []
    # What the theme's scripts would fetch: a program that draws diagrams, if there were any.
    assert not any('class="mermaid"' in page.read_text() for page in site.rglob("*.html"))


def test_a_wrong_answer_is_noticed(tmp_path: Path):
    def block(language: str, text: str) -> Block:
        return Block("page", 1, language, None, text)

    with Reader(tmp_path) as reader:
        reader.follow(block("sh", "cat games.pgn\n"))
        reader.follow(block("text", "1. e4 e5 *\n"))
        with pytest.raises(AssertionError, match="shown:"):
            reader.follow(block("text", "1. d4 d5 *\n"))
        reader.follow(block("sh", """python -c 'print("{\\"p\\": [0.5, 2]}")'\n"""))
        reader.follow(block("json", '{"p": [0.504, 2]}'))
        for wrong in ('{"p": [0.6, 2]}', '{"p": [0.5, 3]}', '{"p": [0.5]}', '{"q": [0.5, 2]}', '{"p": [0.5, 2]} {}'):
            with pytest.raises(AssertionError):
                reader.follow(block("json", wrong))
        with pytest.raises(AssertionError, match="not what a test runs"):
            reader.follow(block("sh", "docker compose up\n"))
        with pytest.raises(AssertionError, match="cat: none"):
            reader.follow(block("sh", "cat none\n"))
