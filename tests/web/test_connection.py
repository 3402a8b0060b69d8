import asyncio
import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser

from proxy.web.connection import Connection, Server, Turned, accept_errors_told, household, nobody
from proxy.web.framing import Framing, NotHttp, Reason
from proxy.web.manners import Manners
from proxy.web.tally import Tally
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, question
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import RecordingUpstream, chunk, streaming
from tests.web.test_framing import changed

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PREAMBLE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"


async def say(request: web.BaseRequest) -> web.StreamResponse:
    """Reads the body, and tells who asks."""
    body = await request.read()
    assert isinstance(request.protocol, Connection)
    return web.Response(body=body or request.protocol.peer.encode())


class Stage:
    """Servers and their clients."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.server: Server
        self.port = 0

    async def open(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = say,
        trusts: Callable[[str], bool] = nobody,
        *,
        proxy_protocol: bool = False,
        **told: float,
    ) -> None:
        manners = Manners(**{"max_body": 1000, **told})  # type: ignore[arg-type]
        self.server = Server(handler, manners, trusts, proxy_protocol=proxy_protocol)
        listening = await asyncio.get_running_loop().create_server(self.server, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._stack.push_async_callback(self.server.shutdown, 0.1)
        self._stack.callback(listening.close)

    async def client(self, data: bytes = b"", *, window: int | None = None) -> RawClient:
        client = await RawClient.connect("127.0.0.1", self.port, window=window)
        self._stack.callback(client.close)
        await client.send(data)
        return client

    async def counted(self, why: str) -> None:
        """Wait until it is."""

        async def look() -> bool | None:
            return bool(self.server.tally.counts[why]) or None

        await eventually(look, 20, why)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(stack)


async def test_a_refusal_comes_after_the_answers_to_what_was_asked_before(stage: Stage) -> None:
    await stage.open()
    client = await stage.client(GET + GET + BAD + GET)

    assert [200, 200, 400] == [(await client.told()).status for _ in range(3)]
    assert b"" == await client.closed()
    assert {Reason.HOST: 1} == stage.server.tally.counts


async def test_a_refusal_does_not_overtake_an_answer_that_is_under_way(stage: Stage) -> None:
    go_on, asked = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.Response(body=b"late")

    await stage.open(slow)
    client = await stage.client(GET)
    await asked.wait()
    await client.send(BAD)
    await stage.counted(Reason.HOST)
    go_on.set()

    assert (b"late", 400) == ((await client.told()).body, (await client.told()).status)
    assert b"" == await client.closed()


async def test_a_refusal_overtakes_no_request_that_waits_for_its_turn(stage: Stage) -> None:
    await stage.open()
    client = await stage.client(GET * 100 + BAD)

    assert [200] * 100 + [400] == [(await client.told()).status for _ in range(101)]
    assert b"" == await client.closed()


async def test_a_refusal_is_json_and_names_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.open()
    client = await stage.client(b"GET /CANARY HTTP/2.0\r\nHost: CANARY\r\n\r\n")
    told = await client.told()

    assert (505, "close", "llamagate", "no-store") == (
        told.status,
        told.fields["connection"],
        told.fields["server"],
        told.fields["cache-control"],
    )
    assert "invalid_request" == json.loads(told.body)["error"]["code"]
    assert b"CANARY" not in told.head + told.body
    assert "CANARY" not in caplog.text
    assert [(logging.WARNING, "not_http", "version")] == [
        (record.levelno, record.message, record.__dict__["reason"]) for record in caplog.records
    ]


async def test_a_refusal_is_read_by_who_is_still_sending(stage: Stage) -> None:
    await stage.open()
    client = await stage.client(b"GET / HTTP/1.1\r\nX: " + b"a" * 4 * 2**20)

    assert 431 == (await client.told()).status
    assert b"" == await client.closed()


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"x\r\n", 400),
        (b"0\r\nX: 1\r\n\r\n", 400),
        (b"ff0\r\n" + b"x" * 4080 + b"\r\n0\r\n\r\n", 413),
    ],
)
async def test_a_body_that_breaks_off_fails_its_reader_at_once(
    open_gate: OpenGate, upstream: RecordingUpstream, rest: bytes, status: int
) -> None:
    gate = await open_gate(max_body="1024")
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Transfer-Encoding: chunked", "Expect: 100-continue"))
    invited = await client.told()
    await client.send(b"1\r\n{\r\n" + rest)
    told = await client.told()

    assert (100, status) == (invited.status, told.status)
    assert b"" == await client.closed()
    assert [] == upstream.connections


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_first_head_that_does_not_come_is_not_waited_for(stage: Stage, sent: bytes) -> None:
    await stage.open(head_timeout=0.05)
    client = await stage.client(sent)

    assert b"" == await client.closed()
    assert {Turned.HEAD_TOO_SLOW: 1} == stage.server.tally.counts


async def test_a_further_head_has_its_own_time_from_its_first_byte(stage: Stage) -> None:
    await stage.open(head_timeout=0.3)
    client = await stage.client(GET)
    answered = await client.told()
    await client.send(b"GET")

    assert (200, b"") == (answered.status, await client.closed())
    assert {Turned.HEAD_TOO_SLOW: 1} == stage.server.tally.counts


async def test_a_late_head_waits_for_the_answer_before_it(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go_on.wait()
        return web.Response(body=b"late")

    await stage.open(slow, head_timeout=0.05)
    client = await stage.client(GET + b"GET")
    await stage.counted(Turned.HEAD_TOO_SLOW)
    go_on.set()

    assert b"late" == (await client.told()).body
    assert b"" == await client.closed()


@pytest.mark.parametrize("size", [20, 400_000])
async def test_a_body_that_is_under_way_still_arrives_once_no_other_request_is_taken(stage: Stage, size: int) -> None:
    has_begun, may_read = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        has_begun.set()
        await may_read.wait()
        return web.Response(body=b"%d" % len(await request.read()))

    await stage.open(slow, max_body=1_000_000)
    client = await stage.client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    await has_begun.wait()
    sending = asyncio.create_task(client.send(b"x" * size + GET))
    stage.server.pre_shutdown()
    may_read.set()
    told = await client.told()
    await sending

    assert (200, b"%d" % size) == (told.status, told.body)
    assert b"" == await client.closed()


async def test_an_idle_connection_is_closed_without_being_counted(stage: Stage) -> None:
    await stage.open(keepalive_timeout=0.05)
    client = await stage.client(GET)

    assert (200, b"") == ((await client.told()).status, await client.closed())
    assert {} == stage.server.tally.counts


async def test_a_connection_too_many_is_told_so_and_closed(stage: Stage) -> None:
    await stage.open(connections=2)
    first, second = await stage.client(GET), await stage.client(GET)
    served = [(await one.told()).status for one in (first, second)]
    third = await stage.client()
    told = await third.told()

    assert ([200, 200], 503, "1") == (served, told.status, told.fields["retry-after"])
    assert b"" == await third.closed()
    assert {Turned.TOO_MANY: 1} == stage.server.tally.counts


async def test_an_address_has_its_share_and_gets_it_back(stage: Stage) -> None:
    await stage.open(connections_per_address=1)
    first = await stage.client(GET)
    served = (await first.told()).status
    refused = (await (await stage.client()).told()).status
    first.close()

    async def again() -> int | None:
        status = (await (await stage.client(GET)).told()).status
        return status if status == 200 else None

    assert (200, 503, 200) == (served, refused, await eventually(again, 20, "room"))
    assert stage.server.tally.counts[Turned.TOO_MANY_OF_ONE] >= 1


async def test_nothing_is_held_once_all_have_left(stage: Stage) -> None:
    await stage.open(connections_per_address=3)
    for data in (GET, BAD, b"", b"GET", CHUNKED + b"x", GET * 40):
        client = await stage.client(data)
        client.leave()

    async def empty() -> bool | None:
        return (stage.server.open == 0 and not stage.server.connections) or None

    assert await eventually(empty, 20, "nobody, and nothing that is held of anybody")


async def test_a_trusted_proxy_has_any_share(stage: Stage) -> None:
    await stage.open(trusts=lambda address: address == "127.0.0.1", connections_per_address=1)
    clients = [await stage.client(GET) for _ in range(3)]

    assert [200] * 3 == [(await one.told()).status for one in clients]


async def test_the_last_request_of_a_connection_is_told_so(stage: Stage) -> None:
    await stage.open(requests_per_connection=3)
    client = await stage.client(GET * 100)
    told = [await client.told() for _ in range(3)]

    assert [True, True, False] == [one.keeps_alive for one in told]
    assert b"" == await client.closed()


async def test_a_balancer_says_who_its_client_is(stage: Stage) -> None:
    await stage.open(trusts=lambda address: address == "127.0.0.1", proxy_protocol=True)
    client = await stage.client(PREAMBLE[:9])
    await client.send(PREAMBLE[9:] + GET[:5])
    await client.send(GET[5:])

    assert b"192.0.2.7" == (await client.told()).body


async def test_the_clients_of_a_balancer_have_their_shares(stage: Stage) -> None:
    trusts = lambda address: address == "127.0.0.1"  # noqa: E731
    await stage.open(trusts=trusts, proxy_protocol=True, connections_per_address=1)
    first, second = await stage.client(PREAMBLE + GET), await stage.client(PREAMBLE + GET)
    third = await stage.client(PREAMBLE.replace(b".7", b".8") + GET)

    assert [200, 503, 200] == [(await one.told()).status for one in (first, second, third)]


@pytest.mark.parametrize("sent", [GET, b"PROXY TCP4 CANARY\r\n" + GET, b"", PREAMBLE[:20]])
async def test_a_balancer_without_its_preamble_is_cut_without_a_word(stage: Stage, sent: bytes) -> None:
    await stage.open(trusts=lambda address: True, proxy_protocol=True)
    client = await stage.client(sent)

    assert b"" == await client.closed()
    assert {Turned.NO_PREAMBLE: 1} == stage.server.tally.counts


@pytest.mark.parametrize("is_spoken", [True, False])
async def test_a_preamble_of_anybody_else_is_no_http(stage: Stage, is_spoken: bool) -> None:
    await stage.open(proxy_protocol=is_spoken)
    client = await stage.client(PREAMBLE + GET)

    assert 400 == (await client.told()).status
    assert b"" == await client.closed()


async def test_a_second_preamble_is_no_http(stage: Stage) -> None:
    await stage.open(trusts=lambda address: True, proxy_protocol=True)
    client = await stage.client(PREAMBLE + PREAMBLE + GET)

    assert 400 == (await client.told()).status


async def test_who_takes_no_answers_is_cut_whatever_they_are(stage: Stage) -> None:
    async def much(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x" * 100_000)

    await stage.open(much, stall_timeout=0.1, slack=0.1)
    client = await stage.client(GET * 200, window=4096)
    await stage.counted(Turned.STALLED)

    async def empty() -> bool | None:
        return stage.server.open == 0 or None

    assert await eventually(empty, 20, "nobody")
    client.close()


async def test_what_could_not_be_accepted_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    loop, others = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: others.append(context["message"]))
    tally = Tally(loop.time)
    with accept_errors_told(tally):
        for _ in range(1000):
            loop.call_exception_handler({"message": "socket.accept() out of system resource"})
        loop.call_exception_handler({"message": "something else"})
    loop.call_exception_handler({"message": "afterwards"})
    loop.set_exception_handler(None)

    assert {Turned.NOT_ACCEPTED: 1000} == tally.counts
    assert ["connection_refused"] == [record.message for record in caplog.records]
    assert ["something else", "afterwards"] == others


def test_an_ipv6_subscriber_is_one_and_the_same_with_every_address() -> None:
    assert household("2001:db8::1") == household("2001:db8::ffff:1") != household("2001:db8:0:1::1")
    assert "192.0.2.7" == household("192.0.2.7")


def messages_of(stream: bytes, loop: asyncio.AbstractEventLoop) -> int:
    """How many requests aiohttp finds. Raises where it finds something else."""
    parser = HttpRequestParser(
        BaseProtocol(loop), loop, 2**20, max_line_size=8190, max_headers=128, max_field_size=8190, auto_decompress=False
    )
    messages, upgraded, tail = parser.feed_data(stream)

    assert (False, b"") == (upgraded, tail)
    return len(messages)


async def test_what_goes_on_is_what_aiohttp_takes() -> None:
    loop, seen = asyncio.get_running_loop(), {True: 0, False: 0}
    for stream in changed(random.Random(1126)):
        framing = Framing(lambda target: 1000, 1000)
        try:
            passed, is_good = framing.feed(stream), True
        except NotHttp as refusal:
            passed, is_good = refusal.passed, False
        seen[is_good] += 1

        assert framing.heads == messages_of(passed, loop), stream
    assert min(seen.values()) > 100


def test_a_gate_without_the_compiled_parser_does_not_start(tmp_path: Path) -> None:
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1", "LLAMAGATE_STATE_DIR": str(tmp_path / "state")}
    ended = subprocess.run(
        [sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 != ended.returncode
    assert "no compiled parser" in " ".join((ended.stdout + ended.stderr).split())
    assert "Traceback" not in ended.stderr


async def test_an_upload_may_pause_no_longer_than_its_credit(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(door={"head_timeout": 0.2, "body_rate": 10})
    client = await gate.connect()
    await client.send(gate.request("POST", "/api/chat", "Content-Length: 900") + b"x" * 800)

    assert 408 == (await client.told()).status, "80 seconds' worth of bytes are no credit"
    assert [] == upstream.connections


async def test_a_stream_outlives_every_deadline_of_the_door(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    go_on = asyncio.Event()
    gate = await open_gate(door={"head_timeout": 0.05})
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), b"0\r\n\r\n")
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question()))
    await client.until(NATIVE_LINES[0])
    asyncio.get_running_loop().call_later(0.15, go_on.set)

    assert (NATIVE_LINES[0] + NATIVE_LINES[2], True) == ((told := await client.told()).body, told.clean)


async def test_a_client_of_http_1_0_is_never_invited(gate: Gate, upstream: RecordingUpstream) -> None:
    asking = gate.post("/api/chat", b"{", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")

    assert 400 == (await gate.ask(asking)).status, "RFC 9110 §10.1.1"
