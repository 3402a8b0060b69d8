"""Pass the answer on, byte for byte, while a meter watches.

The head waits for the first bytes that the client shall see. Until then a failure can still be told with its status;
after that there is no status line left, and a backend that breaks off must look broken to the client, with an error in
its own dialect and then an unclean end, never like a finished answer. Only where the dialect has an ending for
failures, and the backend came to it, is the end clean.
"""

from collections.abc import Mapping
from typing import Protocol

from proxy.dialects import Dialect, Meter, Visible
from proxy.errors import BackendBrokeOff, ClientGone, GateError, Truncated
from proxy.ledger.line import Line
from proxy.vocabulary import Ask, Later, Take

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

    async def flow(self, take: Take) -> None:
        """Hand on the body as it arrives, until its end.

        Raises BackendFailed where it breaks off or falls silent, and whatever comes of taking it.
        """

    def context_length(self) -> int | None:
        """How many tokens the model that answers can hold, as far as the backend has said."""


class Client(Protocol):
    """The part of the door that takes an answer.

    All raise ClientGone where nobody is there any more, and ClientStalled where a client does not take it in time.
    """

    def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send the head, with the first piece at the latest. Once, and before anything else."""

    def write(self, piece: bytes) -> Later | None:
        """Send a piece of the body; what is left to wait for before the next one may be sent."""

    def end(self) -> Later | None:
        """Say that the answer is whole."""

    async def break_off(self, piece: bytes) -> None:
        """Send a last piece and close the connection without an end, so that nobody takes the answer for whole."""


async def relay(answer: Answer, ask: Ask, dialect: Dialect, client: Client, line: Line, visible: Visible) -> None:
    """Pass the answer to the client. Raises ClientGone, or another error with everything said that could be."""
    border = STREAMS.get(answer.headers.get("content-type", "").partition(";")[0].strip().lower())
    meter = dialect.meter(ask, streamed=border is not None, visible=visible)
    line.meter = meter
    line.most_prompt = answer.context_length()
    passing = _Passing(answer, ask, meter, client, line, border)
    try:
        async with line.stoppable():
            await answer.flow(passing.take)
            await passing.end()
    except GateError as error:
        line.failure = error
        if isinstance(error, ClientGone):
            raise
        if line.told_all:
            await _done(client.end())
            return
        if line.begun and dialect.failure_is_an_end and meter.failed and not meter.complete:
            await _done(client.end())
            raise
        if line.begun:
            words = dialect.last_words(error.code, error.message, line.call.id)
            await client.break_off(passing.last(words))
        raise
    finally:
        passing.leave()


async def _done(later: Later | None) -> None:
    if later is not None:
        await later


class _Passing:
    """One answer on its way, and what the client has been shown of it so far."""

    __slots__ = (
        "_answer",
        "_ask",
        "_border",
        "_client",
        "_due",
        "_has_counts",
        "_held",
        "_is_told",
        "_line",
        "_meter",
        "_tail",
    )

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
        self._held = b""
        self._due: Later | None = None
        """What the ledger is waited for with before the client hears more."""
        self._is_told = False
        self._has_counts = False

    def take(self, piece: bytes) -> Later | None:
        """The next piece. The ledger knows of the last words and of what they cost before the client does."""
        meter = self._meter
        more = meter.feed(piece)
        if self._border is None:
            more, self._held = self._held, more  # The last of it is for when the ledger knows.
            return self._show(more) if more else None
        later = None
        if meter.complete:
            if not self._is_told and not meter.failed:
                self._is_told = True
                later = self._line.tells_all(self._answer.status, len(more))
        elif meter.counted and not self._has_counts and not self._is_told and meter.usage.exact:
            self._has_counts = True  # Some tell what it cost before they say that this was all.
            later = self._line.tells(self._answer.status)
        if later is not None:
            self._due = later
            return self._show_after(later, more)
        later = self._show(more) if more else None
        self._line.told_all = meter.complete and not meter.failed
        return later

    async def end(self) -> None:
        """The backend has said everything. Raises BackendBrokeOff or Truncated where that is no answer."""
        meter, line = self._meter, self._line
        rest = self._held + meter.end()
        line.prompt_cut = _is_cut(self._answer, line)
        is_good = meter.complete and not meter.failed
        if is_good and not self._is_told and (later := line.tells_all(self._answer.status, len(rest))) is not None:
            await later
        if (rest or meter.complete) and (later := self._show(rest)) is not None:
            await later
        line.told_all = is_good  # Last words after an error make nothing good.
        if meter.failed:
            raise BackendBrokeOff
        if not meter.complete:
            raise Truncated
        if (later := self._client.end()) is not None:
            await later

    def leave(self) -> None:
        """Nobody waits any more for what has not begun by now."""
        if self._due is not None:
            self._due.close()

    def last(self, words: bytes) -> bytes:
        """What is still to be said before breaking off.

        Nothing where the backend has told of its failure itself, or where there is no place for it within one object;
        and never in the middle of what broke off.
        """
        if self._border is None or self._meter.failed:
            return b""
        return words if self._tail.endswith(self._border) else self._border + words

    def _show(self, piece: bytes) -> Later | None:
        if not self._line.begun:
            self._line.began(self._answer.status)
            self._client.begin(self._answer.status, self._head())
        self._line.sends(len(piece))
        self._tail = piece[-2:] if len(piece) > 1 else (self._tail + piece)[-2:]
        return self._client.write(piece)

    async def _show_after(self, later: Later, piece: bytes) -> None:
        await later
        if piece:
            await _done(self._show(piece))
        self._line.told_all = self._meter.complete and not self._meter.failed

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
