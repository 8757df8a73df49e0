"""The dashboard and the alerts of deploy/ ask for what the service tells, and a real Prometheus answers them."""

import json
import math
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.settings import Settings
from tests.serving import Process, serving

ROOT = Path(__file__).parent.parent
DASHBOARD = ROOT / "deploy/grafana/nextply.json"
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = PROMETHEUS / "nextply.rules.yml"
PATIENCE = 60

with_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed: apt-get install prometheus",
)


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def panels() -> list[Any]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[str]:
    """Give every query of the dashboard, with its variables filled in as Grafana would."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [query.replace("$__rate_interval", "10s").replace("$job", "nextply") for query in asked]


def rules() -> list[Any]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def rule_queries() -> list[str]:
    """Give what every rule looks at: of an alert what it compares, since a healthy service raises none."""
    return [re.sub(r" [<>] [\d.]+$", "", rule["expr"]) for rule in rules()]


def variable_queries() -> list[str]:
    """Give the metrics whose labels the dashboard offers."""
    asked = [one["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    found = [re.fullmatch(r"label_values\((\w+), \w+\)", query) for query in asked]
    return [one[1] for one in found if one is not None]


# --- without Prometheus -----------------------------------------------------------------------------------------------


async def told_metrics(settings: Settings) -> set[str]:
    """Give the names of all series that the service may tell of."""
    async with serving(settings) as client:
        text = (await client.get("/metrics")).text
    names = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        endings = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(kind, ("",))
        names |= {name + ending for ending in endings}
    return names


@pytest.mark.anyio
async def test_every_metric_that_is_asked_for_is_one_that_the_service_tells(settings: Settings):
    told = await told_metrics(settings)
    asked = {name for query in dashboard_queries() + rule_queries() for name in re.findall(r"\bnextply_\w+", query)}
    asked |= set(variable_queries())
    assert len(asked) > 15
    assert asked <= told
    tested = set(re.findall(r"\bnextply_\w+", (PROMETHEUS / "nextply.test.yml").read_text()))
    assert tested <= told


@pytest.mark.anyio
async def test_every_metric_is_described_and_shown_or_watched(settings: Settings):
    def family(name: str) -> str:
        return re.sub(r"_(bucket|sum|count)$", "", name)

    told = {family(name) for name in await told_metrics(settings) if name.startswith("nextply_")}
    told = {name for name in told if not name.endswith("_created")}
    shown = {family(name) for query in dashboard_queries() for name in re.findall(r"\bnextply_\w+", query)}
    described = set(re.findall(r"`(nextply_\w+)`", (ROOT / "docs/operations.md").read_text()))
    assert told - shown <= {"nextply_v2_last_inference_seconds"}
    assert told == {name for name in described if ":" not in name}


def test_every_alert_says_how_bad_it_is_and_the_documents_say_what_to_do():
    alerts = [rule for rule in rules() if "alert" in rule]
    document = (ROOT / "docs/operations.md").read_text()
    assert len(alerts) > 8
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["summary"]
        assert f"`{alert['alert']}`" in document


def test_panels_are_named_and_explained_and_do_not_cover_each_other():
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in panels())
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_grafana_is_given_the_files_where_it_is_told_to_look():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in compose["grafana"]["volumes"])
    provider = yaml.safe_load((ROOT / mounts["/etc/grafana/provisioning/dashboards/nextply.yml"]).read_text())
    folder = provider["providers"][0]["options"]["path"]
    assert (ROOT / mounts[f"{folder}/nextply.json"]).samefile(DASHBOARD)
    source = yaml.safe_load((ROOT / mounts["/etc/grafana/provisioning/datasources/prometheus.yml"]).read_text())
    host, port = source["datasources"][0]["url"].removeprefix("http://").split(":")
    assert [published.rpartition(":")[2] for published in compose[host]["ports"]] == [port]


# --- with Prometheus --------------------------------------------------------------------------------------------------


@with_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", RULES),
        ("check", "config", PROMETHEUS / "prometheus.yml"),
        ("test", "rules", PROMETHEUS / "nextply.test.yml"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_promtool_finds_nothing_wrong(arguments: tuple[Any, ...]):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def play(url: str, over: threading.Event) -> None:
    """Do a little of everything, again and again: open, play, conflict, predict, infer, delete."""
    infer = {"inputs": [{"name": "MOVES", "datatype": "BYTES", "shape": [1], "data": ["red"]}]}
    number = 0
    with httpx.Client(base_url=url) as client:
        while not over.wait(0.02):
            number += 1
            path = f"/sessions/game-{number}"
            with suppress(httpx.TransportError):
                client.post("/sessions", json={"session": f"game-{number}", "model": "colours"})
                for ply in (0, 1, 5):
                    client.post(f"{path}/moves", json={"moves": ["red"], "ply": ply})
                client.post("/predict", json={"sequences": [["red", "blue"]], "model": "colours"})
                client.post("/v2/models/colours/infer", json=infer)
                client.delete(path)


@pytest.fixture(scope="module")
def prometheus(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The interface of a Prometheus that scrapes a service with two workers, in which something goes on."""
    folder, port, over = tmp_path_factory.mktemp("prometheus"), free_port(), threading.Event()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    with Process(Settings(artifacts=artifacts, data_dir=folder / "sessions", workers=2)) as service:
        playing = threading.Thread(target=play, args=(service.url, over))
        playing.start()
        (job,) = config["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [service.url.removeprefix("http://")]}]
        config["global"] = {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"}
        config["rule_files"] = [str(RULES)]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        flags.append(f"--web.listen-address=127.0.0.1:{port}")
        log = (folder / "log").open("w")
        process = subprocess.Popen(["prometheus", *flags], stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=PATIENCE) as client:
                yield client
        finally:
            over.set()
            playing.join()
            process.terminate()
            process.wait()
            log.close()


def answered(prometheus: httpx.Client, path: str, **parameters: str) -> Any:
    with suppress(httpx.TransportError):
        response = prometheus.get(path, params=parameters)
        assert response.status_code in (200, 503), response.text
        if response.status_code == 200:
            return response.json()["data"]
    return None


def has_data(prometheus: httpx.Client, query: str) -> bool:
    found = answered(prometheus, "/query", query=query)
    return found is not None and any(math.isfinite(float(series["value"][1])) for series in found["result"])


@with_prometheus
def test_every_query_has_an_answer_once_the_service_was_scraped(prometheus: httpx.Client):
    left = dashboard_queries() + rule_queries() + variable_queries()
    ends = time.monotonic() + PATIENCE
    while left := [query for query in left if not has_data(prometheus, query)]:
        assert time.monotonic() < ends, "no data:\n" + "\n".join(left)
        time.sleep(0.25)


@with_prometheus
def test_prometheus_takes_every_rule_and_a_healthy_service_raises_none(prometheus: httpx.Client):
    def evaluated() -> list[Any]:
        found = answered(prometheus, "/rules") or {"groups": []}
        return [rule for group in found["groups"] for rule in group["rules"]]

    ends = time.monotonic() + PATIENCE
    while {rule["health"] for rule in evaluated()} != {"ok"}:
        assert time.monotonic() < ends, evaluated()
        time.sleep(0.25)
    assert [rule["name"] for rule in evaluated()] == [rule.get("record") or rule["alert"] for rule in rules()]
    assert not [rule["name"] for rule in evaluated() if rule.get("state") == "firing"]
