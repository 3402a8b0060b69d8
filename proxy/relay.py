"""Pass the answer on, byte for byte, while a meter watches.

After the first byte there is no status line left to say that something failed: a backend that breaks off must look
broken to the client, with an error in its own dialect and then an unclean end, never like a finished answer.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from proxy.dialects import Dialect
from proxy.errors import BackendBrokeOff, BackendFailed, Truncated
from proxy.ledger.line import Line
from proxy.vocabulary import Ask

PASSED_ON = ("content-type", "content-length", "cache-control")
"""The backend's header fields that mean the same to the client; every other one stays behind."""
STREAMS = {"application/x-ndjson": b"\n", "text/event-stream": b"\n\n"}
"""The types of answers that come piece by piece, and what ends a piece."""


class Answer(Protocol):
    """The head of a backend's good answer; its body is still to come."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises BackendFailed where it breaks off or falls silent."""


class Client(Protocol):
    """The part of the door that takes an answer; the contract stands in ``gateway``."""

    async def begin(self, status: int, headers: dict[str, str]) -> None: ...
    async def write(self, piece: bytes) -> None: ...
    async def end(self) -> None: ...
    async def break_off(self, piece: bytes) -> None: ...


async def relay(answer: Answer, ask: Ask, dialect: Dialect, client: Client, line: Line) -> None:
    """Pass the answer to the client. Raises ClientGone, or BackendFailed with everything said that could be."""
    border = STREAMS.get(answer.headers.get("content-type", "").partition(";")[0].strip().lower())
    meter = line.meter = dialect.meter(ask, streamed=border is not None)
    head = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
    if border is not None:
        head.pop("content-length", None)  # What the meter takes out, or a failure adds, would make it a lie.
    await client.begin(answer.status, head)
    line.began(answer.status)
    tail = border or b""
    try:
        async for piece in answer.pieces():
            if shown := meter.feed(piece):
                line.sends(len(shown))
                await client.write(shown)
                tail = (tail + shown[-2:])[-2:]
            line.told_all = border is not None and meter.complete
        if rest := meter.end():
            line.sends(len(rest))
            await client.write(rest)
            tail = (tail + rest[-2:])[-2:]
        if meter.failed:
            raise BackendBrokeOff
        if not meter.complete:
            raise Truncated
    except BackendFailed as error:
        words = b""
        if border is not None and not meter.failed:  # Else it was told, or there is no place for it within one object.
            words = dialect.last_words(error.code, error.message, line.call.id)
            words = words if tail.endswith(border) else border + words  # Not in the middle of what broke off.
        await client.break_off(words)
        raise
    await client.end()
