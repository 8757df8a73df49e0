"""Reads HTTP and gives HTTP: one module per part of the interface, each a function that makes a router of its parts."""

from typing import Any

import orjson
from fastapi import Response

from service.errors import Problem
from service.schemas import ProblemAnswer

# What OpenAPI is told of the header of 429.
RETRY_AFTER = {
    "Retry-After": {"required": True, "description": "In seconds.", "schema": {"type": "integer", "minimum": 1}}
}


class Json(Response):
    """An answer written by orjson: floats keep every bit."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the body."""
        return orjson.dumps(content)


class ProblemJson(Json):
    """An error's answer."""

    media_type = "application/problem+json"

    @classmethod
    def of(cls, error: Problem) -> "ProblemJson":
        """Give the answer that an error is."""
        return cls(error.body(), status_code=error.status, headers=error.headers())


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for OpenAPI."""
    texts = {
        400: "The body is not JSON.",
        401: "The service has keys, and the request has none, or none that is good.",
        403: "The key may not do this: `needs` says which scope would do; or its tenant has its most sessions already.",
        404: "No such model or session.",
        408: "The body did not arrive in the time that the request may take.",
        409: "The id is taken, the session stands at another ply, which `ply` says, its model has other moves now, "
        "or it shows no gates.",
        413: "More than a request may hold.",
        415: "The content type is not JSON.",
        422: "The body is not as described, or a move is unknown or illegal; nothing was applied.",
        429: "More than the service can do now; `Retry-After` and `retry_after_ms` say when to try again.",
        503: "The engine or the store failed, the request's time is over, or the service is stopping.",
    }
    if 413 in statuses:
        statuses += (408,)
    # The answer of /steps brings the schema.
    content = {ProblemJson.media_type: {"schema": {"$ref": f"#/components/schemas/{ProblemAnswer.__name__}"}}}
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": texts[status], "content": content} for status in statuses
    }
    if 429 in found:
        found[429]["headers"] = RETRY_AFTER
    return found
