import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from proxy.gateway import Gateway
from proxy.ledger.line import Ledger
from proxy.ledger.steps import Step
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryStore
from proxy.limits.strangers import Strangers
from proxy.telemetry import logs
from proxy.vocabulary import Caller, Entry, Outcome
from proxy.web.app import FrontDoor
from proxy.web.connection import Server
from proxy.web.manners import Manners
from tests.conftest import Gate, Heard
from tests.fakes.answers import NATIVE_LINES, NDJSON, question, streamed
from tests.fakes.moments import FakeMoments
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import RecordingUpstream, chunk, streaming, whole

TAGS = whole(b'{"models":[]}')


async def test_callers_on_one_connection_are_told_apart(gate: Gate, upstream: RecordingUpstream) -> None:
    bob = await gate.issue("bob")
    upstream.says(TAGS)
    client = await gate.connect()
    statuses = []
    for key in (gate.key, "", bob, "sk-lg_wrong", gate.key):
        await client.send(gate.get("/api/tags", key=key))
        statuses.append((await client.told()).status)

    assert [200, 401, 200, 401, 200] == statuses
    assert ["alice", None, "bob", None, "alice"] == [entry.user for entry in gate.heard.entries[:4]] + [
        (await _last(gate, 5)).user
    ]


async def _last(gate: Gate, count: int) -> Entry:
    return [await gate.entry() for _ in range(count)][-1]


async def test_pipelined_requests_are_answered_in_order(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(TAGS)
    client = await gate.connect()
    three = gate.get("/api/tags"), gate.post("/api/chat", question(), key="x"), gate.get("/api/version")
    await client.send(b"".join(three))

    assert [200, 401, 200] == [(await client.told()).status for _ in three]
    assert ["/api/tags", "/api/chat", "/api/version"] == [(await gate.entry()).endpoint for _ in three]
    assert ["GET /api/tags HTTP/1.1", "GET /api/version HTTP/1.1"] == [asked.line for asked in upstream.asked]


async def test_a_body_on_a_get_is_no_second_request(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(TAGS)
    smuggled = gate.get("/api/version")
    client = await gate.connect()
    await client.send(gate.get("/api/tags", f"Content-Length: {len(smuggled)}") + smuggled + gate.get("/nowhere"))

    assert [200, 404] == [(await client.told()).status for _ in range(2)]
    assert ["GET /api/tags HTTP/1.1"] == [asked.line for asked in upstream.asked]


NOT_HTTP = {
    "a control byte beside a key": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer CANARY\x01\r\n\r\n",
    "a control byte in the query": b"GET /?key=CANARY\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no request line": b"CANARY\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nCANARY\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n CANARY\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\nX-Key: CANARY\n\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nX: CANARY\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2CANARY\r\n\r\n",
    "a transfer coding that is none": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CANARY\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: CANARY\r\n\r\n",
    "an endless field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"CANARY" * 2000 + b"\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: CANARY\r\n" * 200 + b"\r\n",
}


TOO_LARGE = ("an endless field", "too many fields")


@pytest.mark.parametrize("what", NOT_HTTP)
async def test_what_is_not_http_is_refused_and_never_repeated(
    gate: Gate, upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    client = await gate.connect()
    await client.send(NOT_HTTP[what])
    told = await client.told()

    assert (431 if what in TOO_LARGE else 400, "application/json", "no-store") == (
        told.status,
        told.fields["content-type"],
        told.fields["cache-control"],
    )
    assert "error" in json.loads(told.body)
    assert b"CANARY" not in told.head + told.body
    assert b"" == await client.closed()
    assert "CANARY" not in caplog.text
    assert "Traceback" not in caplog.text
    assert ["not_http"] == [record.message for record in caplog.records if record.name == "proxy.web"]
    assert [] == upstream.connections
    assert 401 == (await gate.ask(gate.get("/", key=""))).status, "the gate goes on"


@pytest.mark.parametrize("host", ["a:99999", "\xff", "a/../b?c#d@e", "a b", "", "evil.example"])
async def test_the_clients_host_means_nothing(gate: Gate, upstream: RecordingUpstream, host: str) -> None:
    upstream.says(TAGS)
    told = await gate.ask(gate.get("/api/tags").replace(b"gate.example", host.encode("latin-1")))

    assert told.status in (200, 400)
    assert {upstream.url.removeprefix("http://")} >= {asked.fields["host"] for asked in upstream.asked}


async def test_no_answer_names_what_it_is_made_with(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    requests = (
        gate.post("/api/chat", question()),
        gate.get("/nowhere"),
        gate.get("/", key=""),
        gate.post("/api/chat", b"{"),
        b"\x01\r\n\r\n",
    )
    for request in requests:
        told = await gate.ask(request)

        assert "llamagate" == told.fields["server"]
        assert b"aiohttp" not in told.head.lower() + told.body.lower()
        assert b"python" not in told.head.lower() + told.body.lower()


async def test_every_answer_carries_the_id_of_its_entry(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    requests = (gate.post("/api/chat", question()), gate.get("/nowhere"), gate.get("/", "X-Request-Id: mine", key=""))
    ids = [((await gate.ask(request)).fields["x-request-id"], (await gate.entry()).id) for request in requests]

    assert all(told == entry for told, entry in ids)
    assert 3 == len(set(ids))


async def test_every_way_to_end_is_one_line_in_the_book(gate: Gate, upstream: RecordingUpstream) -> None:
    await gate.ask(gate.get("/api/tags", key=""))
    await gate.ask(gate.post("/api/chat", b"{"))
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    await gate.ask(gate.post("/api/chat", question()))
    upstream.says(*streamed(NDJSON, NATIVE_LINES[:1]))
    await gate.ask(gate.post("/api/chat", question()))
    upstream.says(whole(b'{"error":"no"}', status="500 No"))
    await gate.ask(gate.post("/api/chat", question()))
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    leaver = await gate.connect()
    await leaver.send(gate.post("/api/chat", question()))
    await leaver.until(NATIVE_LINES[0])
    leaver.leave()
    outcomes = [(await gate.entry()).outcome for _ in range(6)]

    assert ["refused", "refused", "served", "truncated", "backend_failed", "client_left"] == outcomes


class Absent:
    """An ``Authenticate`` with a mistake in it, and an ``Upstream`` that is never asked."""

    async def caller(self, secrets: tuple[str, ...]) -> Caller:
        raise LookupError(f"CANARY {secrets}")

    def open(self, ask: object) -> None:
        raise AssertionError("nobody is let in")


class Shelf:
    """A ``Keeper`` that keeps nothing."""

    full = False

    def note(self, step: Step) -> None:
        """It is on the shelf."""

    async def keep(self, step: Step) -> None:
        """It is on the shelf."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the gate would print."""
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    handlers, level, alembics = root.handlers[:], root.level, alembic.level
    printed = io.StringIO()
    logs.configure(pretty=False, level="debug", stream=printed)
    yield printed
    root.handlers[:] = handlers
    root.setLevel(level)
    alembic.setLevel(alembics)


async def test_a_mistake_of_ours_is_a_constant_answer_and_no_text_in_the_log(log: io.StringIO) -> None:
    heard = Heard()
    limiter = Limiter(MemoryStore(FakeMoments()), lambda pattern, model: True, lambda: "c1")
    strangers, ledger = Strangers(60, lambda: 0), Ledger(Shelf(), [heard], lambda: 0.0)
    gateway = Gateway(strangers, Absent(), limiter, Absent(), ledger)  # type: ignore[arg-type]
    manners = Manners(max_body=1024)
    server = Server(FrontDoor(gateway, manners, now=lambda: datetime.now(UTC), new_id=lambda: "req_1"), manners)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    client = await RawClient.connect("127.0.0.1", listening.sockets[0].getsockname()[1])
    await client.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: CANARY-KEY\r\n\r\n")
    told = await client.told()
    entry = await heard.next()
    client.close()
    listening.close()
    await server.shutdown(0.1)

    assert 500 == told.status
    assert {
        "message": "The gate failed on this request.",
        "type": "api_error",
        "param": None,
        "code": "internal_error",
    } == (json.loads(told.body)["error"])
    assert (Outcome.GATE_FAILED, 500, "internal_error") == (entry.outcome, entry.status, entry.reason)
    crashed = [json.loads(line) for line in log.getvalue().splitlines() if "call_crashed" in line]
    assert [("req_1", "LookupError")] == [(line["call"], line["error"]) for line in crashed]
    assert "CANARY" not in log.getvalue()
