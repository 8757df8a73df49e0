"""A checkout of its own, in which the documentation's commands are run with docker as they stand there."""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.soak.processes import free_port

ROOT = Path(__file__).parents[2]
# What a checkout needs for its containers.
_FILES = (".dockerignore", "Dockerfile", "README.md", "constraints.txt", "docker-compose.yml", "pyproject.toml")
_FOLDERS = ("artifacts", "deploy", "model", "service")
_PATIENCE = 120
_ALL = "docker compose --profile cluster --profile monitoring"
PYTHON = "/opt/nextply/bin/python"


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that may fail."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def why_not() -> str | None:
    """Say why nothing can be run in containers here, None if it can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if (asked := run("docker", "info")).returncode != 0:
        return f"no docker daemon answers: {asked.stderr.strip()}"
    return None if _tool() else "neither docker compose nor docker-compose is installed"


def _tool() -> str | None:
    if run("docker", "compose", "version").returncode == 0:
        return "docker compose"
    return shutil.which("docker-compose")


class Composed:
    """Containers, volumes and ports that nothing else on this machine has; the image is called nextply, as always."""

    def __init__(self, folder: Path) -> None:
        """Copy into a folder what a checkout needs; ``BUILD_NETWORK=host`` builds in the network of the machine."""
        for name in _FILES:
            shutil.copy(ROOT / name, folder)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder, self.project = folder, f"nextply-test-{os.getpid()}"
        self.ports = {f"{name}_PORT": str(free_port()) for name in ("SINGLE", "CLUSTER", "PROMETHEUS", "GRAFANA")}
        self.write()

    def write(self, override: dict[str, Any] | None = None) -> None:
        """Put settings beside those of docker-compose.yml, those of the build if no others are given."""
        network = os.getenv("BUILD_NETWORK")
        build = {"context": "."} | ({"network": network} if network else {})
        override = override or {"services": {"nextply": {"build": build}}}
        (self.folder / "docker-compose.override.yml").write_text(yaml.safe_dump(override))

    def run(self, command: str, *more: str) -> str:
        """Run a command of the documentation, which may go on, but not keep the terminal; give what it wrote."""
        command = re.sub(r"\bup(?! -d)", "up -d", command).replace("docker compose", _tool() or "", 1)
        environment = os.environ | self.ports | {"COMPOSE_PROJECT_NAME": self.project}
        words = [*shlex.split(command), *more]
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, service: str, code: str) -> str:
        """Run Python inside a service's container; give what it wrote."""
        return self.run("docker compose --profile cluster exec -T", service, PYTHON, "-c", code).strip()

    def client(self, name: str, **headers: str) -> httpx.Client:
        """Give a client of what is published on the port with this name."""
        url = f"http://127.0.0.1:{self.ports[f'{name}_PORT']}"
        return httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; whoever does not answer yet is waited for."""
        ends = time.monotonic() + _PATIENCE
        while True:
            with suppress(httpx.TransportError):
                if holds():
                    return
            assert time.monotonic() < ends, self.run(f"{_ALL} logs --no-color --tail=50")
            time.sleep(0.1)

    def remove(self) -> None:
        """Take away everything but the images."""
        self.write()
        self.run(f"{_ALL} down -v --remove-orphans --timeout=1")

    def left(self) -> str:
        """Give what there is of it: containers, volumes and networks."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
        return "".join(run("docker", *kind, "--filter", label).stdout for kind in kinds)


def no_image(service: str) -> str | None:
    """Say why there is no image of a service of docker-compose.yml, None if it is here or could be pulled."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service]["image"]
    if run("docker", "image", "inspect", image).returncode == 0:
        return None
    pulled = run("docker", "pull", image)
    return None if pulled.returncode == 0 else f"{image} is not here and cannot be pulled: {pulled.stderr.strip()}"
