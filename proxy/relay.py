"""Pass the answer on, byte for byte, while a meter watches.

The head waits for the first bytes that the client shall see. Until then a failure can still be told with its status;
after that there is no status line left, and a backend that breaks off must look broken to the client, with an error in
its own dialect and then an unclean end, never like a finished answer.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from proxy.dialects import Dialect, Meter, Visible
from proxy.errors import BackendBrokeOff, ClientGone, GateError, Truncated
from proxy.ledger.line import Line
from proxy.vocabulary import Ask

PASSED_ON = ("content-type", "content-length", "cache-control")
"""The backend's header fields that mean the same to the client; every other one stays behind."""
STREAMS = {"application/x-ndjson": b"\n", "text/event-stream": b"\n\n"}
"""The types of answers that come piece by piece, and what ends a piece."""
CHANGED = "X-Llamagate-Changed"
PROMPT_CUT = "X-Llamagate-Prompt-Cut"


class Answer(Protocol):
    """The head of a backend's good answer; its body is still to come."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises BackendFailed where it breaks off or falls silent."""

    def context_length(self) -> int | None:
        """How many tokens the model that answers can hold, as far as the backend has said."""


class Client(Protocol):
    """The part of the door that takes an answer.

    All raise ClientGone where nobody is there any more, and ClientStalled where a client does not take it in time.
    """

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send the head. Once, and before anything else."""

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body."""

    async def end(self) -> None:
        """Say that the answer is whole."""

    async def break_off(self, piece: bytes) -> None:
        """Send a last piece and close the connection without an end, so that nobody takes the answer for whole."""


async def relay(answer: Answer, ask: Ask, dialect: Dialect, client: Client, line: Line, visible: Visible) -> None:
    """Pass the answer to the client. Raises ClientGone, or another error with everything said that could be."""
    border = STREAMS.get(answer.headers.get("content-type", "").partition(";")[0].strip().lower())
    meter = dialect.meter(ask, streamed=border is not None, visible=visible)
    line.meter = meter
    line.most_prompt = answer.context_length()
    shown, is_told, held = _Shown(answer, ask, meter, client, line, border), False, b""
    has_counts = False
    try:
        async with line.stoppable():
            async for piece in answer.pieces():
                more = meter.feed(piece)
                if border is None:
                    more, held = held, more  # The last of it is for when the ledger knows.
                elif meter.complete and not meter.failed and not is_told:
                    is_told = True
                    await line.tells_all(answer.status, len(more))
                elif not has_counts and not is_told and meter.usage.exact:
                    has_counts = True  # Some tell what it cost before they say that this was all.
                    await line.tells(answer.status)
                if more:
                    await shown.show(more)
                line.told_all = border is not None and meter.complete and not meter.failed
            rest = held + meter.end()
            line.prompt_cut = _is_cut(answer, line)
            if meter.complete and not meter.failed and not is_told:
                await line.tells_all(answer.status, len(rest))
            if rest or meter.complete:
                await shown.show(rest)
            line.told_all = meter.complete and not meter.failed  # Last words after an error make nothing good.
            if meter.failed:
                raise BackendBrokeOff
            if not meter.complete:
                raise Truncated
            await client.end()
    except GateError as error:
        line.failure = error
        if isinstance(error, ClientGone):
            raise
        if line.told_all:
            await client.end()
            return
        if line.begun:
            words = dialect.last_words(error.code, error.message, line.call.id)
            await client.break_off(shown.last(words))
        raise


class _Shown:
    """What the client has been shown so far."""

    def __init__(
        self, answer: Answer, ask: Ask, meter: Meter, client: Client, line: Line, border: bytes | None
    ) -> None:
        self._answer = answer
        self._ask = ask
        self._meter = meter
        self._client = client
        self._line = line
        self._border = border
        self._tail = border or b""

    async def show(self, piece: bytes) -> None:
        if not self._line.begun:
            self._line.began(self._answer.status)
            await self._client.begin(self._answer.status, self._head())
        self._line.sends(len(piece))
        await self._client.write(piece)
        self._tail = (self._tail + piece[-2:])[-2:]

    def last(self, words: bytes) -> bytes:
        """What is still to be said before breaking off.

        Nothing where the backend has told of its failure itself, or where there is no place for it within one object;
        and never in the middle of what broke off.
        """
        if self._border is None or self._meter.failed:
            return b""
        return words if self._tail.endswith(self._border) else self._border + words

    def _head(self) -> dict[str, str]:
        head = {name: self._answer.headers[name] for name in PASSED_ON if name in self._answer.headers}
        if self._meter.rewrites or self._border is not None:
            head.pop("content-length", None)  # What the meter takes out, or a failure adds, would make it a lie.
        if self._meter.content_type is not None:
            head["content-type"] = self._meter.content_type
        if self._ask.changes:
            head[CHANGED] = ", ".join(self._ask.changes)
        holds = self._answer.context_length()
        if self._line.prompt_cut:
            head[PROMPT_CUT] = "yes"
        elif holds is not None and self._ask.prompt_floor >= holds:
            head[PROMPT_CUT] = "likely"  # A stream's count comes too late for a header, but so long a prompt tells.
        return head


def _is_cut(answer: Answer, line: Line) -> bool:
    """Ollama cuts a prompt that does not fit and says nothing: a count that reaches the context's length tells."""
    holds = answer.context_length()
    return holds is not None and line.usage.exact and line.usage.prompt_tokens >= holds
