"""Reads prepared requests and gives prepared answers: all that the client knows of HTTP, for both ways to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from nextply_client.errors import BadAnswer, NextplyError, Unreachable, problem_of
from nextply_client.flows import Effect, Flow
from nextply_client.retries import Retries

DEFAULT_URL = "http://localhost:8000"

_LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
"""What httpx raises when the service is away, or was before it had answered."""

# Seconds more than the service has, so that it is the service that says that the time is over.
_GRACE = 1.0
_CONNECT = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request; ``body`` is sent as JSON unless it is bytes."""

    method: str
    path: str
    body: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Send a request, which may take so many seconds; what comes of it is an `Answer`, or Unreachable."""

    request: Request
    timeout: float

    def arguments(self) -> dict[str, Any]:
        """Give the arguments of ``httpx.Client.request``."""
        request = self.request
        arguments: dict[str, Any] = {
            "method": request.method,
            "url": request.path,
            "params": {name: value for name, value in request.params.items() if value is not None},
            "headers": {"request-timeout-ms": str(max(1, round(self.timeout * 1000)))},
            "timeout": httpx.Timeout(self.timeout + _GRACE, connect=min(self.timeout, _CONNECT)),
        }
        if isinstance(request.body, bytes):
            arguments["content"] = request.body
            arguments["headers"]["content-type"] = "application/octet-stream"
        elif request.body is not None:
            arguments["json"] = request.body
        return arguments


@dataclass(frozen=True, slots=True)
class Wait(Effect):
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @classmethod
    def of(cls, response: httpx.Response) -> "Answer":
        """Take what httpx received."""
        return cls(response.status_code, response.headers, response.content)


def client_options(url: str, key: str | None, headers: Mapping[str, str] | None, connections: int) -> dict[str, Any]:
    """Give the arguments of both of httpx's clients; ValueError if ``url`` is no address of a service."""
    try:
        right = httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        right = False
    if not right:
        raise ValueError(f"{url!r} is no address of a service: it is like {DEFAULT_URL}")
    authorization = {} if key is None else {"authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return {"base_url": url, "headers": {**authorization, **(headers or {})}, "limits": limits}


def path(*names: str) -> str:
    """Give the path of names, whatever characters are in them."""
    return "".join(f"/{quote(name, safe='')}" for name in names)


def http_failure(error: httpx.HTTPError) -> NextplyError:
    """Say for people, and for retries, what httpx raised."""
    return unreachable(error) if isinstance(error, _LOST) else BadAnswer(f"the answer cannot be read: {error}")


def unreachable(error: Exception) -> Unreachable:
    """Say for people that no answer came."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | ConnectionRefusedError):
        failure = Unreachable(f"nothing answers there: {error}")
    elif isinstance(error, TimeoutError | httpx.TimeoutException):
        failure = Unreachable("no answer came in time")
    else:
        failure = Unreachable(f"the connection was lost: {str(error) or type(error).__name__}")
    failure.__cause__ = error
    return failure


def sent(request: Request, retries: Retries, timeout: float) -> Flow[Answer]:
    """Send a request until it is answered by anything that does not pass; Problem if that is none of success.

    What is sent must be safe to be sent again.
    """
    backoff = retries.begin()
    while True:
        try:
            answer: Answer = yield Send(request, backoff.left(timeout))
            if 200 <= answer.status < 300:
                return answer
            raise problem_of(answer.status, answer.headers, answer.content)
        except NextplyError as failure:
            yield Wait(backoff.pause(failure))
