"""The files of the playground as the service answers them."""

import re
from pathlib import Path, PurePosixPath

import httpx
import pytest

import service.playground
from service.settings import Settings
from tests.keyed import entry, keys_json
from tests.serving import Client, running, serving

pytestmark = pytest.mark.anyio

STATIC = Path(service.playground.__file__).parent / "static"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def address(name: str) -> str:
    return "/" if name == "index.html" else f"/playground/{name}"


async def test_every_file_is_answered_with_its_type_and_the_policy(client: Client):
    assert len(FILES) > 20
    for name in FILES:
        response = await client.get(address(name))
        assert response.content == (STATIC / name).read_bytes()
        assert response.headers["content-type"].partition(";")[0] == TYPES[PurePosixPath(name).suffix], name
        assert response.headers.get_list("content-security-policy") == [
            "; ".join(f"{directive} {sources}" for directive, sources in POLICY.items())
        ]
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_copy_that_is_still_right_is_not_sent_again(client: Client):
    first = await client.get("/")
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}'):
        again = await client.get("/", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/", headers={"if-none-match": '"other"'})).status_code == 200
    head = await client.head("/")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])


@pytest.mark.parametrize(
    "path",
    ["/playground", "/playground/", "/playground/nothing.js", "/playground/../pages.py", "/playground/index.html"],
)
async def test_other_addresses_are_not_there(client: Client, path: str):
    assert (await client.get(path)).status_code == 404


async def test_nothing_is_posted_to_the_page(client: Client):
    assert (await client.post("/")).status_code in (404, 405)


async def test_the_page_can_be_turned_off(settings: Settings):
    async with serving(settings.model_copy(update={"playground": False})) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/playground/app.js")).status_code == 404


async def test_the_page_needs_no_key_and_what_it_asks_for_does(settings: Settings):
    keys = keys_json(entry("nextply_one", "arena", "sessions"))
    async with running(settings.model_copy(update={"keys": keys})) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            for name in FILES:
                assert (await http.get(address(name))).status_code == 200
            assert (await http.get("/models")).status_code == 401


def test_the_page_weighs_less_than_half_a_megabyte():
    assert sum((STATIC / name).stat().st_size for name in FILES) < 500_000


def test_every_file_that_is_named_is_there_and_every_file_is_named():
    named = {"index.html"}
    for name in FILES:
        text = (STATIC / name).read_text()
        if name == "index.html":
            named |= set(re.findall(r'(?:href|src)="playground/([^"]+)"', text))
        elif name.endswith(".js"):
            found = re.findall(r'^(?:import|export)[^"\n]*?"(\.[^"]+)"', text, re.MULTILINE)
            named |= {
                (STATIC / name).parent.joinpath(one).resolve().relative_to(STATIC.resolve()).as_posix() for one in found
            }
    # The board of chess is told by name where its pictures are.
    named |= {f"vendor/{one}" for one in re.findall(r'"(\w+\.svg)"', (STATIC / "boards" / "chess.js").read_text())}
    assert named == {name for name in FILES if not name.endswith(".LICENSE")}


def test_what_others_made_comes_with_its_licence():
    others = {path.stem for path in (STATIC / "vendor").iterdir() if path.suffix in (".js", ".svg")}
    assert others == {"cm-chessboard", "arrows", "markers", "pieces"}
    assert "Permission is hereby granted, free of charge" in (STATIC / "vendor" / "cm-chessboard.LICENSE").read_text()
    assert "Burnett" in (STATIC / "vendor" / "pieces.LICENSE").read_text()


def test_the_page_has_nothing_inline_that_its_policy_forbids():
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
    ours = [(STATIC / name).read_text() for name in FILES if name.endswith(".js") and not name.startswith("vendor/")]
    assert not any(re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", one) for one in ours)
