"""Keys come from a file or a setting, are made by a command, and change while the service runs."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import keys as command
from service.security.failures import KeysError
from service.security.keys import Keys, digest_of, new_key
from service.security.rates import Rate, RateLimited
from service.settings import Settings
from tests.keyed import Caller, entry, keys_json
from tests.serving import Process, running, start

pytestmark = pytest.mark.anyio

KEY = new_key()
GOOD = entry(KEY, "arena", "predict")


def find(keys: Keys, key: str) -> Any:
    return keys.find(digest_of(key.encode()))


def read(source: str) -> Keys:
    return Keys(source, None, None)


def test_a_key_is_long_random_and_known_by_its_hash_alone():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("nextply_") and len(key) == 8 + 43 for key in made)
    keys = read(keys_json(GOOD))
    assert find(keys, KEY).tenant == "arena"
    assert find(keys, GOOD["sha256"]) is None
    assert KEY not in repr(vars(keys))


def test_keys_whose_hashes_begin_alike_are_told_apart():
    digest = bytearray(digest_of(KEY.encode()))
    digest[-1] ^= 1
    keys = read(keys_json(GOOD, {**GOOD, "sha256": digest.hex(), "tenant": "other"}))
    assert find(keys, KEY).tenant == "arena"
    assert keys.find(bytes(digest)).tenant == "other"
    digest[-2] ^= 1
    assert keys.find(bytes(digest)) is None


TOML = f"""
# who may play
[[keys]]
tenant = "arena"
sha256 = "{GOOD["sha256"]}"
scopes = ["predict", "sessions"]
rate = 100
burst = 200
sessions = 10
"""


@pytest.mark.parametrize("text", [TOML, TOML.partition("play\n")[2], json.dumps({"keys": [GOOD]}), keys_json(GOOD)])
def test_a_file_is_toml_or_json(tmp_path: Path, text: str):
    file = tmp_path / "keys"
    file.write_text(text)
    who = find(read(str(file)), KEY)
    assert who.tenant == "arena"
    assert "predict" in who.scopes
    assert who.quota == (10 if "sessions = 10" in text else None)


BAD = {
    "no such file": (None, "cannot be read: No such file"),
    "no TOML": ("[[keys]\n", "not TOML at line 1"),
    "no JSON": ('{"keys": [', "line 1 is not JSON"),
    "no keys": ("", "keys: Field required"),
    "a key without a tenant": (keys_json({**GOOD, "tenant": None}), "keys.0.tenant: "),
    "a tenant with a slash": (keys_json({**GOOD, "tenant": "a/b"}), "keys.0.tenant: String should match"),
    "a tenant with a tilde": (keys_json({**GOOD, "tenant": "a~7C"}), "keys.0.tenant: String should match"),
    "a key in place of its hash": (keys_json({**GOOD, "sha256": KEY}), "keys.0.sha256: String should match"),
    "an unknown scope": (keys_json({**GOOD, "scopes": ["root"]}), "keys.0.scopes.0: Input should be 'predict'"),
    "no scope": (keys_json({**GOOD, "scopes": []}), "keys.0.scopes: "),
    "a rate of nothing": (keys_json({**GOOD, "rate": 0}), "keys.0.rate: "),
    "an unknown member": (keys_json({**GOOD, "key": KEY}), "keys.0.key: Extra inputs"),
    "one key twice": (keys_json(GOOD, {**GOOD, "tenant": "other"}), "two keys have the same sha256"),
    "no text": (b"\xff\xfe", "is not UTF-8"),
}


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD.keys())
def test_keys_that_cannot_be_used_keep_the_service_from_starting(
    artifacts: Path, tmp_path: Path, content: str | bytes | None, says: str
):
    file = tmp_path / "keys.conf"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(KeysError) as refusal:
        read(str(file))
    assert says in str(refusal.value)
    assert KEY not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_service_whose_keys_cannot_be_used_says_so_in_one_line(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data", keys=str(tmp_path / "nothing"))
    process = start(settings)
    _, written = process.communicate(timeout=60)
    assert process.returncode == 1
    assert written == f"nextply: {tmp_path / 'nothing'} cannot be read: No such file or directory\n"
    assert not (tmp_path / "data").exists()


async def test_no_keys_in_a_file_is_nobody_and_not_everybody(artifacts: Path, tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text("[]")
    async with running(Settings(artifacts=artifacts, store="memory", keys=str(file))) as app:
        assert (await Caller(app).ask("GET", "/models")).status == 401


def test_keys_that_change_are_seen_and_who_stays_goes_on_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("service.security.keys._LOOK", 0)
    other = new_key()
    file = tmp_path / "keys.json"
    file.write_text(keys_json(GOOD))
    keys = read(str(file))
    keys._look_at = 0
    who = find(keys, KEY)
    file.write_text(keys_json(GOOD, entry(other, "other", "admin")))
    assert find(keys, other).tenant == "other"
    assert find(keys, KEY) is who
    for broken in "{", keys_json({**GOOD, "sha256": KEY}):
        file.write_text(broken)
        assert find(keys, KEY) is who
        assert find(keys, other).tenant == "other"
    file.unlink()
    assert find(keys, KEY) is who
    assert "stay as they were" in caplog.text
    assert KEY not in caplog.text
    file.write_text(keys_json(entry(other, "other", "admin")))
    assert find(keys, KEY) is None
    assert who.over()
    assert not find(keys, other).over()


def test_a_file_is_not_looked_at_for_every_request(tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text(keys_json(GOOD))
    keys = read(str(file))
    file.write_text(keys_json())
    assert find(keys, KEY) is not None


# The command


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    run = [sys.executable, "-m", "service.keys", "new", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def test_a_key_that_the_command_makes_opens_a_service(artifacts: Path, tmp_path: Path):
    file = tmp_path / "keys.toml"
    made = make("--tenant=arena", "--scopes=predict,sessions", "--rate=50", "--sessions=9", f"--file={file}")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    who = find(read(str(file)), key)
    assert (who.tenant, who.scopes, who.quota) == ("arena", {"predict", "sessions"}, 9)


def test_keys_are_added_to_a_file_and_nothing_in_it_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "keys.toml"
    file.write_text("# ours\n" + TOML)
    file.chmod(0o640)
    made = []
    for tenant in "one", "two":
        assert command.main(["new", f"--tenant={tenant}", "--scopes=admin", f"--file={file}"]) == 0
        made.append(capsys.readouterr().out.strip())
    keys = read(str(file))
    assert [find(keys, key).tenant for key in (KEY, *made)] == ["arena", "one", "two"]
    assert file.read_text().startswith("# ours\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


def test_without_a_file_the_command_shows_what_belongs_into_one(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert command.main(["new", "--tenant", "arena", "--scopes", "predict"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("nextply_") == 1
    assert shown.out.strip() not in shown.err
    file = tmp_path / "keys.toml"
    file.write_text(shown.err[shown.err.index("[[keys]]") : shown.err.index("the key itself")])
    assert find(read(str(file)), shown.out.strip()).tenant == "arena"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--tenant=a/b", "--scopes=predict"], 2, "tenant: "),
        (["--tenant=a", "--scopes=everything"], 2, "scopes: "),
        (["--tenant=a", "--scopes=predict", "--rate=-1"], 2, "rate: "),
        (["--tenant=a", "--scopes=predict", "--file=/nowhere/keys.toml"], 1, "No such file"),
    ],
)
def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str):
    assert command.main(["new", *arguments]) == code
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.out == ""


def test_a_broken_file_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, content in ("a.toml", "[[keys]"), ("a.json", '{"keys": []}'):
        file = tmp_path / name
        file.write_text(content)
        assert command.main(["new", "--tenant=a", "--scopes=predict", f"--file={file}"]) == 1
        assert file.read_text() == content
        assert capsys.readouterr().out == ""


def test_keys_from_the_environment_reach_all_workers_and_nobody_sees_them(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEXTPLY_KEYS", keys_json(GOOD))
    assert GOOD["sha256"] not in repr(Settings())
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path, workers=2)) as process:
        for _ in range(6):
            assert httpx.get(f"{process.url}/models").status_code == 401
            assert httpx.get(f"{process.url}/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


# Rates


@given(
    rate=st.floats(0.5, 1000), burst=st.integers(1, 50), pauses=st.lists(st.floats(0, 0.2), min_size=1, max_size=200)
)
def test_no_more_is_let_in_than_the_burst_and_the_rate(rate: float, burst: int, pauses: list[float]):
    now = 1000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.security.rates.time.monotonic", lambda: now)
        bucket, let_in = Rate(rate, burst), list[float]()
        for pause in pauses:
            now += pause
            try:
                bucket.take()
            except RateLimited as refused:
                wait = refused.extra["retry_after_ms"] / 1000
                assert 0 < wait <= 1 / rate + 0.001
                now += wait
                bucket.take()
            let_in.append(now)
    for first, begun in enumerate(let_in):
        for last, ended in enumerate(let_in[first:], first):
            assert last - first + 1 <= burst + (ended - begun) * rate + 0.01
