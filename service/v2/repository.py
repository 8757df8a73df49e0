"""Reads what is loaded and gives what the protocol tells of server and models; loads models, and withdraws them."""

from collections.abc import Mapping
from importlib.metadata import version as version_of
from typing import Any

import orjson

from service.errors import InvalidRequest, Problem, UnknownModel
from service.keeper import Keeper
from service.models import Model, Models
from service.settings import Settings
from service.stopping import Stopping
from service.v2.failures import BadBody, CannotLoad, NotReady
from service.v2.tensors import BYTES, FP32, INT64, Spec

INPUTS = {spec.name: spec for spec in (Spec("MOVES", BYTES, (-1,)), Spec("TOP_K", INT64, (1,), optional=True))}
OUTPUTS = {
    spec.name: spec
    for spec in (
        Spec("NEXT_MOVES", BYTES, (-1,)),
        Spec("PROBABILITIES", FP32, (-1,)),
        Spec("SURPRISAL", FP32, (-1,)),
        Spec("PLY", INT64, (1,)),
    )
}
_EXTENSIONS = (
    "sequence",
    "sequence(string_id)",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
_PLATFORM, _BACKEND = "onnxruntime_onnx", "onnxruntime"
_TYPES = {BYTES: "TYPE_STRING", INT64: "TYPE_INT64", FP32: "TYPE_FP32"}


class Repository:
    """The models as the protocol sees them; one that was unloaded is withdrawn from ``/v2``, and from nowhere else."""

    def __init__(self, models: Models, keeper: Keeper, stopping: Stopping, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._models, self._keeper, self._stopping, self._settings = models, keeper, stopping, settings
        self._unloaded: set[str] = set()

    def model(self, name: str, version: str | None) -> Model:
        """Give a model, its newest version if none is named; UnknownModel if it is not served here."""
        model = self._models.get(f"{name}/{version}" if version else name)
        if name in self._unloaded:
            raise UnknownModel(f"model {name!r} was unloaded; load it to use it again")
        return model

    def versions(self, name: str, version: str | None) -> list[Model]:
        """Give one version of a model, or all that are served; UnknownModel if there is none."""
        model = self.model(name, version)
        return [model] if version else [one for one in self._models if one.name == name]

    def all(self) -> list[Model]:
        """Give every model that is served here."""
        return [model for model in self._models if model.name not in self._unloaded]

    async def check_ready(self) -> None:
        """Pass if everything is served; NotReady says why it is not."""
        if self._stopping.announced:
            raise NotReady("the service is about to stop")
        try:
            await self._keeper.ready()
        except Problem as problem:
            raise NotReady(problem.detail) from problem.__cause__

    def server(self) -> dict[str, Any]:
        """Give the server's metadata."""
        return {"name": "nextply", "version": version_of("nextply"), "extensions": _EXTENSIONS}

    def metadata(self, name: str, version: str | None) -> dict[str, Any]:
        """Give a model's metadata."""
        self.model(name, version)
        return {
            "name": name,
            "versions": [model.version for model in self.versions(name, None)],
            "platform": _PLATFORM,
            "inputs": [_tensor(spec) for spec in INPUTS.values()],
            "outputs": [_tensor(spec) for spec in OUTPUTS.values()],
        }

    def config(self, name: str, version: str | None) -> dict[str, Any]:
        """Give a model's configuration, members of Triton's ModelConfig that mean something here."""
        model = self.model(name, version)
        described = {
            "game": model.game.name,
            "cell": model.manifest.cell,
            "precision": model.manifest.precision,
            "context": ",".join(field.name for field in model.game.context),
        }
        return {
            "name": name,
            "platform": _PLATFORM,
            "backend": _BACKEND,
            "version_policy": {"all": {}},
            # Every request is one game; those that come together share steps all the same.
            "max_batch_size": 0,
            "input": [_configured(spec) | {"optional": spec.optional} for spec in INPUTS.values()],
            "output": [_configured(spec) for spec in OUTPUTS.values()],
            "sequence_batching": {
                "max_sequence_idle_microseconds": self._settings.session_ttl * 1_000_000,
                "oldest": {"max_candidate_sequences": self._settings.max_sessions},
            },
            "model_transaction_policy": {"decoupled": False},
            "parameters": {key: {"string_value": value} for key, value in described.items()},
        }

    def index(self, asked: Mapping[str, Any]) -> list[dict[str, str]]:
        """List the models, only those that are ready if that is asked for."""
        ready = asked.get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequest("ready is true or false")
        return [_listed(model, model.name in self._unloaded) for model in (self.all() if ready else self._models)]

    async def load(self, name: str, asked: Mapping[str, Any]) -> None:
        """Load what is new in the folder of models and serve a model again; CannotLoad if its folder has a fault."""
        parameters = asked.get("parameters", {})
        if not isinstance(parameters, dict) or parameters:
            raise InvalidRequest("models are served as their folders have them: a load takes no config and no files")
        changes = await self._models.reload()
        for failed, reason in changes.failed.items():
            if failed.partition("/")[0] == name:
                raise CannotLoad(f"{failed} cannot be loaded: {reason}")
        self._models.get(name)
        self._unloaded.discard(name)

    def unload(self, name: str) -> None:
        """Serve a model here no more; its sessions stay. CannotLoad where other processes would go on serving it."""
        self.model(name, None)
        if self._settings.workers > 1:
            remove = "remove its folder, and all of them drop it"
            raise CannotLoad(f"{self._settings.workers} processes serve {name!r}, and this is one of them: {remove}")
        self._unloaded.add(name)


def read_members(body: bytes) -> Mapping[str, Any]:
    """Give the members of a small JSON object, none if the body is empty; BadBody if it is something else."""
    try:
        members = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise BadBody(f"the body is not JSON: {error}") from None
    if not isinstance(members, dict):
        raise BadBody("the body is not a JSON object")
    return members


def _tensor(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _configured(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": _TYPES[spec.datatype], "dims": spec.shape}


def _listed(model: Model, unloaded: bool) -> dict[str, str]:
    state, reason = ("UNAVAILABLE", "unloaded") if unloaded else ("READY", "")
    return {"name": model.name, "version": model.version, "state": state, "reason": reason}
