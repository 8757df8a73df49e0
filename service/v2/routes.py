"""Reads HTTP as tritonclient sends it and gives what it expects: health, models, statistics, inference."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from service.deadline import begin_deadline
from service.errors import InvalidRequest, TooLarge
from service.limits import DIGITS
from service.routes import Json
from service.security.caller import caller
from service.security.table import PREDICT, SESSIONS
from service.settings import Settings
from service.v2 import description, messages
from service.v2.description import Call
from service.v2.encodings import accepted, pack, unpack
from service.v2.repository import INPUTS, OUTPUTS, Repository, read_members
from service.v2.sequences import Answer, Ask, SequenceId, Sequences
from service.v2.statistics import counted, statistics
from service.v2.tensors import Spec, Tensor

Handler = Callable[[Request], Awaitable[Response]]

# Parameters that are not about the game; priority means nothing here, as in Triton for models without levels of it.
_OURS = {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "binary_data_output", "ply"}
_USUAL_TOP_K = 5
_JSON_LENGTH = "inference-header-content-length"


class _Plain(APIRoute):
    """A route that FastAPI describes, and whose handler reads the request by itself."""

    def get_route_handler(self) -> Any:
        """Give the handler as it is."""
        return self.endpoint


def v2_routes(repository: Repository, sequences: Sequences, settings: Settings) -> APIRouter:
    """Make the routes of the protocol."""
    router = APIRouter(tags=["Open Inference Protocol"], route_class=_Plain)

    def add(path: str, handler: Handler, call: Call) -> None:
        router.add_api_route(
            f"/v2{path}",
            handler,
            methods=["GET" if call.body is None else "POST"],
            response_model=call.answer,
            responses=description.responses(call),
            openapi_extra=description.request(path, call),
        )

    def add_of_model(path: str, handler: Handler, call: Call) -> None:
        add(f"/models/{{model}}{path}", handler, call)
        add(f"/models/{{model}}/versions/{{version}}{path}", handler, call)

    async def server(_: Request) -> Response:
        """Say what the server is."""
        return Json(repository.server())

    async def live(_: Request) -> Response:
        """Say that the process runs."""
        return Json({"live": True})

    async def ready(_: Request) -> Response:
        """Say that models are loaded and sessions are kept."""
        await repository.check_ready()
        return Json({"live": True, "ready": True})

    async def model_ready(request: Request) -> Response:
        """Say that a model is served."""
        return Json({"name": repository.model(*_model(request)).name, "ready": True})

    async def metadata(request: Request) -> Response:
        """Give the tensors of a model, and its versions."""
        return Json(repository.metadata(*_model(request)))

    async def config(request: Request) -> Response:
        """Give the configuration of a model."""
        return Json(repository.config(*_model(request)))

    async def all_statistics(_: Request) -> Response:
        """Give the statistics of all models."""
        return Json(statistics(repository.all()))

    async def model_statistics(request: Request) -> Response:
        """Give the statistics of a model."""
        return Json(statistics(repository.versions(*_model(request))))

    async def index(request: Request) -> Response:
        """List the models; with `ready` only those that are served."""
        return Json(repository.index(read_members(await _body(request, settings))))

    async def load(request: Request) -> Response:
        """Look for new versions, and serve a model that was unloaded again."""
        await repository.load(_model(request)[0], read_members(await _body(request, settings)))
        return Json({})

    async def unload(request: Request) -> Response:
        """Serve a model at `/v2` no more."""
        read_members(await _body(request, settings))
        repository.unload(_model(request)[0])
        return Json({})

    async def infer(request: Request) -> Response:
        """Play moves in a sequence, or read a whole game, and predict what comes next."""
        with counted(repository.model(*_model(request))):
            return await _infer(request, sequences, settings)

    add("", server, description.SERVER)
    add("/health/live", live, description.LIVE)
    add("/health/ready", ready, description.READY)
    add("/models/stats", all_statistics, description.ALL_STATISTICS)
    add_of_model("", metadata, description.METADATA)
    add_of_model("/ready", model_ready, description.MODEL_READY)
    add_of_model("/config", config, description.CONFIG)
    add_of_model("/stats", model_statistics, description.STATISTICS)
    add_of_model("/infer", infer, description.INFER)
    add("/repository/index", index, description.INDEX)
    add("/repository/models/{model}/load", load, description.LOAD)
    add("/repository/models/{model}/unload", unload, description.UNLOAD)
    return router


def _model(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")


async def _body(request: Request, settings: Settings) -> bytes:
    return unpack(await request.body(), request.headers.get("content-encoding", ""), settings.max_body)


async def _infer(request: Request, sequences: Sequences, settings: Settings) -> Response:
    asked, behind = messages.read(await _body(request, settings), request.headers.get(_JSON_LENGTH))
    inputs = messages.read_inputs(asked, behind, INPUTS)
    wanted = messages.read_outputs(asked, OUTPUTS)
    _shorten_deadline(asked.parameters.get("timeout"), request, settings)
    ask = _ask(*_model(request), asked.parameters, inputs, settings)
    caller().check(PREDICT if ask.sequence is None else SESSIONS)
    answer = await sequences.answer(ask)
    outputs = _outputs(answer)
    body, length = messages.write(_head(asked, ask, answer), [(outputs[spec.name], binary) for spec, binary in wanted])
    headers = {"Vary": "Accept-Encoding"}
    if length is not None:
        headers["Inference-Header-Content-Length"] = str(length)
    if encoding := accepted(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = encoding
        body = pack(body, encoding)
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(body, headers=headers, media_type=kind)


def _shorten_deadline(microseconds: Any, request: Request, settings: Settings) -> None:
    """Give a request no more time than its parameter ``timeout`` says; it never gets more than it has already."""
    if microseconds is None:
        return
    if isinstance(microseconds, bool) or not isinstance(microseconds, int) or microseconds < 0:
        raise InvalidRequest("timeout is a whole number of microseconds")
    milliseconds = -(-microseconds // 1000)
    # Admission has checked the header.
    given = int(request.headers.get("request-timeout-ms", "0")[:DIGITS]) or settings.request_timeout_ms
    if 0 < milliseconds < min(given, settings.request_timeout_ms):
        begin_deadline(milliseconds)


def _ask(
    model: str, version: str | None, parameters: Mapping[str, Any], inputs: Mapping[str, Tensor], settings: Settings
) -> Ask:
    """Read what is asked for; InvalidRequest if a tensor or a parameter is not what it has to be."""
    moves = inputs["MOVES"]
    if len(moves.shape) not in (1, 2) or (len(moves.shape) == 2 and moves.shape[0] != 1):
        raise InvalidRequest(f"MOVES are the moves of one game, of shape [n] or [1,n], not {list(moves.shape)}")
    if len(moves.values) > settings.max_moves:
        raise TooLarge(f"{len(moves.values)} moves; a game holds at most {settings.max_moves}")
    top_k = inputs["TOP_K"].values if "TOP_K" in inputs else [_USUAL_TOP_K]
    if len(top_k) != 1:
        raise InvalidRequest("TOP_K is one number")
    ply = parameters.get("ply")
    if ply is not None and (isinstance(ply, bool) or not isinstance(ply, int) or ply < 0):
        raise InvalidRequest("ply is how many moves you believe were played before, a whole number")
    return Ask(
        model=model,
        reference=f"{model}/{version}" if version else model,
        moves=list(moves.values),
        top_k=top_k[0],
        context={name: value for name, value in parameters.items() if name not in _OURS},
        sequence=_sequence(parameters.get("sequence_id")),
        start=_flag(parameters, "sequence_start"),
        end=_flag(parameters, "sequence_end"),
        ply=ply,
    )


def _sequence(given: Any) -> SequenceId | None:
    """Give a sequence's id; 0 and empty text are none."""
    if isinstance(given, bool) or not isinstance(given, int | str | None):
        raise InvalidRequest("sequence_id is a whole number or text")
    return given or None


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} is true or false")
    return value


def _outputs(answer: Answer) -> dict[str, Tensor]:
    found: dict[str, list[Any]] = {
        "NEXT_MOVES": [one["move"] for one in answer.following],
        "PROBABILITIES": [one["probability"] for one in answer.following],
        "SURPRISAL": answer.surprisal,
        "PLY": [answer.ply],
    }
    return {spec.name: _tensor(spec, found[spec.name]) for spec in OUTPUTS.values()}


def _tensor(spec: Spec, values: list[Any]) -> Tensor:
    return Tensor(spec, [len(values)], values)


def _head(asked: messages.InferRequest, ask: Ask, answer: Answer) -> dict[str, Any]:
    head: dict[str, Any] = {"model_name": answer.model["name"], "model_version": answer.model["version"]}
    if asked.id is not None:
        head["id"] = asked.id
    if answer.session is not None:
        of_sequence = {"sequence_id": ask.sequence, "sequence_start": ask.start, "sequence_end": ask.end}
        head["parameters"] = of_sequence | {"session": answer.session}
    return head
