"""The wire tests about clients that leave or do not read; the docstrings number them."""

import asyncio
import tracemalloc

import pytest

from proxy.vocabulary import Outcome, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, SSE, STREAMS, WHOLE, question
from tests.fakes.upstream import RecordingUpstream, chunk, head, streaming, whole
from tests.fakes.wire import as_sent

CHAT = b'{"model":"llama3.2:1b","messages":[],"stream":%b}'
STAGES = {
    "before the head": (b"true", ()),
    "mid-stream": (b"true", (streaming(NDJSON), chunk(NATIVE_LINES[0]))),
    "not streaming": (b"false", ()),
    "amid one object": (b"false", (head("Content-Type: application/json", "Content-Length: 100"), b'{"model"')),
}


@pytest.mark.parametrize("politely", [True, False], ids=["closed", "reset"])
@pytest.mark.parametrize("stage", STAGES)
async def test_who_leaves_takes_the_question_along(
    gate: Gate, upstream: RecordingUpstream, stage: str, politely: bool
) -> None:
    """wire-22"""
    stream, steps = STAGES[stage]
    upstream.says(*steps, asyncio.Event())
    client = await gate.connect()
    await client.send(gate.post("/api/chat", CHAT % stream))
    asked = await upstream.next()
    if stage == "mid-stream":
        await client.until(NATIVE_LINES[0])
    client.close() if politely else client.leave()
    async with asyncio.timeout(20):
        await asked.connection.closed.wait()
    entry = await gate.entry()

    assert (Outcome.CLIENT_LEFT, False) == (entry.outcome, entry.usage.exact)
    sent = CHAT[:-1] % stream + b',"options":{"num_predict":16384}}'
    assert as_sent(upstream, "POST /api/chat", sent) == bytes(asked.connection.received)


PIECE = chunk(NATIVE_LINES[0] * 700)
PIECES = 20 * 2**20 // len(PIECE)


@pytest.mark.parametrize("tongue", [Tongue.OLLAMA, Tongue.ANTHROPIC])
async def test_who_does_not_read_is_dropped_and_the_backend_is_drained(
    open_gate: OpenGate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    """wire-23"""
    gate = await open_gate(stall_timeout=0.4)
    path = STREAMS[tongue][0]
    piece = PIECE if tongue is Tongue.OLLAMA else chunk(STREAMS[tongue][2][1] * 700)
    said = [piece] * (32 * 2**20 // len(piece))
    upstream.says(streaming(NDJSON if tongue is Tongue.OLLAMA else SSE), *said, asyncio.Event())
    tracemalloc.start()
    try:
        held, _ = tracemalloc.get_traced_memory()
        stalled = await gate.connect(window=4096)
        await stalled.send(gate.post(path, question(stream=True)))
        asked = await upstream.next()
        await stalled.until(b"\r\n\r\n")
        upstream.says(whole(WHOLE[Tongue.OLLAMA]))
        meanwhile = [(await gate.ask(gate.post("/api/chat", question(stream=False)))).status for _ in range(10)]
        left = asked.connection.waiting
        served = [await gate.entry() for _ in range(10)]
        entry = await gate.entry()
        async with asyncio.timeout(20):
            await asked.connection.closed.wait()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert ([200] * 10, [Outcome.SERVED] * 10) == (meanwhile, [one.outcome for one in served])
    assert (Outcome.CLIENT_STALLED, "client_stalled", 200) == (entry.outcome, entry.reason, entry.status)
    assert left > 0, "so much is not taken ahead of a client"
    assert 0 == asked.connection.unsent, "all that the backend had said was taken before the end"
    assert entry.bytes_out < 12 * 2**20
    assert peak - held < 100 * 2**20


async def test_who_reads_slowly_and_leaves_does_not_wedge_the_backend(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-23"""
    upstream.says(streaming(NDJSON), *[PIECE] * PIECES, asyncio.Event())
    client = await gate.connect(window=4096)
    await client.send(gate.post("/api/chat", question()))
    asked = await upstream.next()
    await client.until(b"\r\n\r\n")
    client.leave()
    async with asyncio.timeout(20):
        await asked.connection.closed.wait()

    assert 0 == asked.connection.unsent
    assert Outcome.CLIENT_LEFT == (await gate.entry()).outcome
