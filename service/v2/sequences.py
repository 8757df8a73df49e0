"""Reads requests of sequences and answers them from sessions, whose ids name model and sequence."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from pydantic import ValidationError

from service import requests, schemas
from service.errors import (
    BadContext,
    BadMove,
    InvalidRequest,
    PlyConflict,
    SessionExists,
    SessionExpired,
    UnknownSession,
)
from service.names import shown
from service.predictor import Predictor
from service.security.quotas import Quotas
from service.timing import current_timing

SequenceId = int | str
_SEQUENCE_IDS = range(1, 1 << 64)
_LONGEST_ID = 128
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
# How often a start is tried anew when others start the same sequence at the same time.
_ATTEMPTS = 4


def session_id(model: str, sequence: SequenceId) -> str:
    """Give the id of the session that is a sequence of a model: ``chess:42``, ``chess:board-7``, ``chess:table~205``.

    Bytes that no session id has are written as ``~`` and two digits in base 16, and so is the first digit of text that
    is all digits, which would read as a number. InvalidRequest if there can be no such sequence, or its id is too long.
    """
    if isinstance(sequence, int):
        if sequence not in _SEQUENCE_IDS:
            raise InvalidRequest("sequence_id is a whole number from 1 to 2⁶⁴ − 1, or text")
        name = str(sequence)
    elif sequence.isascii() and sequence.isdigit():
        name = _escape(sequence[0], everything=True) + sequence[1:]
    else:
        name = _escape(sequence)
    id_ = f"{_escape(model).replace(':', '~3A')}:{name}"
    if len(id_) > _LONGEST_ID:
        raise InvalidRequest(f"sequence_id is too long: session {id_[:40]}… would have over {_LONGEST_ID} signs")
    return id_


def sequence_of(id_: str) -> tuple[str, SequenceId]:
    """Give the model and the sequence of a session's id that ``session_id`` gave."""
    model, _, name = id_.partition(":")
    return _unescape(model), int(name) if name.isdigit() else _unescape(name)


def _escape(text: str, *, everything: bool = False) -> str:
    def escaped(found: re.Match[str]) -> str:
        return "".join(f"~{byte:02X}" for byte in found[0].encode())

    return re.sub(".", escaped, text) if everything else _UNSAFE.sub(escaped, text)


def _unescape(text: str) -> str:
    return unquote_to_bytes(text.replace("~", "%")).decode()


@dataclass(frozen=True)
class Ask:
    """What a request asks for: moves at the end of a sequence, or, without one, of a game that nothing is kept of."""

    model: str
    """Its name."""
    reference: str
    """Its name, or name and version."""
    moves: Sequence[str]
    top_k: int
    context: Mapping[str, Any]
    sequence: SequenceId | None = None
    start: bool = False
    end: bool = False
    ply: int | None = None


class Answer(NamedTuple):
    """What comes next, −ln p of each move that was given, and the session in which they were played, if in any."""

    model: schemas.ModelId
    ply: int
    following: list[schemas.Candidate]
    surprisal: list[float]
    session: str | None = None


class Sequences:
    """Plays the moves of sequences in their sessions."""

    def __init__(self, predictor: Predictor, quotas: Quotas, *, strict: bool) -> None:
        """Take the parts; ``strict`` refuses to start a sequence that is running, where it else begins anew."""
        self._predictor, self._quotas, self._strict = predictor, quotas, strict

    async def answer(self, ask: Ask) -> Answer:
        """Answer a request; what can go wrong with a session goes wrong here too, in words of sequences."""
        id_ = None if ask.sequence is None else session_id(ask.model, ask.sequence)
        timing = current_timing()
        if timing is not None:
            timing.name_session(id_)
        opening = _checked(ask, id_)
        if id_ is None:
            return await self._predict(opening)
        id_ = opening.session
        if ask.start:
            answer = await self._start(opening, ask, id_)
        else:
            answer = await self._go_on(opening, ask, id_)
        if ask.end:
            await self._forget(id_)
        return answer

    async def _predict(self, opening: requests.CreateRequest, session: str | None = None) -> Answer:
        game = requests.Sequence.model_construct(moves=opening.moves, context=opening.context)
        request = requests.PredictRequest.model_construct(
            sequences=[game], model=opening.model, top_k=opening.top_k, score=True, each_ply=False, legal_only=True
        )
        try:
            found = await self._predictor.predict(request)
        except (BadMove, BadContext) as error:
            # A sequence is something else here.
            detail = error.detail.removeprefix("sequence 0").removeprefix(": ").removeprefix(", ")
            raise type(error)(detail, **error.extra) from None
        (prediction,) = found["predictions"]
        return Answer(found["model"], prediction["ply"], prediction["next"], prediction["surprisal"], session)

    async def _start(self, opening: requests.CreateRequest, ask: Ask, id_: str) -> Answer:
        """Open the session with its moves; what is wrong with them is found before a running sequence is given up."""
        answer = await self._predict(opening, shown(id_))
        for _ in range(_ATTEMPTS):
            try:
                async with self._quotas.room():
                    await self._predictor.create(opening)
            except SessionExists:
                if self._strict:
                    running = f"sequence {_named(ask)} is running"
                    raise SessionExists(f"{running}: end it first, or go on with it without sequence_start") from None
                await self._forget(id_)
            else:
                return answer
        raise SessionExists(f"others start sequence {_named(ask)} at the same time; use an id of your own")

    async def _go_on(self, opening: requests.CreateRequest, ask: Ask, id_: str) -> Answer:
        try:
            if not opening.moves:
                return await self._stand(opening, ask, id_)
            request = requests.MovesRequest.model_construct(moves=opening.moves, ply=ask.ply, top_k=opening.top_k)
            played = await self._predictor.play(id_, request)
        except SessionExpired:
            expired = f"sequence {_named(ask)} has expired: it was idle for too long, or gave way to others"
            raise SessionExpired(f"{expired}; begin it anew with sequence_start") from None
        except UnknownSession:
            begin = "the first request of a sequence must set sequence_start"
            raise UnknownSession(f"no sequence {_named(ask)} of model {ask.model!r} is running: {begin}") from None
        return Answer(played["model"], played["ply"], played["next"], played["surprisal"], shown(id_))

    async def _stand(self, opening: requests.CreateRequest, ask: Ask, id_: str) -> Answer:
        found = await self._predictor.get(id_, opening.top_k)
        if ask.ply not in (None, found["ply"]):
            raise PlyConflict.at(id_, found["ply"], believed=ask.ply or 0)
        return Answer(found["model"], found["ply"], found["next"], [], shown(id_))

    async def _forget(self, id_: str) -> None:
        with suppress(UnknownSession):
            await self._predictor.delete(id_)


def _named(ask: Ask) -> str:
    return repr(ask.sequence)


def _checked(ask: Ask, id_: str | None) -> requests.CreateRequest:
    """Give what a session would be opened with; InvalidRequest if something is not as it has to be."""
    if id_ is None and (ask.start or ask.end or ask.ply is not None):
        raise InvalidRequest("sequence_start, sequence_end and ply go with a sequence_id other than 0 or empty text")
    if ask.context and id_ is not None and not ask.start:
        names = ", ".join(sorted(ask.context))
        raise InvalidRequest(f"what is known of a game is given with sequence_start, and stays: {names[:200]}")
    if ask.start and ask.ply:
        raise InvalidRequest(f"a sequence starts at ply 0, not {ask.ply}")
    members = {"session": id_, "model": ask.reference, "moves": ask.moves, "context": ask.context, "top_k": ask.top_k}
    try:
        return requests.CreateRequest.model_validate(members)
    except ValidationError as error:
        raise InvalidRequest.of(error.errors(include_url=False, include_input=False)) from None
