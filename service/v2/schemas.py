"""What answers of the protocol look like: typed dicts, which OpenAPI describes, and tests hold the answers to."""

from collections.abc import Sequence
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Datatype = Literal["BYTES", "INT64", "FP32"]


class ErrorAnswer(TypedDict):
    """An error, in words."""

    error: str


class ServerAnswer(TypedDict):
    """What the server is, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: Sequence[str]


class LiveAnswer(TypedDict):
    """The process runs."""

    live: bool


class ReadyAnswer(LiveAnswer):
    """Models are loaded and sessions are kept."""

    ready: bool


class ModelReadyAnswer(TypedDict):
    """A model is served."""

    name: str
    ready: bool


class TensorMetadata(TypedDict):
    """A tensor of a model; a size of −1 is free."""

    name: str
    datatype: Datatype
    shape: Sequence[int]


class MetadataAnswer(TypedDict):
    """A model, its versions and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(TypedDict):
    """A tensor as Triton's ModelConfig has it."""

    name: str
    data_type: Literal["TYPE_STRING", "TYPE_INT64", "TYPE_FP32"]
    dims: Sequence[int]
    optional: NotRequired[bool]


class ConfigAnswer(TypedDict):
    """The members of Triton's ModelConfig that mean something here."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, Any]
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    sequence_batching: dict[str, Any]
    model_transaction_policy: dict[str, bool]
    parameters: dict[str, dict[str, str]]


class Duration(TypedDict):
    """How many requests there were, and the nanoseconds that they took together."""

    count: int
    ns: int


class Durations(TypedDict):
    """Requests that were answered, those that failed, and parts that are not told and stay 0."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class ModelStatistics(TypedDict):
    """What was asked of a version of a model; ``last_inference`` is in milliseconds since 1970."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: Durations
    response_stats: dict[str, Any]
    batch_stats: list[Any]
    memory_usage: list[Any]


class StatisticsAnswer(TypedDict):
    """The statistics of models."""

    model_stats: list[ModelStatistics]


class ListedModel(TypedDict):
    """A model of the repository, and why it is not served if it is not."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class DoneAnswer(TypedDict):
    """Done; there is nothing more to say."""


class SequenceParameters(TypedDict):
    """The sequence that was played in, and the session that it is."""

    sequence_id: int | str
    sequence_start: bool
    sequence_end: bool
    session: str


class BinarySize(TypedDict):
    """How many bytes behind the JSON a tensor has."""

    binary_data_size: int


class OutputTensor(TensorMetadata):
    """An output; its elements are in ``data``, or in the bytes behind the JSON."""

    data: NotRequired[list[str] | list[int] | list[float]]
    parameters: NotRequired[BinarySize]


class InferAnswer(TypedDict):
    """An inference; ``model_version`` says which version served it."""

    model_name: str
    model_version: str
    id: NotRequired[str]
    parameters: NotRequired[SequenceParameters]
    outputs: list[OutputTensor]
