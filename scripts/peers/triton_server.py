"""Reads a model's folder and gives the command that serves its step graph with NVIDIA's Triton Inference Server.

Triton's binary ships in the PyPI package nvidia-pytriton, for which there is a virtual environment. A client starts a
sequence with the flag ``sequence_start`` and steps it by its number; see ``request``.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from string import Template

from scripts.peers.environment import PeerError, environment

READY = "/v2/models/step/ready"
STEP = "/v2/models/step/infer"

_MODEL = Path(__file__).parent / "triton" / "step"
_PACKAGES = ("nvidia-pytriton", "onnxruntime", "numpy")
# 1, 2, 4 and 8 are equally fast on two cores.
_HTTP_THREADS = 4


def install(home: Path) -> Path:
    """Give the virtual environment of Triton in ``home``; PeerError if it cannot be made."""
    folder = environment(home / "triton", _PACKAGES)
    _place_backend(folder)
    return folder


def _server(folder: Path) -> tuple[Path, Path]:
    """Give where packages are installed, and in it the folder of Triton."""
    site = next((folder / "lib").glob("python*")) / "site-packages"
    return site, site / "pytriton" / "tritonserver"


def _place_backend(folder: Path) -> None:
    """Put the python backend for this Python where Triton looks for it, and let it be run."""
    _, server = _server(folder)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    placed = server / "backends" / "python" / stub.name
    # Made executable last of all, so one that is was placed to the end.
    if os.access(placed, os.X_OK):
        return
    if not stub.exists():
        raise PeerError(f"nvidia-pytriton has no python backend for Python {version}; --without-peers leaves it out")
    shutil.copy2(stub, placed)
    for program in (server / "bin" / "tritonserver", placed):
        program.chmod(0o755)


def command(home: Path, artifact: Path, folder: Path, instances: int) -> tuple[list[str], dict[str, str]]:
    """Give the command and the environment of a Triton that serves an artifact; ``{port}`` in it stands for the port.

    ``folder`` takes its model repository, ``instances`` is how many processes step sequences: one answers a single
    client sooner, two answer more of them. PeerError if it cannot be installed.
    """
    folder_of_triton = install(home)
    site, server = _server(folder_of_triton)
    shutil.copytree(_MODEL, folder / "step", dirs_exist_ok=True)
    template = Template((_MODEL / "config.pbtxt.template").read_text())
    (folder / "step" / "config.pbtxt").write_text(template.substitute(instances=instances))
    flags = {
        "model-repository": folder,
        "backend-directory": server / "backends",
        "http-address": "127.0.0.1",
        "http-port": "{port}",
        "http-thread-count": _HTTP_THREADS,
        "allow-grpc": "false",
        "allow-metrics": "false",
        # It never ends by itself while a sequence lives.
        "exit-timeout-secs": 1,
    }
    words = [str(server / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in flags.items())]
    path = f"{folder_of_triton / 'bin'}:{os.environ['PATH']}"
    return words, {"PATH": path, "PEER_SITE": str(site), "STEP_ARTIFACT": str(artifact.resolve())}


def request(sequence: int, token: int, *, start: bool = False) -> str:
    """Give the body of one step of a sequence, numbered from 1; the first has ``start``."""
    flag = {"sequence_id": sequence, "sequence_start": start, "sequence_end": False}
    tensor = {"name": "token", "datatype": "INT64", "shape": [1, 1], "data": [token]}
    return json.dumps({"inputs": [tensor], "parameters": flag}, separators=(",", ":"))
