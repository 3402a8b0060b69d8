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
STREAMS = ("application/x-ndjson", "text/event-stream")


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
    streamed = answer.headers.get("content-type", "").partition(";")[0].strip() in STREAMS
    meter = line.meter = dialect.meter(ask, streamed=streamed)
    await client.begin(answer.status, {name: answer.headers[name] for name in PASSED_ON if name in answer.headers})
    line.began(answer.status)
    try:
        async for piece in answer.pieces():
            if shown := meter.feed(piece):
                line.sends(len(shown))
                await client.write(shown)
        if rest := meter.end():
            line.sends(len(rest))
            await client.write(rest)
        if meter.failed:
            raise BackendBrokeOff
        if not meter.complete:
            raise Truncated
    except BackendFailed as error:
        # Where the backend has told of its failure itself, twice would be one too many.
        await client.break_off(dialect.last_words(error.code, error.message, line.call.id) if not meter.failed else b"")
        raise
    await client.end()
