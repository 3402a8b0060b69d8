"""A gate that is told to stop while twenty streams go on: once, twice and three times."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.commands import forge
from tests.end_to_end.gate import LISTENS, Account, Gate, Row
from tests.end_to_end.processes import STOP_SECONDS, environment, running
from tests.fakes.answers import NATIVE_LINES, NDJSON, question
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, recording, streaming

STREAMS = 20
STALLED = 3
ADMIN = re.compile(r"admin at +(http://\S+)")
FOREVER = "10m"
PATIENCE_SECONDS = 5.0


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with recording() as upstream:
        yield upstream


@contextmanager
def gate_before(upstream: RecordingUpstream, folder: Path, **settings: str) -> Iterator[Gate]:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "upstream": upstream.url, **settings}
    (folder / "llamagate.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in told.items()))
    with running(["serve"], folder, LISTENS, environment(folder), forge().gate) as process:
        yield Gate(process, folder)


@pytest.fixture
async def account(upstream: RecordingUpstream, tmp_path: Path) -> Account:
    """Somebody with a key, made before any gate is there: to make one takes a process, for which streams would wait."""
    gate = Gate(None, tmp_path / "gate")  # type: ignore[arg-type]  # It only knows the folder.
    gate.folder.mkdir()
    return await asyncio.to_thread(gate.issue, "alice")


async def connected(url: str) -> RawClient:
    there = urlsplit(url)
    return await RawClient.connect(there.hostname or "", there.port or 0)


async def streaming_clients(gate: Gate, account: Account, count: int = STREAMS) -> list[RawClient]:
    """Each amid its stream."""
    body, clients = json.dumps(question()).encode(), []
    fields = f"Host: a\r\nAuthorization: Bearer {account.key}\r\nContent-Length: {len(body)}"
    for _ in range(count):
        clients.append(await connected(gate.url))
        await clients[-1].send(f"POST /api/chat HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
    for client in clients:
        await client.until(NATIVE_LINES[0])
    return clients


def admin_of(gate: Gate) -> str:
    match = ADMIN.search(gate.running.log.read_text())
    assert match is not None
    return match[1]


async def got(url: str, path: str) -> Told:
    client = await connected(url)
    try:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await client.told()
    finally:
        client.close()


async def not_ready(gate: Gate) -> Told:
    """The answer, once it is that no more calls should be sent here."""

    async def look() -> Told | None:
        told = await got(admin_of(gate), "/readyz")
        return told if told.status != 200 else None

    return await eventually(look, PATIENCE_SECONDS, "a readiness that fails")


async def shut(gate: Gate) -> None:
    """Return once the gate takes no more connections."""

    async def look() -> bool | None:
        try:
            (await connected(gate.url)).close()
        except ConnectionError:
            return True
        return None

    await eventually(look, PATIENCE_SECONDS, "a closed door")


async def ended(gate: Gate) -> int:
    return await asyncio.to_thread(gate.running.process.wait, STOP_SECONDS)


async def rows(gate: Gate, account: Account) -> list[Row]:
    return await asyncio.to_thread(gate.calls, account)


async def told_of(clients: list[RawClient]) -> list[Told]:
    told = [await client.told() for client in clients]
    for client in clients:
        client.close()
    return told


async def test_streams_end_in_time_or_are_told_why_and_every_row_is_there(
    upstream: RecordingUpstream, account: Account, tmp_path: Path
) -> None:
    go_on = asyncio.Event()
    scripts = iter(([go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK], [asyncio.Event()]) * STREAMS)
    upstream.answers = lambda _: (streaming(NDJSON), chunk(NATIVE_LINES[0]), *next(scripts))
    with gate_before(upstream, tmp_path / "gate", drain_delay="1s", drain_timeout="4s") as gate:
        admin = admin_of(gate)
        clients = await streaming_clients(gate, account)
        idle = await connected(gate.url)
        await idle.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        before = [(await idle.told()).keeps_alive, (await got(admin, "/readyz")).status]
        gate.running.process.terminate()
        failing = await not_ready(gate)
        still_open = (await got(gate.url, "/healthz")).status
        await shut(gate)
        nothing_more = await idle.closed()
        idle.close()
        still_not_ready = (await got(admin, "/readyz")).status
        go_on.set()
        told = await told_of(clients)
        status = await ended(gate)
        written = await rows(gate, account)

    assert [True, 200] == before
    assert (503, ["draining"], 200, 503) == (
        failing.status,
        json.loads(failing.body)["failing"],
        still_open,
        still_not_ready,
    )
    assert b"" == nothing_more
    assert 0 == status
    whole = [one for one in told if one.clean]
    cut = [one for one in told if not one.clean]
    assert [NATIVE_LINES[0] + NATIVE_LINES[2]] * 10 == [one.body for one in whole]
    assert 10 == len(cut)
    assert all("is being stopped" in json.loads(one.body.splitlines()[-1])["error"] for one in cut)
    assert {("served", None): 10, ("gate_failed", "gate_stopping"): 10} == {
        kind: [(row["outcome"], row["reason"]) for row in written].count(kind)
        for kind in {(row["outcome"], row["reason"]) for row in written}
    }


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_at_once_and_loses_no_row(
    upstream: RecordingUpstream, account: Account, tmp_path: Path, second: signal.Signals
) -> None:
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    with gate_before(upstream, tmp_path / "gate", drain_delay=FOREVER, drain_timeout=FOREVER) as gate:
        clients = await streaming_clients(gate, account)
        gate.running.process.terminate()
        await not_ready(gate)
        gate.running.process.send_signal(second)
        told = await told_of(clients)
        status = await ended(gate)
        written = await rows(gate, account)

    assert 0 == status
    assert [(200, False)] * STREAMS == [(one.status, one.clean) for one in told]
    assert all(b"is being stopped" in one.body for one in told)
    assert [("gate_failed", "gate_stopping")] * STREAMS == [(row["outcome"], row["reason"]) for row in written]


async def test_a_third_signal_kills_and_the_next_gate_finds_what_the_journal_has(
    upstream: RecordingUpstream, account: Account, tmp_path: Path
) -> None:
    big = chunk(b'{"message":{"content":"' + b"a" * 60_000 + b'"},"done":false}\n')
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), *[big] * 100, asyncio.Event())
    with gate_before(upstream, tmp_path / "gate", drain_delay=FOREVER, drain_timeout=FOREVER) as gate:
        # Clients that read nothing hold it up for a moment even when it is hastened.
        clients, process = await streaming_clients(gate, account, STALLED), gate.running.process
        process.terminate()
        await not_ready(gate)
        process.send_signal(signal.SIGINT)
        await shut(gate)
        process.terminate()
        status = await ended(gate)
        for client in clients:
            client.close()
    with gate_before(upstream, tmp_path / "gate") as gate:
        written = await rows(gate, account)

    assert -signal.SIGTERM == status
    assert STALLED == len(written)
    assert {"lost", "gate_failed"} >= {row["outcome"] for row in written}


async def test_a_gate_that_drains_is_not_killed_by_a_wish_to_read_its_configuration(
    upstream: RecordingUpstream, account: Account, tmp_path: Path
) -> None:
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    with gate_before(upstream, tmp_path / "gate", drain_delay=FOREVER, drain_timeout=FOREVER) as gate:
        clients, process = await streaming_clients(gate, account, 1), gate.running.process
        process.terminate()
        await not_ready(gate)
        process.send_signal(signal.SIGHUP)
        process.terminate()
        told = await told_of(clients)
        status = await ended(gate)

    assert (0, [(200, False)]) == (status, [(one.status, one.clean) for one in told])
