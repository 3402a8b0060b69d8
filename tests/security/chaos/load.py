"""Twenty clients that ask for streams whose bytes are known, one after the other, and judge every answer."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from proxy import errors
from tests.fakes.raw_client import NotHttp, RawClient, Told
from tests.security.chaos.said import NATIVE, PATHS, PROMPT_TOKENS, Stream

CLIENTS = 20
REST_SECONDS = 0.05
"""After a failure, so that nobody asks a closed port a thousand times a second."""
WHOLE, TOLD, BROKEN = "whole", "broken off, told why", "broken off"
NO_ANSWER, NO_CONNECTION = "no answer", "no connection"
WRONG = "WRONG: "
"""Begins the kind of what may happen in no fault."""


def _codes(of: type[errors.GateError]) -> Iterator[tuple[str, str]]:
    yield of.default, of.code
    for more in of.__subclasses__():
        yield from _codes(more)


CODES = dict(reversed(list(_codes(errors.GateError))))
"""By what is said to callers, for Ollama's own dialect has no place for a code. One without words of its own passes for
its parent.
"""


class Target(Protocol):
    """A gate, as a client sees it."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one call; times are of ``time.monotonic``."""

    kind: str
    gate: Target
    began: float
    first_byte: float
    ended: float
    call: str | None = None
    """Its id, where the client heard it."""
    words: int = 0

    @property
    def cost(self) -> tuple[int, int]:
        return PROMPT_TOKENS, self.words


def judged(stream: Stream, told: Told) -> str:
    """Whether the answer is the stream, or a part of it that looks like a part, or a refusal as it should be."""
    whole = b"".join(stream.events)
    if told.status == 200:
        if told.clean:
            return WHOLE if told.body == whole else f"{WRONG}a whole answer with other bytes"
        part, error = parted(stream, told.body)
        if not whole.startswith(part) and not whole.startswith(part.rstrip(b"\n")):
            return f"{WRONG}a part of an answer with other bytes"
        return BROKEN if error is None else TOLD
    try:
        said = json.loads(told.body)["error"]
        message = said if isinstance(said, str) else said["message"]
    except (ValueError, KeyError, TypeError):
        return f"{WRONG}{told.status} without an error in it"
    if told.status in (429, 503) and "retry-after" not in told.fields:
        return f"{WRONG}{told.status} without Retry-After"
    if b"too many connections" in told.body:  # Before there is a request, and so no call.
        return "503 too_many_connections"
    if not told.clean or "x-request-id" not in told.fields:
        return f"{WRONG}{told.status} that is not as refusals are"
    code = next((code for text, code in CODES.items() if text and message.startswith(text)), None)
    return f"{told.status} {code or message[:60]}"


def parted(stream: Stream, body: bytes) -> tuple[bytes, str | None]:
    """What came of the stream, and the error that was said after it."""
    border = b"\n" if stream.path == NATIVE else b"\n\n"
    before, found, last = body.removesuffix(border).rpartition(border)
    error = stream.error(last)
    return (body, None) if error is None else (before + found, error)


@dataclass
class Load:
    """The clients. ``start`` them, and ``end`` them."""

    dice: random.Random
    words: int
    """Of the longest stream."""
    targets: Sequence[Target] = ()
    verdicts: list[Verdict] = field(default_factory=list)
    clients: int = CLIENTS
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _may_ask: asyncio.Event = field(default_factory=asyncio.Event)
    _asking: int = 0
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self._may_ask.set()
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    @contextmanager
    def over(self, *targets: Target) -> Iterator[None]:
        """Every new call goes to these."""
        before, self.targets = self.targets, targets
        try:
            yield
        finally:
            self.targets = before

    async def rest(self) -> None:
        """No new calls; return once none goes on."""
        self._may_ask.clear()
        while self._asking:
            await self.news(1)

    def go_on(self) -> None:
        self._may_ask.set()

    async def news(self, seconds: float) -> None:
        """Return at the next verdict, or after so long."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def since(self, moment: float) -> list[Verdict]:
        """Of the calls that had not ended then."""
        return [one for one in self.verdicts if one.ended >= moment]

    async def ask(self, gate: Target, words: int | None = None) -> Verdict:
        stream = Stream(f"s{next(self._numbers)}", words or self.dice.randint(3, self.words), self.dice.choice(PATHS))
        self._asking += 1
        try:
            verdict = await _asked(gate, stream)
        finally:
            self._asking -= 1
        self.verdicts.append(verdict)
        self._news.set()
        return verdict

    async def _client(self, number: int) -> None:
        while True:
            await self._may_ask.wait()
            gate = self.targets[number % len(self.targets)]
            verdict = await self.ask(gate)
            if verdict.kind != WHOLE:
                await asyncio.sleep(REST_SECONDS)


def request(gate: Target, stream: Stream) -> bytes:
    body = stream.question
    head = f"POST {stream.path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {gate.key}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _asked(gate: Target, stream: Stream) -> Verdict:
    began = first = time.monotonic()
    kind, call = NO_CONNECTION, None
    client = None
    try:
        async with asyncio.timeout(20):
            client = await RawClient.connect("127.0.0.1", gate.port)
        kind = NO_ANSWER
        await client.send(request(gate, stream))
        await client.until(b"\r\n")
        first = time.monotonic()
        told = await client.told()
        kind, call = judged(stream, told), told.fields.get("x-request-id")
    except (OSError, EOFError) as error:
        if isinstance(error, TimeoutError):  # One of OSError's own.
            kind = f"{WRONG}nothing for five seconds"
    except NotHttp as error:
        kind = f"{WRONG}no HTTP: {error!r:.80}"
    finally:
        if client is not None:
            client.close()
    return Verdict(kind, gate, began, first, time.monotonic(), call, stream.words)


def counted(verdicts: Iterable[Verdict]) -> Counter[str]:
    return Counter(one.kind for one in verdicts)
