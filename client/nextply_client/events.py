"""Reads server-sent events, line by line, and gives what happened in a session."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from nextply_client.answers import Event
from nextply_client.errors import BadAnswer, problem_of
from nextply_client.http import path
from nextply_client.reading import from_json

# The service writes a comment every 15 seconds; after three that did not come the connection is lost.
_QUIET = 45.0


class EventReader:
    """Puts the lines of one connection together."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kind, self._data = "", list[str]()

    def line(self, line: str) -> Iterator[Event]:
        """Take a line; give the event that it ends, if it ends one."""
        name, _, value = line.partition(":")
        if name == "event":
            self._kind = value.removeprefix(" ")
        elif name == "data":
            self._data.append(value.removeprefix(" "))
        elif not line:
            if self._data:
                yield _event(self._kind, "\n".join(self._data))
            self._kind, self._data = "", []


def _event(kind: str, data: str) -> Event:
    try:
        return from_json(Event, {"kind": kind, **json.loads(data)})
    except (ValueError, TypeError, AttributeError) as error:
        raise BadAnswer(f"an event is none that the service documents: {error}") from error


def events_request(session: str, top_k: int, timeout: float) -> dict[str, Any]:
    """Give the arguments of ``httpx.Client.stream`` for the events of a session."""
    return {
        "method": "GET",
        "url": path("sessions", session, "events"),
        "params": {"top_k": top_k},
        "headers": {"accept": "text/event-stream"},
        "timeout": httpx.Timeout(timeout, read=_QUIET),
    }


def check_events(status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Pass an answer that is a stream of events; ``content`` is what a refusal says."""
    if status != 200:
        raise problem_of(status, headers, content)
    if not headers.get("content-type", "").startswith("text/event-stream"):
        raise BadAnswer("the answer is no stream of events")
