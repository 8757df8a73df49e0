"""The image and docker-compose.yml do what the documentation says of them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml

from tests.containers.composed import ROOT, Composed, no_image, run, why_not
from tests.documents import blocks_of
from tests.serving import KASPAROV_TOPALOV

_HAS = """
import json, os
from importlib.util import find_spec
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
print(json.dumps({
    "user": status["Uid"].split()[0], "capabilities": int(status["CapEff"], 16),
    "read only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
    "modules": [name for name in ("torch", "jwt", "opentelemetry.sdk") if find_spec(name)],
}))
"""
# A replica that was just started does not listen yet.
_SERVES_MOVES = """
from urllib import request
try:
    print('/moves",status="2xx"' in request.urlopen("http://127.0.0.1:8000/metrics").read().decode())
except OSError:
    print(False)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """A checkout from which the image was built."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    composed = Composed(tmp_path_factory.mktemp("checkout"))
    composed.run("docker compose build")
    return composed


@pytest.fixture
def composed(checkout: Composed) -> Iterator[Composed]:
    """The checkout; of what a test starts nothing is left."""
    try:
        yield checkout
    finally:
        checkout.remove()
        assert checkout.left() == ""


def is_ready(http: httpx.Client) -> bool:
    return http.get("/health/ready").status_code == 200


def ply_of(http: httpx.Client, session: str) -> int:
    return http.get(f"/sessions/{session}").raise_for_status().json()["ply"]


def serves_moves(composed: Composed, replica: str) -> bool:
    """Say whether a replica has served moves since it was started."""
    return composed.python(replica, _SERVES_MOVES) == "True"


def whole_game(http: httpx.Client, session: str) -> list[Any]:
    """Play a game, a move a request, each sent once; give what was predicted after each."""
    http.post("/sessions", json={"session": session}).raise_for_status()
    predicted = []
    for ply, move in enumerate(KASPAROV_TOPALOV):
        answer = http.post(f"/sessions/{session}/moves", json={"moves": [move], "ply": ply})
        assert answer.status_code == 200, f"{session} at {ply}: {answer.text}"
        assert answer.json()["ply"] == ply + 1
        predicted.append(answer.json()["next"])
    return predicted


def test_the_image_has_what_it_needs_and_no_more(composed: Composed):
    composed.run("docker compose up --build")
    expected = {"user": "10001", "capabilities": 0, "read only": True, "modules": ["jwt", "opentelemetry.sdk"]}
    with composed.client("SINGLE") as http:
        composed.until(lambda: is_ready(http))
        assert json.loads(composed.python("nextply", _HAS)) == expected
        assert "<title>Nextply" in http.get("/").raise_for_status().text
    container = composed.run("docker compose ps -q nextply").strip()
    health = ("docker", "inspect", "--format", "{{.State.Health.Status}}", container)
    composed.until(lambda: run(*health).stdout.strip() == "healthy")


def test_sessions_stay_in_the_volume(composed: Composed):
    composed.run("docker compose up --build")
    with composed.client("SINGLE") as http:
        composed.until(lambda: is_ready(http))
        http.post("/sessions", json={"session": "game", "moves": KASPAROV_TOPALOV[:10]}).raise_for_status()
        for ply, commands in enumerate((["restart"], ["kill", "up -d"], ["down", "up -d"]), start=10):
            for command in commands:
                composed.run(f"docker compose {command}")
            composed.until(lambda: is_ready(http))
            assert ply_of(http, "game") == ply
            move = {"moves": [KASPAROV_TOPALOV[ply]], "ply": ply}
            assert http.post("/sessions/game/moves", json=move).raise_for_status().json()["ply"] == ply + 1


def test_who_has_no_key_is_refused(composed: Composed):
    made = composed.run(
        "docker compose run --rm -T --entrypoint /opt/nextply/bin/python nextply "
        "-m service.keys new --tenant arena --scopes predict,sessions --file /data/keys.toml"
    )
    key = made.split()[-1]
    (shown,) = [block for block in blocks_of(ROOT / "docs/deploy.md") if block.title == "docker-compose.override.yml"]
    composed.write(yaml.safe_load(shown.text))
    composed.run("docker compose up -d")
    with composed.client("SINGLE") as stranger, composed.client("SINGLE", authorization=f"Bearer {key}") as player:
        composed.until(lambda: is_ready(stranger))
        for path in ("/sessions", "/models"):
            assert stranger.get(path).status_code == 401
            assert player.get(path).status_code == 200
        assert len(whole_game(player, "game")) == len(KASPAROV_TOPALOV)


def test_a_game_does_not_notice_that_a_replica_stops_and_comes_back(composed: Composed):
    composed.run("docker compose build")
    composed.run("docker compose --profile cluster up proxy")
    with composed.client("CLUSTER") as http, ThreadPoolExecutor(1) as other:
        composed.until(lambda: is_ready(http))
        expected = whole_game(http, "undisturbed")
        for what, settled in (("stop", lambda: True), ("start", lambda: serves_moves(composed, "replica-1"))):
            changing, games = other.submit(composed.run, f"docker compose --profile cluster {what} replica-1"), 0
            while games == 0 or not (changing.done() and settled()):
                assert games < 500, "the replica does not come back"
                assert whole_game(http, f"{what}-{games}") == expected
                games += 1
            changing.result()
        composed.run("docker compose --profile cluster down")
        composed.run("docker compose --profile cluster up proxy")
        composed.until(lambda: is_ready(http))
        assert ply_of(http, "undisturbed") == ply_of(http, "stop-0") == len(KASPAROV_TOPALOV)


def monitor(composed: Composed, watcher: str) -> None:
    """Start the service and what watches it; skip the test if there is no image of the one that it is about."""
    if (reason := no_image(watcher)) is not None:
        pytest.skip(reason)
    alone = ["nextply", "prometheus"] if no_image("grafana") else []
    composed.run("docker compose --profile monitoring up", *alone)


def test_prometheus_scrapes_the_service_and_has_the_alerts(composed: Composed):
    monitor(composed, "prometheus")
    groups = yaml.safe_load((ROOT / "deploy/prometheus/nextply.rules.yml").read_text())["groups"]
    with composed.client("PROMETHEUS") as http:

        def found(path: str) -> Any:
            return http.get(f"/api/v1/{path}").raise_for_status().json()["data"]

        composed.until(lambda: [one["health"] for one in found("targets")["activeTargets"]] == ["up"])
        (target,) = found("targets")["activeTargets"]
        assert target["labels"]["job"] == "nextply"
        names = [rule["name"] for group in found("rules")["groups"] for rule in group["rules"]]
    assert names == [rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]]


def test_grafana_has_the_dashboard(composed: Composed):
    monitor(composed, "grafana")
    dashboard = json.loads((ROOT / "deploy/grafana/nextply.json").read_text())
    with composed.client("GRAFANA") as http:
        path = f"/api/dashboards/uid/{dashboard['uid']}"
        composed.until(lambda: http.get(path).status_code == 200)
        shown = http.get(path).json()
    assert shown["meta"]["provisioned"]
    assert [panel["title"] for panel in shown["dashboard"]["panels"]] == [one["title"] for one in dashboard["panels"]]
