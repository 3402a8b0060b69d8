import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.backends.http import HttpBackend, Patience
from proxy.backends.place import Place
from proxy.backends.pool import IDLE_SECONDS, MOST_IDLE, Pool
from proxy.backends.wire import Wire
from proxy.errors import BackendDown, BackendFailed, BackendRefused, BackendSilent
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Ask, Backend, Later, Takes, Upload
from tests.fakes.answers import WHOLE
from tests.fakes.eventually import eventually
from tests.fakes.upstream import ABORT, CLOSE, Asked, RecordingUpstream, Step, chunk, streaming, whole

GOOD = next(iter(WHOLE.values()))
ASK = b"GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n"


async def asked(pool: Pool) -> Wire:
    """A connection on which one question was asked and answered."""
    wire = await pool.wire()
    await wire.ask(ASK, is_bodiless=False, seconds=5)
    await wire.read(1000)
    return wire


ASKED = Ask(next(one for one in ENDPOINTS if one.path == "/api/version" and one.method == "GET"))
SENT = Ask(next(one for one in ENDPOINTS if one.takes is Takes.BYTES), segment="sha256:0")


async def answered(backend: HttpBackend) -> bytes:
    """What the backend answers to one call."""
    taken: list[bytes] = []
    async with backend.open(ASKED, None, lambda: None) as answer:
        await answer.flow(taken.append)
    return b"".join(taken)


def at(upstream: RecordingUpstream, trial: float = 0.0, rest: float = 0.0) -> HttpBackend:
    return HttpBackend(Backend("ollama", upstream.url), Patience(trial=trial, rest=rest))


async def test_the_same_connection_asks_for_one_call_after_another(upstream: RecordingUpstream) -> None:
    backend = at(upstream)
    upstream.says(whole(GOOD))
    for _ in range(5):
        assert GOOD == await answered(backend)

    assert (1, 5) == (len(upstream.connections), len(upstream.asked))
    await backend.close()


async def test_calls_at_once_have_connections_of_their_own(upstream: RecordingUpstream) -> None:
    backend, shown = at(upstream), asyncio.Event()
    upstream.says(shown, whole(GOOD))
    calls = [asyncio.create_task(answered(backend)) for _ in range(4)]
    for _ in range(4):
        await upstream.next()
    shown.set()

    assert [GOOD] * 4 == await asyncio.gather(*calls)
    assert 4 == len(upstream.connections)
    await backend.close()


async def test_none_is_used_again_before_one_was_seen_to_stay_open(upstream: RecordingUpstream) -> None:
    backend = at(upstream, trial=60.0)
    upstream.says(whole(GOOD))
    for _ in range(3):
        assert GOOD == await answered(backend)

    assert 3 == len(upstream.connections)
    await backend.close()


async def test_none_is_used_again_before_it_has_rested(upstream: RecordingUpstream) -> None:
    backend = at(upstream, rest=60.0)
    upstream.says(whole(GOOD))
    for _ in range(3):
        assert GOOD == await answered(backend)

    assert 3 == len(upstream.connections)
    await backend.close()


@pytest.mark.parametrize("end", [CLOSE, ABORT])
async def test_where_one_ends_by_itself_the_others_are_not_trusted_either(
    upstream: RecordingUpstream, end: Step
) -> None:
    backend = at(upstream)
    upstream.says(whole(GOOD), end)
    for _ in range(5):
        assert GOOD == await answered(backend)
        async with asyncio.timeout(20):
            await upstream.connections[-1].closed.wait()

    assert 5 == len(upstream.connections) == len(upstream.asked)
    await backend.close()


async def test_a_call_on_one_that_ends_under_it_has_failed_and_is_asked_once(upstream: RecordingUpstream) -> None:
    """Whether the backend has heard the question nobody can tell, so that it is not asked again."""

    def says(asked: Asked) -> list[Step]:
        return [whole(GOOD)] if len(upstream.asked) == 1 else [CLOSE]

    backend = at(upstream)
    upstream.answers = says
    assert GOOD == await answered(backend)
    with pytest.raises(BackendFailed):
        await answered(backend)

    assert (1, 2) == (len(upstream.connections), len(upstream.asked))
    await backend.close()


async def test_after_an_error_the_connection_is_left(upstream: RecordingUpstream) -> None:
    backend = at(upstream)
    upstream.says(whole(b'{"error":"no"}', status="400 Bad Request"))
    for _ in range(2):
        with pytest.raises(BackendRefused):
            await answered(backend)

    assert 2 == len(upstream.connections)
    await backend.close()


async def test_the_one_that_has_waited_longest_is_used_next(upstream: RecordingUpstream) -> None:
    pool = Pool(Place.of(upstream.url), 5.0, 60.0, trial_seconds=0.0, rest_seconds=0.0)
    first, second = await asked(pool), await asked(pool)
    pool.take_back(first)
    pool.take_back(second)

    assert [first, second] == [await pool.wire(), await pool.wire()]
    await pool.close()


async def test_those_that_wait_too_long_or_are_too_many_are_ended(upstream: RecordingUpstream) -> None:
    pool = Pool(Place.of(upstream.url), 5.0, 60.0, trial_seconds=0.0, rest_seconds=0.0)
    wires = [await asked(pool) for _ in range(MOST_IDLE + 1)]
    for wire in wires:
        pool.take_back(wire)

    async def ended() -> bool | None:
        return not any(wire.is_open for wire in wires) or None

    assert not wires[-1].is_usable
    assert await eventually(ended, 2 * IDLE_SECONDS, "all are closed")
    await pool.close()


async def test_one_on_which_something_was_said_unasked_is_not_used(upstream: RecordingUpstream) -> None:
    pool = Pool(Place.of(upstream.url), 5.0, 60.0, trial_seconds=0.0, rest_seconds=0.0)
    upstream.says(whole(b"{}"), asyncio.Event())
    wire = await asked(pool)
    pool.take_back(wire)
    transport = upstream.connections[0]._transport
    assert transport is not None
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")  # The loop has no turn in between: the gate has to look.

    assert wire is not await pool.wire()
    await pool.close()


async def test_a_closed_pool_has_ended_all_that_it_gave_out(upstream: RecordingUpstream) -> None:
    pool = Pool(Place.of(upstream.url), 5.0, 60.0, trial_seconds=0.0, rest_seconds=0.0)
    given, kept = await pool.wire(), await asked(pool)
    pool.take_back(kept)
    await pool.close()

    assert (False, False) == (given.is_open, kept.is_open)


async def test_nobody_there_is_told_as_that() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        pool = Pool(Place("127.0.0.1", nobody.getsockname()[1]), 5.0, 60.0)
        with pytest.raises(BackendDown):
            await pool.wire()
    with pytest.raises(BackendDown):
        await Pool(Place("/nowhere/ollama.sock"), 5.0, 60.0).wire()


async def test_a_backend_is_asked_over_a_socket_in_the_file_system(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(whole(json.dumps({"models": []}).encode()))
        writer.close()

    there = tmp_path / "ollama.sock"
    async with await asyncio.start_unix_server(answer, there):
        backend = HttpBackend(Backend("ollama", f"unix:{there}"), Patience())

        assert {"models": []} == await backend.told("/api/tags")
        assert heard[0].startswith(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n")
        await backend.close()


async def test_a_backend_with_a_certificate_that_nobody_vouches_for_is_not_asked(upstream: RecordingUpstream) -> None:
    backend = HttpBackend(Backend("ollama", upstream.url.replace("http:", "https:")), Patience(connect=1.0))

    with pytest.raises(BackendFailed):
        await backend.told("/api/tags")
    assert [] == upstream.asked
    await backend.close()


async def test_a_silence_is_noticed_also_after_the_client_was_waited_for(upstream: RecordingUpstream) -> None:
    has_taken = asyncio.Event()

    async def later() -> None:
        asyncio.get_running_loop().call_later(0.1, has_taken.set)  # Some looks find nobody who waits.
        await has_taken.wait()

    def take(piece: bytes) -> Later:
        return later()

    backend = HttpBackend(Backend("ollama", upstream.url), Patience(idle=0.05))
    upstream.says(streaming("application/x-ndjson"), chunk(GOOD), asyncio.Event())
    async with asyncio.timeout(20):
        with pytest.raises(BackendSilent):
            async with backend.open(ASKED, None, lambda: None) as answer:
                await answer.flow(take)

    assert has_taken.is_set()
    await backend.close()


async def test_a_call_that_is_cancelled_while_its_upload_is_taken_back_is_cancelled(
    upstream: RecordingUpstream,
) -> None:
    may_answer = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"the beginning"
        may_answer.set()
        try:
            await asyncio.Event().wait()
        finally:
            call.cancel()
            await asyncio.sleep(0)

    async def ask() -> None:
        async with backend.open(SENT, Upload(pieces(), 1000), lambda: None) as answer:
            await answer.flow(lambda _: None)

    backend = at(upstream)
    upstream.at_once = True
    upstream.says(may_answer, whole(GOOD))
    call = asyncio.ensure_future(ask())
    async with asyncio.timeout(20):
        await asyncio.wait([call])

    assert call.cancelled()
    await backend.close()


async def test_a_connection_that_is_being_made_when_all_are_ended_is_ended_too(upstream: RecordingUpstream) -> None:
    pool = Pool(Place.of(upstream.url), 5.0, 60.0)
    making = asyncio.ensure_future(pool.wire())
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(BackendDown):
        await making

    assert not pool._all


@pytest.mark.parametrize("length", [1000, None])
async def test_a_connection_on_which_an_upload_was_left_unfinished_is_not_used_again(
    upstream: RecordingUpstream, length: int | None
) -> None:
    """What is asked next would be taken for the rest of it."""
    may_answer = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"the beginning"
        may_answer.set()
        await asyncio.Event().wait()

    backend, taken = at(upstream), list[bytes]()
    upstream.at_once = True
    upstream.says(may_answer, whole(GOOD))
    async with backend.open(SENT, Upload(pieces(), length), lambda: None) as answer:
        await answer.flow(taken.append)
    upstream.at_once = False

    assert [GOOD] == taken
    upstream.says(whole(b"{}"))
    async with asyncio.timeout(20):
        assert b"{}" == await answered(backend)
    assert 2 == len(upstream.connections)
    await backend.close()
