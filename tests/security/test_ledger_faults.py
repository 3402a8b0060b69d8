"""What becomes of calls while the ledger is in trouble: each row of the table in ``docs/ledger.md``.

The gate is whole; what goes wrong does so in the database, or on the disk.
"""

import asyncio
import errno
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from proxy.auth.sql import SqlRegistry
from proxy.errors import StorageFailed
from proxy.vocabulary import Entry, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question
from tests.fakes.databases import Postgres
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import Told
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming, whole

DOCS = (Path(__file__).parents[2] / "docs/ledger.md").read_text()
CHAT = "/v1/chat/completions"
Undo = Callable[[], Awaitable[None]]


class Disk:
    """Where the journal is written: takes nothing while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file: int, text: bytes, at: int) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(file, text, at)


def database_of(gate: Gate) -> sqlite3.Connection:
    return sqlite3.connect(gate.standing.state_dir / "llamagate.db", isolation_level=None)


async def locked_database(gate: Gate) -> Undo:
    """Somebody else writes, and does not come to an end."""
    connection = database_of(gate)
    connection.execute("BEGIN IMMEDIATE")

    async def undo() -> None:
        connection.rollback()
        connection.close()

    return undo


async def full_disk(gate: Gate) -> Undo:
    return await _refusing(gate, "database or disk is full")


async def read_only(gate: Gate) -> Undo:
    return await _refusing(gate, "attempt to write a readonly database")


async def malformed(gate: Gate) -> Undo:
    return await _refusing(gate, "database disk image is malformed")


async def _refusing(gate: Gate, words: str) -> Undo:
    """The database says so to whoever would write a line."""
    with database_of(gate) as connection:
        connection.execute(f"CREATE TRIGGER trouble BEFORE INSERT ON calls BEGIN SELECT RAISE(FAIL, '{words}'); END")
    connection.close()

    async def undo() -> None:
        with database_of(gate) as again:
            again.execute("DROP TRIGGER trouble")
        again.close()

    return undo


FAULTS = {
    "the database is locked": locked_database,
    "its disk is full": full_disk,
    "it is read-only": read_only,
    "it is malformed": malformed,
}


async def chat(gate: Gate) -> Told:
    return await gate.ask(gate.post(CHAT, question()))


async def rows(gate: Gate, count: int) -> list[Entry]:
    async def written() -> list[Entry] | None:
        found = await gate.kept.book.last(10_000)
        return found if len(found) >= count else None

    return await eventually(written, 20, "the lines in the database")


@asynccontextmanager
async def under_way(gate: Gate, upstream: RecordingUpstream) -> AsyncIterator[Callable[[], Awaitable[Told]]]:
    """A stream whose first piece has come, and what lets it go on to its end."""
    goes_on = asyncio.Event()
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), goes_on, *map(chunk, NATIVE_LINES[1:]), LAST_CHUNK)
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question(stream=True)))
    await client.until(NATIVE_LINES[0])
    upstream.says(whole(WHOLE[Tongue.OPENAI]))

    async def rest() -> Told:
        goes_on.set()
        return await client.told()

    yield rest


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_calls_go_on_while_the_database_takes_nothing_and_their_lines_come_when_it_does(
    open_gate: OpenGate, upstream: RecordingUpstream, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await open_gate()
    async with under_way(gate, upstream) as rest:
        undo = await FAULTS[fault](gate)
        answers = [await chat(gate) for _ in range(5)]
        stream = await rest()
        before = len(await gate.kept.book.last(100))
        await undo()
        found = await rows(gate, 6)

    assert ([200] * 5, True, 0) == ([told.status for told in answers], stream.clean, before)
    assert sorted(entry.id for entry in gate.heard.entries) == sorted(entry.id for entry in found)
    assert {(26, 3)} == {(entry.usage.prompt_tokens, entry.usage.completion_tokens) for entry in found}
    assert f"| {fault} |" in DOCS


async def fill(gate: Gate) -> list[int]:
    """Calls, until one is refused."""
    statuses: list[int] = []
    while not statuses or (statuses[-1] == 200 and len(statuses) < 3000):
        statuses.append((await chat(gate)).status)
    return statuses


async def test_once_the_spool_is_full_no_call_begins_until_there_is_room_again(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(ledger={"spool": 2**20})
    async with under_way(gate, upstream) as rest:
        undo = await FAULTS["its disk is full"](gate)
        statuses = await fill(gate)
        refused = await chat(gate)
        stream = await rest()
        await undo()
        await rows(gate, len(statuses))
        again = (await chat(gate)).status

    assert (503, 200, True) == (statuses[-1], again, stream.clean)
    assert ("ledger_full", "5") == (json.loads(refused.body)["error"]["code"], refused.fields["retry-after"])
    assert 2 == gate.opened.books.ledger.refused
    assert "| the spool is full |" in DOCS


async def test_a_journal_whose_disk_is_full_lets_no_call_begin_and_cuts_none(
    open_gate: OpenGate, upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, disk = await open_gate(), Disk(monkeypatch)
    async with under_way(gate, upstream) as rest:
        disk.is_full = True
        stream = await rest()
        refused = (await chat(gate)).status
        disk.is_full = False

        async def works() -> bool | None:
            return None if gate.opened.books.journal.failing else True

        await eventually(works, 20, "the journal written again")
        again = (await chat(gate)).status
        found = await rows(gate, 2)

    assert (True, 503, 200) == (stream.clean, refused, again)
    assert [200, 200] == [entry.status for entry in found]
    assert "| the journal's disk is full |" in DOCS


async def test_an_owner_may_want_calls_to_go_on_without_their_lines(
    open_gate: OpenGate, upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    gate, disk = await open_gate(ledger={"required": False}), Disk(monkeypatch)
    disk.is_full = True
    first, second = await chat(gate), await chat(gate)
    unsure = gate.opened.books.ledger.unsure
    disk.is_full = False
    await rows(gate, 2)

    assert (200, 200) == (first.status, second.status)
    assert unsure >= 1


async def test_what_only_memory_has_when_the_gate_ends_is_in_the_ledger_all_the_same(
    monkeypatch: pytest.MonkeyPatch, open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """By what the fixture looks at afterwards: each call that was heard of has its line."""
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    disk = Disk(monkeypatch)
    gate = await open_gate(ledger={"required": False})
    disk.is_full = True

    assert [200, 200] == [(await chat(gate)).status for _ in range(2)]
    assert [] == await gate.kept.book.last(10)


async def test_strangers_leave_no_lines_while_no_key_can_be_looked_up(
    open_gate: OpenGate, upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await open_gate()
    unseen = await gate.issue("bob")

    async def away(*_: object) -> None:
        raise StorageFailed from OSError("gone")

    monkeypatch.setattr(SqlRegistry, "find", away)
    statuses = [(await gate.ask(gate.get("/api/tags", key=unseen))).status for _ in range(3)]

    assert ([503] * 3, [], 3) == (statuses, gate.heard.entries, gate.opened.books.ledger.refused)


async def test_postgresql_may_be_away_and_come_back(
    own_postgres: Postgres, open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(database_url=SecretStr(own_postgres.new_database()))
    unseen = await gate.issue("bob")
    async with under_way(gate, upstream) as rest:
        await asyncio.to_thread(own_postgres.stop)
        stream = await rest()
        unknown = await gate.ask(gate.post(CHAT, question(), key=unseen))
        await asyncio.to_thread(own_postgres.start)
        found = await rows(gate, 1)

    assert (True, 503) == (stream.clean, unknown.status)
    assert "/api/chat" in {entry.endpoint for entry in found}
    assert "| PostgreSQL is away |" in DOCS
