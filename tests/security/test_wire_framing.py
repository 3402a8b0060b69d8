"""The wire tests about codings and framing; the docstrings number them."""

import asyncio
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint, Tongue
from proxy.web.app import FrontDoor
from proxy.web.connection import Server
from proxy.web.manners import Manners
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question, question_for, streamed
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import ABORT, CLOSE, RecordingUpstream, head, whole
from tests.fakes.wire import all_sent, as_sent
from tests.security.compressed import BOMB, packed

CHAT = b'{"model":"llama3.2:1b","messages":[{"role":"user","content":"why?"}],"stream":false}'
SENT = CHAT[:-1] + b',"options":{"num_predict":16384}}'
GOOD = whole(WHOLE[Tongue.OLLAMA])

PACKED_ROUTES = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.path in ("/v1/responses", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages")
]


@pytest.mark.parametrize("endpoint", PACKED_ROUTES, ids=lambda endpoint: endpoint.path)
async def test_a_packed_body_is_unpacked_checked_and_sent_plain(
    gate: Gate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    """wire-25"""
    upstream.says(whole(WHOLE[endpoint.tongue]))
    plain = question_for(endpoint, stream=False).body
    told = await gate.ask(gate.post(endpoint.path, packed(plain), "Content-Encoding: zstd"))
    again = await gate.ask(gate.post(endpoint.path, plain))

    assert (200, 200) == (told.status, again.status)
    assert 2 == all_sent(upstream).count(as_sent(upstream, f"POST {endpoint.path}", upstream.asked[0].body))
    assert (len(plain), len(plain)) == ((await gate.entry()).bytes_in, (await gate.entry()).bytes_in)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (413, BOMB),
        (400, packed(CHAT)[:-1]),
        (400, packed(CHAT) + packed(CHAT)),
        (400, packed(CHAT) + b"x"),
        (400, CHAT),
        (400, b""),
        (400, packed(CHAT, window=27)),
        (404, packed(CHAT.replace(b"llama3.2:1b", b"forbidden"))),
        (400, packed(b'{"model":"llama3.2:1b","Model":"mistral"}')),
    ],
    ids=["bomb", "cut", "two", "trailing", "plain", "nothing", "window", "forbidden", "case"],
)
async def test_a_packed_body_is_no_way_past_the_checks(
    gate: Gate, upstream: RecordingUpstream, status: int, body: bytes
) -> None:
    """wire-25"""
    tracemalloc.start()
    try:
        told = await gate.ask(gate.post("/v1/responses", body, "Content-Encoding: zstd"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert status == told.status
    assert "error" in json.loads(told.body)
    assert peak < 100 * 2**20
    assert [] == upstream.connections


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "ZSTD", "zstd, zstd", "zstd;q=1", "x-zstd"])
@pytest.mark.parametrize("path", ["/v1/responses", "/api/chat"])
async def test_a_coding_that_is_not_undone_is_refused(
    gate: Gate, upstream: RecordingUpstream, path: str, coding: str
) -> None:
    """wire-25"""
    assert 415 == (await gate.ask(gate.post(path, packed(CHAT), f"Content-Encoding: {coding}"))).status
    assert [] == upstream.connections


@pytest.mark.parametrize("path", ["/api/chat", "/api/embed", "/api/show", "/v1/audio/transcriptions"])
async def test_what_ollama_would_not_unpack_is_not_unpacked_for_it(
    gate: Gate, upstream: RecordingUpstream, path: str
) -> None:
    """wire-25"""
    assert 415 == (await gate.ask(gate.post(path, packed(CHAT), "Content-Encoding: zstd"))).status
    assert [] == upstream.connections


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: gzip",),
        ("Content-Length: 0x5",),
        ("X-Long: " + "a" * 2 * 2**20,),
    ],
    ids=["length and chunks", "two lengths", "another coding", "no length", "2 MiB"],
)
async def test_a_framing_that_could_be_read_two_ways_is_refused(
    gate: Gate, upstream: RecordingUpstream, fields: tuple[str, ...]
) -> None:
    """wire-25"""
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", *fields))
    told = await client.told()

    assert told.status in (400, 415, 431)
    assert b"" == await client.closed()
    assert [] == upstream.connections


async def test_a_head_that_never_ends_is_not_waited_for() -> None:
    """wire-25"""

    async def nobody(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError("nothing was asked")

    class Nowhere(FrontDoor):
        __call__ = staticmethod(nobody)

    manners = Manners(1024, keepalive_timeout=0.05)
    door = Nowhere(None, manners, now=lambda: datetime.now(UTC), new_id=str)  # type: ignore[arg-type]
    server = Server(door, manners)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    client = await RawClient.connect("127.0.0.1", listening.sockets[0].getsockname()[1])
    await client.send(b"POST /api/chat HTTP/1.1\r\nHost: a\r\nX-Slow: ")

    assert b"" == await client.closed()
    client.close()
    listening.close()
    await server.shutdown(0.1)


async def test_a_body_that_trickles_is_not_waited_for(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    """wire-25"""
    gate = await open_gate(body_timeout=0.1)
    client = await gate.connect()
    await client.send(gate.request("POST", "/v1/responses", f"Content-Length: {len(CHAT)}") + CHAT[:-1])

    assert 408 == (await client.told()).status
    assert [] == upstream.connections


async def test_who_waits_to_be_invited_is_invited_and_asks_once(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-25"""
    upstream.says(GOOD)
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", f"Content-Length: {len(CHAT)}", "Expect: 100-continue"))
    invited = await client.told()
    await client.send(CHAT)

    assert [100, 200] == [invited.status, (await client.told()).status]
    assert [as_sent(upstream, "POST /api/chat", SENT)] == all_sent(upstream)


async def test_a_sign_of_life_is_given(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-25"""
    upstream.says(whole(b"Ollama is running", "text/plain; charset=utf-8"))
    got = await gate.ask(gate.get("/"))
    upstream.says(head("Content-Type: text/plain; charset=utf-8", "Content-Length: 17"))
    looked = await gate.ask(gate.get("/", method="HEAD"), bodiless=True)

    assert (b"Ollama is running", b"") == (got.body, looked.body)
    assert ("17", "17") == (got.fields["content-length"], looked.fields["content-length"])
    assert [as_sent(upstream, "GET /"), as_sent(upstream, "HEAD /")] == all_sent(upstream)


async def test_a_long_silence_before_the_first_byte_is_outlasted(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """wire-25"""
    gate = await open_gate(connect_timeout=0.05, idle_timeout=0.05, stall_timeout=0.05, body_timeout=0.05)
    loaded = asyncio.Event()
    upstream.says(loaded, *streamed(NDJSON, NATIVE_LINES))
    asking = asyncio.create_task(gate.ask(gate.post("/api/chat", question())))
    finished, _ = await asyncio.wait([asking], timeout=0.2)
    loaded.set()

    assert (set(), 200, 1) == (finished, (await asking).status, len(upstream.connections))


@pytest.mark.parametrize("end", [CLOSE, ABORT])
async def test_a_backend_that_restarts_is_asked_no_second_time(
    gate: Gate, upstream: RecordingUpstream, end: Any
) -> None:
    """wire-25"""
    upstream.says(GOOD)
    client = await gate.connect()
    await client.send(gate.post("/api/chat", CHAT))
    served = await client.told()
    upstream.says(end)
    await client.send(gate.post("/api/chat", CHAT))
    failed = await client.told()

    assert (200, 502) == (served.status, failed.status)
    assert [as_sent(upstream, "POST /api/chat", SENT)] * 2 == all_sent(upstream)
