import asyncio
import json

import pytest

from proxy.vocabulary import Outcome, Tongue, Usage
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question, streamed
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, head, streaming, whole

BODY = json.dumps(question(stream=False)).encode()
GOOD = whole(WHOLE[Tongue.OLLAMA])


def in_chunks(body: bytes, size: int = 10) -> bytes:
    return b"".join(chunk(body[at : at + size]) for at in range(0, len(body), size)) + b"0\r\n\r\n"


async def test_a_body_may_come_in_chunks_and_goes_on_with_its_length(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(GOOD)
    told = await gate.ask(gate.request("POST", "/api/chat", "Transfer-Encoding: chunked") + in_chunks(BODY))

    assert 200 == told.status
    assert str(len(upstream.asked[0].body)) == upstream.asked[0].fields["content-length"]
    assert len(BODY) == (await gate.entry()).bytes_in


async def test_a_body_that_is_announced_too_large_is_refused_unread(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(max_body="1024")
    client = await gate.connect()
    await client.send(gate.request("POST", "/v1/messages", "Content-Length: 1025", "Expect: 100-continue"))
    told = await client.told()

    assert (413, False, "request_too_large") == (
        told.status,
        told.keeps_alive,
        json.loads(told.body)["error"]["type"],
    )
    assert [] == upstream.connections
    assert (Outcome.REFUSED, "body_too_large") == ((entry := await gate.entry()).outcome, entry.reason)


async def test_a_body_that_grows_too_large_is_refused_at_the_limit(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(max_body="1024")
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Transfer-Encoding: chunked") + chunk(b"[" * 1025))

    assert 413 == (await client.told()).status
    assert [] == upstream.connections


async def test_a_body_of_just_the_limit_is_read(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(max_body="1024")
    upstream.says(GOOD)
    at_limit, beyond = (BODY + b" " * (size - len(BODY)) for size in (1024, 1025))

    assert [200, 413] == [(await gate.ask(gate.post("/api/chat", body))).status for body in (at_limit, beyond)]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x"])
async def test_a_body_in_a_coding_is_refused(gate: Gate, upstream: RecordingUpstream, coding: str) -> None:
    told = await gate.ask(gate.post("/api/chat", BODY, f"Content-Encoding: {coding}"))

    assert (415, "zstd, identity") == (told.status, told.fields["accept-encoding"])
    assert [] == upstream.connections


async def test_who_waits_to_be_invited_is_invited_once(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(GOOD)
    fields = (f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", *fields))
    invited = await client.told()
    await client.send(BODY)

    assert [100, 200] == [invited.status, (await client.told()).status]
    assert "expect" not in upstream.asked[0].fields


@pytest.mark.parametrize("fields", [(), ("Expect: 100-continue",)])
async def test_a_stranger_is_refused_before_the_body_and_not_invited(
    gate: Gate, upstream: RecordingUpstream, fields: tuple[str, ...]
) -> None:
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Content-Length: 5000000", *fields, key="sk-lg_no"))
    told = await client.told()

    assert (401, False) == (told.status, told.keeps_alive)
    assert [] == upstream.connections


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(body_timeout=0.05)
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Content-Length: 10") + b"{")

    assert (408, "body_too_slow") == ((await client.told()).status, (await gate.entry()).reason)
    assert [] == upstream.connections


@pytest.mark.parametrize("chunks", [b"xyz\r\n", b"-1\r\n", b"0x2\r\nhi\r\n0\r\n\r\n", b"2\r\nhix\r\n", b"2\nhi\n0\n\n"])
async def test_a_body_in_bad_chunks_is_refused_and_nothing_follows_it(
    gate: Gate, upstream: RecordingUpstream, chunks: bytes
) -> None:
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Transfer-Encoding: chunked") + chunks + gate.get("/api/tags"))
    told = await client.told()

    assert 400 == told.status
    assert b"" == await client.closed()
    assert [] == upstream.connections


async def test_who_leaves_within_their_body_has_asked_nothing(gate: Gate, upstream: RecordingUpstream) -> None:
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Content-Length: 100", "Expect: 100-continue"))
    await client.told()
    client.leave()
    entry = await gate.entry()

    assert (Outcome.CLIENT_LEFT, None, Usage()) == (entry.outcome, entry.status, entry.usage)
    assert [] == upstream.connections


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_before_the_first_byte_pays_for_the_prompt(
    gate: Gate, upstream: RecordingUpstream, stream: bool
) -> None:
    upstream.says(asyncio.Event())
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question(stream=stream)))
    asked = await upstream.next()
    client.leave()
    async with asyncio.timeout(20):
        await asked.connection.closed.wait()
    entry = await gate.entry()

    assert (Outcome.CLIENT_LEFT, None, "client_left") == (entry.outcome, entry.status, entry.reason)
    assert not entry.usage.exact
    assert entry.usage.prompt_tokens > 0
    assert asked.raw == bytes(asked.connection.received)


async def test_who_leaves_amid_a_stream_pays_for_what_came(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), chunk(NATIVE_LINES[1]), asyncio.Event())
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question()))
    await client.until(NATIVE_LINES[1])
    client.leave()
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()
    entry = await gate.entry()

    assert (Outcome.CLIENT_LEFT, 200, False, 2) == (
        entry.outcome,
        entry.status,
        entry.usage.exact,
        entry.usage.completion_tokens,
    )
    assert len(NATIVE_LINES[0] + NATIVE_LINES[1]) == entry.bytes_out


async def test_who_leaves_amid_a_whole_answer_is_noticed(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(head("Content-Type: application/json", "Content-Length: 100"), b'{"model"', asyncio.Event())
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question(stream=False)))
    asked = await upstream.next()
    client.leave()
    async with asyncio.timeout(20):
        await asked.connection.closed.wait()

    assert Outcome.CLIENT_LEFT == (await gate.entry()).outcome


async def test_who_reads_nothing_is_let_go(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(stall_timeout=0.1)
    upstream.says(streaming(NDJSON), *[chunk(NATIVE_LINES[0] * 1000)] * 150, asyncio.Event())
    client = await gate.connect(window=4096)
    await client.send(gate.post("/api/chat", question()))
    entry = await gate.entry()
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()

    assert (Outcome.CLIENT_STALLED, "client_stalled", 200) == (entry.outcome, entry.reason, entry.status)
    assert not entry.usage.exact


async def test_after_an_answer_that_broke_off_nothing_is_asked_that_nobody_could_hear_of(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    pieces = [b'{"number":%d,"more":"%b"}\n' % (number, b"x" * 16_000) for number in range(500)]
    upstream.says(streaming(NDJSON), *map(chunk, pieces), LAST_CHUNK)
    client = await gate.connect(window=4096)
    await client.send(gate.post("/api/chat", question()) * 2)
    ended = asyncio.create_task(gate.entry())
    for number in range(0, 500, 20):  # No further than needed, so that the end is still to be sent then.
        if not ended.done():
            await client.until(b'"number":%d,' % number)
    entry = await ended
    upstream.says(GOOD)
    await gate.ask(gate.post("/api/chat", BODY))

    assert (Outcome.TRUNCATED, 2) == (entry.outcome, len(upstream.asked))
    assert not (await client.told()).clean
    assert b"" == await client.closed()


async def test_a_head_is_answered_like_a_get_without_its_body(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(head("Content-Type: text/plain", "Content-Length: 17"))
    client = await gate.connect()
    await client.send(gate.request("HEAD", "/") + gate.request("HEAD", "/nowhere") + gate.get("/nowhere"))
    told = [await client.told(bodiless=True), await client.told(bodiless=True), await client.told()]

    assert [200, 404, 404] == [one.status for one in told]
    assert "17" == told[0].fields["content-length"]
    assert b"" != told[2].body


@pytest.mark.parametrize("host", ["Host: gate.example\r\n", ""])
async def test_a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection(
    gate: Gate, upstream: RecordingUpstream, host: str
) -> None:
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    asked = (
        gate.post("/api/chat", question())
        .replace(b"HTTP/1.1", b"HTTP/1.0")
        .replace(b"Host: gate.example\r\n", host.encode())
    )
    told = await gate.ask(asked)

    assert (200, b"".join(NATIVE_LINES)) == (told.status, told.body)
    assert "transfer-encoding" not in told.fields
    assert Outcome.SERVED == (await gate.entry()).outcome
