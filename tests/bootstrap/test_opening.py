import asyncio
import json
import socket
import stat
from pathlib import Path

import pytest

from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.opening import Opened
from proxy.bootstrap.opening import gate as open_over
from proxy.bootstrap.storage import Records, records
from proxy.config.settings import Settings
from proxy.errors import Misconfigured
from proxy.vocabulary import Outcome
from tests.conftest import OWNER, Gate, Heard, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, question
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming


def settings_of(upstream: RecordingUpstream, folder: Path, **told: object) -> Settings:
    defaults = {"listen": "127.0.0.1:0", "upstream": upstream.url, "state_dir": folder}
    return Settings.model_validate({**defaults, **told})


async def asking(settings: Settings, kept: Records, gate: Opened) -> RawClient:
    """A client amid its stream."""
    key = (await desk_over(kept, settings, gate.counting.office, OWNER).create_key("alice")).secret
    client = await RawClient.connect("127.0.0.1", int(gate.standing.address.rpartition(":")[2]))
    body = json.dumps(question()).encode()
    fields = f"Host: a\r\nX-Api-Key: {key}\r\nContent-Length: {len(body)}"
    await client.send(f"POST /api/chat HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
    await client.until(NATIVE_LINES[0])
    return client


async def test_a_gate_that_stops_lets_a_call_end(upstream: RecordingUpstream, tmp_path: Path) -> None:
    go_on, heard = asyncio.Event(), Heard()
    settings = settings_of(upstream, tmp_path, drain_timeout=5.0)
    async with records(settings) as kept:
        gate = open_over(settings, kept, [heard])
        opened = await gate.__aenter__()
        upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
        client = await asking(settings, kept, opened)
        stopping = asyncio.create_task(gate.__aexit__(None, None, None))
        await asyncio.sleep(0)  # One turn of the loop, in which it stops listening.
        with pytest.raises(ConnectionError):
            await RawClient.connect("127.0.0.1", int(opened.standing.address.rpartition(":")[2]))
        go_on.set()
        told = await client.told()
        await stopping
        written = await kept.book.last(10)

    assert (NATIVE_LINES[0] + NATIVE_LINES[2], True) == (told.body, told.clean)
    assert [Outcome.SERVED] == [entry.outcome for entry in heard.entries] == [entry.outcome for entry in written]
    client.close()


async def test_a_call_that_outlasts_the_patience_is_cut_and_still_written(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    settings = settings_of(upstream, tmp_path, drain_timeout=0.0)
    async with records(settings) as kept:
        async with open_over(settings, kept, []) as opened:
            upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
            client = await asking(settings, kept, opened)
        written = await kept.book.last(10)
        told = await client.told()

    assert not told.clean
    assert [(Outcome.GATE_FAILED, "alice")] == [(entry.outcome, entry.user) for entry in written]
    async with asyncio.timeout(20):
        await upstream.connections[-1].closed.wait()
    client.close()


async def test_an_idle_client_does_not_hold_the_gate_open(upstream: RecordingUpstream, tmp_path: Path) -> None:
    settings = settings_of(upstream, tmp_path, drain_timeout=60.0)
    async with records(settings) as kept, asyncio.timeout(20):
        async with open_over(settings, kept, []) as opened:
            client = await RawClient.connect("127.0.0.1", int(opened.standing.address.rpartition(":")[2]))
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            told = await client.told()

        assert told.keeps_alive
        assert b"" == await client.closed()
    client.close()


async def test_a_port_that_is_taken_is_the_owners_to_free(upstream: RecordingUpstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_of(upstream, tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        async with records(settings) as kept:
            with pytest.raises(Misconfigured, match=r"Cannot listen on 127\.0\.0\.1:"):
                await open_over(settings, kept, []).__aenter__()


async def test_a_state_folder_that_cannot_be_made_is_named(upstream: RecordingUpstream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = settings_of(upstream, tmp_path / "file" / "state")
    with pytest.raises(Misconfigured, match="cannot be used"):
        await records(settings).__aenter__()


def test_what_is_kept_is_nobody_elses_to_read(gate: Gate, tmp_path: Path) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert {"llamagate.db", "pepper"} <= modes.keys()
    assert [] == [name for name, mode in modes.items() if mode & 0o077]


async def test_keys_and_lines_outlive_the_gate(open_gate: OpenGate) -> None:
    first = await open_gate()
    await first.ask(first.get("/nowhere"))
    second = await open_gate()
    told = await second.ask(second.get("/nowhere", key=first.key))

    assert 404 == told.status
    assert [404, 404] == [entry.status for entry in await second.written(2)]


async def test_the_gate_says_how_it_stands(gate: Gate, upstream: RecordingUpstream, tmp_path: Path) -> None:
    standing = gate.standing

    assert (upstream.url, True, "0.0.0", 0, False, tmp_path) == (
        standing.upstream,
        standing.upstream_answers,
        standing.upstream_version,
        standing.keys,
        standing.readable,
        standing.state_dir,
    )
