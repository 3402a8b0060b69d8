"""Models that are brought in: uploads pass through, and nobody brings in more than they may."""

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from proxy.vocabulary import Outcome
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import DIGEST, NDJSON, line, streamed
from tests.fakes.upstream import LAST_CHUNK, Connection, RecordingUpstream, chunk, head, streaming, whole
from tests.fakes.wire import all_sent, as_sent

GRANTS = {"grants": ["health", "read", "inference", "manage"]}
BLOB = f"/api/blobs/{DIGEST}"
PIECE = b"GGUF" * 2**14


def managing(**pull: Any) -> dict[str, Any]:
    return {"default": {**GRANTS, "pull": pull}}


@pytest.fixture
async def gate(open_gate: OpenGate) -> Gate:
    """A gate whose callers may manage models."""
    return await open_gate(plans=managing())


async def test_an_upload_keeps_its_length_and_its_bytes(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(b"", "", status="201 Created"))
    told = await gate.ask(gate.post(BLOB, PIECE, "Content-Type: text/html"))

    assert (201, b"") == (told.status, told.body)
    assert [as_sent(upstream, f"POST {BLOB}", PIECE, "application/octet-stream")] == all_sent(upstream)
    entry = await gate.entry()
    assert (Outcome.SERVED, len(PIECE)) == (entry.outcome, entry.bytes_in)


async def test_an_upload_of_unknown_length_passes_in_chunks(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(b"", "", status="201 Created"))
    client = await gate.connect()
    await client.send(gate.request("POST", BLOB, "Transfer-Encoding: chunked"))
    for part in (b"abc", b"defg"):
        await client.send(chunk(part))
    await client.send(LAST_CHUNK)
    told = await client.told()
    received = bytes(upstream.connections[0].received)

    assert 201 == told.status
    assert b"Transfer-Encoding: chunked\r\n" in received
    assert b"Content-Length" not in received
    assert b"abcdefg" == b"".join(received.partition(b"\r\n\r\n")[2].split(b"\r\n")[1:-2:2])


async def begun(upstream: RecordingUpstream) -> Connection:
    """The connection of an upload, once its first piece has come."""
    async with asyncio.timeout(20):
        while not upstream.connections:
            upstream.met.clear()
            await upstream.met.wait()
    await upstream.connections[0].holds(len(PIECE))
    return upstream.connections[0]


async def test_a_large_upload_is_never_held(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(b"", "", status="201 Created"))
    upstream.keeps = 2**16
    size = 48 * 2**20
    client = await gate.connect()
    tracemalloc.start()
    try:
        await client.send(gate.request("POST", BLOB, f"Content-Length: {size}"))
        for _ in range(size // len(PIECE)):
            await client.send(PIECE)
        told = await client.told()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 201 == told.status
    assert peak < 16 * 2**20
    assert f"content-length: {size}" in upstream.connections[0].received.decode("latin-1").lower()


async def test_who_leaves_within_an_upload_takes_it_along(gate: Gate, upstream: RecordingUpstream) -> None:
    client = await gate.connect()
    await client.send(gate.request("POST", BLOB, "Content-Length: 1000000") + PIECE)
    connection = await begun(upstream)
    client.leave()
    async with asyncio.timeout(20):
        await connection.closed.wait()

    assert Outcome.CLIENT_LEFT == (await gate.entry()).outcome
    assert [] == upstream.asked, "the backend never had a whole upload"


async def test_an_upload_that_stalls_is_given_up(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(plans=managing(), door={"head_timeout": 0.3})
    client = await gate.connect()
    await client.send(gate.request("POST", BLOB, "Content-Length: 1000000") + PIECE)
    told = await client.told()
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()

    assert (408, "body_too_slow") == (told.status, (await gate.entry()).reason)


async def test_an_upload_that_is_announced_too_large_reaches_nobody(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(plans=managing(max_size="64KiB"))
    client = await gate.connect()
    await client.send(gate.request("POST", BLOB, "Content-Length: 65537"))
    told = await client.told()

    assert (413, False, []) == (told.status, told.keeps_alive, upstream.connections)


async def test_an_upload_that_grows_too_large_is_cut(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(plans=managing(max_size="64KiB"))
    client = await gate.connect()
    await client.send(gate.request("POST", BLOB, "Transfer-Encoding: chunked") + chunk(PIECE))
    connection = await begun(upstream)
    await client.send(chunk(b"x"))
    told = await client.told()
    async with asyncio.timeout(20):
        await connection.closed.wait()

    assert (413, "body_too_large") == (told.status, (await gate.entry()).reason)
    assert not connection.received.endswith(LAST_CHUNK)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_an_upload_in_a_coding_is_refused(gate: Gate, upstream: RecordingUpstream, coding: str) -> None:
    assert 415 == (await gate.ask(gate.post(BLOB, PIECE, f"Content-Encoding: {coding}"))).status
    assert [] == upstream.connections


@pytest.mark.parametrize(("answer", "status"), [("200 OK", 200), ("404 Not Found", 404)])
async def test_whether_a_blob_is_there_is_told(
    gate: Gate, upstream: RecordingUpstream, answer: str, status: int
) -> None:
    upstream.says(head("Content-Length: 0", status=answer))
    told = await gate.ask(gate.request("HEAD", BLOB), bodiless=True)

    assert status == told.status
    assert [as_sent(upstream, f"HEAD {BLOB}")] == all_sent(upstream)


LAYERS = [
    line(status="pulling manifest"),
    line(status="pulling a", digest="sha256:a", total=600_000, completed=1),
    line(status="pulling b", digest="sha256:b", total=600_000, completed=1),
]
PULL = b'{"model":"llama3.2:3b","stream":%b}'


@pytest.mark.parametrize("stream", [True, False])
async def test_a_pull_that_is_too_large_is_stopped(
    open_gate: OpenGate, upstream: RecordingUpstream, stream: bool
) -> None:
    gate = await open_gate(plans=managing(max_size="1MiB"))
    go_on = asyncio.Event()
    upstream.says(streaming(NDJSON), chunk(LAYERS[0] + LAYERS[1]), go_on, chunk(LAYERS[2]), asyncio.Event())
    client = await gate.connect()
    await client.send(gate.post("/api/pull", PULL % json.dumps(stream).encode()))
    if stream:
        await client.until(LAYERS[1])
    go_on.set()
    told = await client.told()
    entry = await gate.entry()
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()

    assert [as_sent(upstream, "POST /api/pull", PULL % b"true")] == all_sent(upstream)
    assert (Outcome.REFUSED, "pull_too_large") == (entry.outcome, entry.reason)
    if stream:
        assert (200, False) == (told.status, told.clean)
        assert "larger than" in json.loads(told.body.splitlines()[-1])["error"]
    else:
        assert (403, True) == (told.status, told.clean)
        assert "larger than" in json.loads(told.body)["error"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_pull_within_its_bounds_is_shown_as_it_was_asked_for(
    open_gate: OpenGate, upstream: RecordingUpstream, stream: bool
) -> None:
    gate = await open_gate(plans=managing(max_size="2MiB"))
    lines = [*LAYERS, line(status="success")]
    upstream.says(*streamed(NDJSON, lines))
    told = await gate.ask(gate.post("/api/pull", PULL % json.dumps(stream).encode()))

    assert (200, True) == (told.status, told.clean)
    assert (b"".join(lines) if stream else lines[-1].strip()) == told.body
    assert (NDJSON if stream else "application/json; charset=utf-8") == told.fields["content-type"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_pull_that_ollama_could_not_do_is_a_failure(
    gate: Gate, upstream: RecordingUpstream, stream: bool
) -> None:
    upstream.says(*streamed(NDJSON, [LAYERS[0], line(error="pull model manifest: 500: CANARY")]))
    told = await gate.ask(gate.post("/api/pull", PULL % json.dumps(stream).encode()))

    assert ((200, False) if stream else (500, True)) == (told.status, told.clean)
    assert b"error" in told.body
    assert Outcome.BACKEND_FAILED == (await gate.entry()).outcome


@pytest.mark.parametrize("path", ["/api/pull", "/api/push"])
async def test_a_failure_that_tells_its_length_is_said_again_at_its_own(
    gate: Gate, upstream: RecordingUpstream, path: str
) -> None:
    upstream.says(whole(line(error="open /a/b: no")))
    told = await gate.ask(gate.post(path, PULL % b"true"))

    assert (200, False) == (told.status, told.clean)
    assert b"error" in told.body
    assert b"/a/b" not in told.body
    assert Outcome.BACKEND_FAILED == (await gate.entry()).outcome


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, {"model": "evil.example/library/m"}),
        (403, {"model": "127.0.0.1:11434/library/m"}),
        (403, {"model": "somebody/m"}),
        (403, {"name": "hf.co/somebody/m"}),
        (403, {"model": "mistral", "insecure": True}),
        (404, {"model": "http://registry.ollama.ai/library/m"}),
        (404, {"model": "evil.example/x://registry.ollama.ai/library/m"}),
        (404, {"model": "m:1b-cloud"}),
        (404, {"model": "", "name": ""}),
    ],
)
@pytest.mark.parametrize("path", ["/api/pull", "/api/push"])
async def test_a_pull_from_elsewhere_reaches_nobody(
    gate: Gate, upstream: RecordingUpstream, path: str, status: int, said: dict[str, Any]
) -> None:
    assert status == (await gate.ask(gate.post(path, said))).status
    assert [] == upstream.connections
