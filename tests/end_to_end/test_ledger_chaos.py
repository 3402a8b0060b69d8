"""Gates that are killed under their callers, again and again; then the ledger is compared with the callers' books.

Each caller notes the counts as soon as it has heard them, for an answer's id; the script behind the gates says a known
number of words, so that it is known too what an answer that broke off can have cost at the most.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.bootstrap.storage import records
from proxy.bootstrap.workshop import Workshop
from proxy.config.settings import Settings
from proxy.errors import LedgerFull, StorageFailed
from proxy.ledger import Wanted
from proxy.vocabulary import Entry, Limits, Outcome
from tests.end_to_end.gate import Gate, opened, scripted
from tests.fakes.databases import Postgres
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient
from tests.fakes.redis import RedisServer

ROUNDS = {"SQLite": 20, "PostgreSQL and Redis": 6}
"""By what is kept in what; the latter two are stopped under the gates as well."""
CLIENTS = 64
WORDS = 40
PROMPT = "why is the sky blue"
MODEL = "llama3.2:1b"
PEPPER = "one pepper for all the lives of a gate"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
ASKS: tuple[tuple[str, dict[str, object]], ...] = (
    ("/api/chat", {**CHAT, "options": {"num_predict": WORDS}}),
    ("/api/generate", {"model": MODEL, "prompt": PROMPT, "options": {"num_predict": WORDS}}),
    ("/api/generate", {"model": MODEL, "prompt": PROMPT, "stream": False, "options": {"num_predict": WORDS}}),
    ("/v1/chat/completions", {**CHAT, "max_tokens": WORDS}),
    (
        "/v1/chat/completions",
        {**CHAT, "max_tokens": WORDS, "stream": True, "stream_options": {"include_usage": True}},
    ),
    ("/v1/messages", {**CHAT, "max_tokens": WORDS, "stream": True}),
    ("/v1/messages", {**CHAT, "max_tokens": WORDS}),
    ("/v1/responses", {"model": MODEL, "input": PROMPT, "max_output_tokens": WORDS, "stream": True}),
    ("/api/tags", {}),
)
COUNTS = (
    re.compile(rb'"done":true.*"prompt_eval_count":(\d+).*"eval_count":(\d+)'),
    re.compile(rb'"prompt_tokens":(\d+),"completion_tokens":(\d+)'),
    re.compile(rb'"type":"message_delta".*"input_tokens":(\d+),"output_tokens":(\d+)'),
    re.compile(rb'^\{.*"type":"message",.*"input_tokens":(\d+),"output_tokens":(\d+)'),
    re.compile(rb'"type":"response.completed".*"input_tokens":(\d+),.*"output_tokens":(\d+)'),
)
"""Each dialect's last words on what an answer cost."""


WITHOUT_LINES = tuple(error.default.encode() for error in (LedgerFull, StorageFailed))
"""What those are told who leave none: there is no room, or nobody can tell who they are."""


@dataclass
class Books:
    """What callers were told, by the id of the call."""

    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The counts of whom they were told."""
    whole: set[str] = field(default_factory=set)
    """Answers whose last byte has come, whatever they cost."""
    begun: dict[str, bytes] = field(default_factory=dict)
    """The first words of answers."""

    def note(self, path: str, received: bytes, *, clean: bool) -> None:
        head, _, body = received.partition(b"\r\n\r\n")
        if any(code in body for code in WITHOUT_LINES):
            return
        call = re.search(rb"\r\n[Xx]-[Rr]equest-[Ii]d: (\S+)", head)
        if call is None:
            return
        name = call[1].decode()
        self.begun[name] = received[:200]
        if clean:
            self.whole.add(name)
        text = re.sub(rb":\s+", b":", re.sub(rb",\s+", b",", body))
        for counts in COUNTS:
            if path != "/api/tags" and (found := list(counts.finditer(text))):
                self.told[name] = int(found[-1][1]), int(found[-1][2])
                return


async def caller(gate: Gate, key: str, books: Books, dice: random.Random) -> None:
    """Asks one thing after the other on connections of its own until nobody answers any more; some it gives up."""
    there = urlsplit(gate.url)
    while True:
        path, body = dice.choice(ASKS)
        method = "POST" if body else "GET"
        text = json.dumps(body).encode() if body else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(text)}"
        try:
            client = await RawClient.connect(there.hostname or "", there.port or 0)
        except OSError:
            return
        try:
            await client.send(head.encode() + b"\r\n\r\n" + text)
            if dice.random() < 0.2:
                with suppress(EOFError):
                    await client.until(b"\r\n\r\n")
                await asyncio.sleep(dice.random() * 0.05)
                books.note(path, bytes(client.received), clean=False)
                client.leave()
                continue
            told = await client.told()
            books.note(path, told.head + told.body, clean=told.clean)
            if not told.clean:
                return
        except (OSError, EOFError, AssertionError):
            return
        finally:
            client.close()


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted(tmp_path_factory.mktemp("script"), pause=0.002) as url:
        yield url


async def a_life(
    folder: Path, script: str, key: str, books: Books, dice: random.Random, behind: Sequence[Postgres | RedisServer]
) -> None:
    """A gate from its start to its sudden end, with callers all the while, and with troubles behind it."""
    enough = len(books.told) + dice.randint(10, 60)

    async def told() -> bool | None:
        return len(books.told) >= enough or None

    with ExitStack() as stack:
        gate = await asyncio.to_thread(stack.enter_context, opened(folder, script))
        callers = [asyncio.create_task(caller(gate, key, books, dice)) for _ in range(CLIENTS)]
        await eventually(told, 20, "answers")
        for server in behind:
            await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.1 + dice.random() * 0.3)
        early, late = (behind, ()) if dice.random() < 0.5 else ((), behind)
        for server in early:
            await asyncio.to_thread(server.start)
        await asyncio.sleep(dice.random() * 0.1)
        gate.running.process.kill()
        async with asyncio.timeout(20):
            await asyncio.gather(*callers)
        for server in late:
            await asyncio.to_thread(server.start)


@pytest.mark.parametrize("kind", list(ROUNDS))
async def test_whenever_the_gate_is_killed_the_ledger_agrees_with_the_books_of_its_callers(
    tmp_path: Path, script: str, request: pytest.FixtureRequest, kind: str
) -> None:
    dice, books = random.Random(kind), Books()
    told, behind = {"database_url": f"sqlite:///{tmp_path}/book.db", "pepper": PEPPER}, list[Postgres | RedisServer]()
    if kind == "PostgreSQL and Redis":
        postgres: Postgres = request.getfixturevalue("own_postgres")
        redis: RedisServer = request.getfixturevalue("new_redis")()
        told |= {"database_url": postgres.new_database(), "redis_url": redis.url}
        behind = [postgres, redis]
    folder = tmp_path / "gate"
    folder.mkdir()
    (folder / "llamagate.toml").write_text("".join(f"{name} = {json.dumps(one)}\n" for name, one in told.items()))
    settings = Settings.model_validate({"state_dir": folder / "state", **told})
    async with Workshop({}).desk(settings) as desk:
        key = (await desk.create_key("alice", limits=Limits(concurrent=1000))).secret
    for _ in range(ROUNDS[kind]):
        await a_life(folder, script, key, books, dice, behind)
    with ExitStack() as stack:  # It closes what the last one left behind.
        await asyncio.to_thread(stack.enter_context, opened(folder, script))
    async with records(settings) as kept:
        entries = [entry async for page in kept.book.all(None, None) for entry in page]
        (total,) = await kept.book.sums(Wanted())
        _, running = await kept.book.at(entries[-1].at)
    rows = {entry.id: entry for entry in entries}

    assert len(books.told) > 10 * ROUNDS[kind], "there was something to compare"
    assert [] == running
    assert [] == [call for call, count in Counter(entry.id for entry in entries).items() if count > 1]
    assert {} == {call: words for call, words in books.begun.items() if call not in rows}
    assert {} == {call: (told, cost(rows[call])) for call, told in books.told.items() if told != cost(rows[call])}
    assert set() == {call for call in books.whole if rows[call].outcome is Outcome.LOST}
    assert [] == [entry for entry in entries if entry.usage.prompt_tokens > 20 or entry.usage.completion_tokens > WORDS]
    assert (len(rows), sum(entry.usage.tokens for entry in entries)) == (
        total.calls,
        total.prompt_tokens + total.completion_tokens,
    )
    assert [] == list((folder / "state" / "journal").iterdir())


def cost(entry: Entry) -> tuple[int, int]:
    return entry.usage.prompt_tokens, entry.usage.completion_tokens
