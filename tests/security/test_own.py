"""What the gate tells a caller of itself: nothing of anybody else, at nobody's cost, and whatever it is asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.opening import gate as open_over
from proxy.bootstrap.storage import records
from proxy.config.settings import Settings
from proxy.errors import StorageFailed
from proxy.ledger import Sum, Wanted
from proxy.ledger.under_way import Stage
from proxy.own.bounded import MOST_WAITING
from proxy.vocabulary import Entry, Outcome, Tongue
from tests.conftest import OWNER, Gate, Heard, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question
from tests.fakes.book import FakeBook
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming, whole

OWN = ("/v1/key", "/v1/usage")
CHAT = "/v1/chat/completions"


async def written(gate: Gate, count: int) -> list[Entry]:
    """The ledger, once it has so many lines: it is a moment behind."""
    async with asyncio.timeout(20):
        while len(entries := await gate.kept.book.last(1000)) < count:
            pass
    return entries


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[RawClient]:
    client = await gate.connect()
    yield client
    client.close()


async def told_on(client: RawClient, request: bytes) -> Told:
    await client.send(request)
    return await client.told()


async def usage(gate: Gate, query: str = "", key: str | None = None) -> Any:
    told = await gate.ask(gate.get(f"/v1/usage{query}", key=key))

    assert (200, "application/json", "no-store") == (
        told.status,
        told.fields["content-type"],
        told.fields["cache-control"],
    ), told.body
    return json.loads(told.body)


async def test_a_caller_sees_its_own_calls_and_nobody_elses(gate: Gate, upstream: RecordingUpstream) -> None:
    keys = {"alice": gate.key, "her other key": await gate.issue("alice"), "bob": await gate.issue("bob")}
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    for count, key in enumerate(keys.values(), 1):
        for _ in range(count):
            assert 200 == (await gate.ask(gate.post(CHAT, question(), key=key))).status
    await gate.ask(gate.post(CHAT, question(), key=""))
    await written(gate, 7)
    reached = len(upstream.connections)
    said = {name: await usage(gate, "?by=model,endpoint,outcome,day", key) for name, key in keys.items()}

    assert [29, 58, 87] == [one["total"]["total_tokens"] for one in said.values()]
    assert [1, 2, 3] == [one["total"]["calls"] for one in said.values()]
    assert ["alice", "alice", "bob"] == [one["user"] for one in said.values()]
    assert 3 == len({one["key_id"] for one in said.values()})
    for one in said.values():
        assert [("llama3.2:1b", CHAT)] == [(row["model"], row["endpoint"]) for row in one["data"]]
    assert reached == len(upstream.connections)


@pytest.mark.parametrize("query", ["key={id}", "key_id={id}", "user=bob", "team=red", "by=key", "by=user", "by=team"])
async def test_nobody_can_ask_for_anybody_else(gate: Gate, query: str) -> None:
    key = await gate.issue("bob", team="red")
    key_id = json.loads((await gate.ask(gate.get("/v1/key", key=key))).body)["id"]
    told = await gate.ask(gate.get(f"/v1/usage?{query.format(id=key_id)}"))

    assert 400 == told.status
    assert b"bob" not in told.body
    assert key_id.encode() not in told.body


@pytest.mark.parametrize("path", OWN)
async def test_a_call_of_the_gates_own_has_its_line_and_reaches_nobody(
    gate: Gate, client: RawClient, upstream: RecordingUpstream, path: str
) -> None:
    looks = len(upstream.looks)
    told = await told_on(client, gate.get(path))
    entry = await gate.entry()

    assert (200, Outcome.SERVED, 200, path) == (told.status, entry.outcome, entry.status, entry.endpoint)
    assert ("alice", 0, True, 0.0, None) == (
        entry.user,
        entry.usage.tokens,
        entry.usage.exact,
        entry.gpu_seconds,
        entry.model,
    )
    assert (len(told.body), told.fields["x-request-id"]) == (entry.bytes_out, entry.id)
    assert ([], looks) == (upstream.connections, len(upstream.looks))


@pytest.mark.parametrize("path", OWN)
async def test_they_are_answered_while_ollama_has_never_been_there(open_gate: OpenGate, path: str) -> None:
    gate = await open_gate(upstream="http://127.0.0.1:1")

    assert 200 == (await gate.ask(gate.get(path))).status
    assert 503 == (await gate.ask(gate.get("/v1/models"))).status


async def test_who_has_nothing_left_can_ask_and_it_costs_nothing(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    limits = {"requests_per_minute": 1, "tokens_per_day": 20_000, "concurrent": 1}
    gate = await open_gate(plans={"default": {"limits": limits}})
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    before = json.loads((await gate.ask(gate.get("/v1/key"))).body)
    statuses = [(await gate.ask(gate.post(CHAT, question()))).status for _ in range(2)]
    own = [await gate.ask(gate.get(path)) for path in OWN * 5]
    left = {one.name: one.left for one in (await gate.desk.limits(gate.key)).standings}

    assert [200, 429] == statuses
    assert {200} == {told.status for told in own}
    assert {"0"} == {told.fields["x-ratelimit-remaining-requests"] for told in own}
    assert {"key-requests": 1, "key-tokens-day": 20_000, "key-concurrent": 1} == {
        one["name"]: one["remaining"] for one in before["limits"] if one["name"].startswith("key-")
    }
    assert (0, 20_000 - 29, 1) == (left["key-requests"], left["key-tokens-day"], left["key-concurrent"])


@pytest.mark.parametrize("path", OWN)
async def test_strangers_are_told_nothing_and_counted(open_gate: OpenGate, path: str) -> None:
    gate = await open_gate(failed_attempts_per_minute=1)
    told = [await gate.ask(gate.get(path, key=key)) for key in ("", "sk-lg_nobody")]

    assert [(401, "invalid_api_key"), (429, "too_many_failures")] == [
        (one.status, json.loads(one.body)["error"]["code"]) for one in told
    ]


@pytest.mark.parametrize("path", OWN)
async def test_a_plan_without_leave_to_read_is_refused(open_gate: OpenGate, path: str) -> None:
    gate = await open_gate(plans={"default": {"grants": ["inference"]}})
    told = await gate.ask(gate.get(path))

    assert (403, "forbidden") == (told.status, json.loads(told.body)["error"]["code"])


@pytest.mark.parametrize("path", OWN)
async def test_they_take_get_and_nothing_else(gate: Gate, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        told = await gate.ask(gate.post(path, b"{}", method=method))
        assert (405, "GET") == (told.status, told.fields["allow"])
    assert 405 == (await gate.ask(gate.get(path, method="HEAD"), bodiless=True)).status


async def test_where_the_base_url_is_wrong_the_cure_is_told(gate: Gate) -> None:
    for path in ("/key", "/usage"):
        told = await gate.ask(gate.get(path))
        assert 404 == told.status
        assert b"must end with /v1" in told.body


async def test_what_is_asked_is_told_back_in_the_words_of_openai(gate: Gate) -> None:
    for query in ("?since=yesterday", "?by=user", "?tz=Mars", "?nonsense=1", "?since=2026-01-02&until=2026-01-01"):
        told = await gate.ask(gate.get(f"/v1/usage{query}"))
        entry = await gate.entry()
        error = json.loads(told.body)["error"]

        assert (400, "invalid_request_error", "invalid_request") == (told.status, error["type"], error["code"])
        assert (Outcome.REFUSED, 0, True) == (entry.outcome, entry.usage.tokens, entry.usage.exact)


PARAMETERS = st.sampled_from(["since", "until", "by", "tz", "user", "key", ""])
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["2026-11-01", "1970-01-01T00:00", "9998-12-31T23:59:59.999999-23:59", "model,day", "UTC", "%", "\0"]
    ),
)
QUERIES = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    st.binary(max_size=20).map(quote),
    st.lists(st.tuples(PARAMETERS, VALUES), max_size=4).map(
        lambda pairs: "&".join(f"{name}={quote(value, errors='replace')}" for name, value in pairs)
    ),
)


async def test_any_query_is_answered_or_refused(gate: Gate, client: RawClient) -> None:
    key = await gate.issue("carol")
    queries: list[str] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
    @given(QUERIES)
    def collect(query: str) -> None:
        queries.append(query)

    collect()
    for query in queries:
        told = await told_on(client, gate.get(f"/v1/usage?{query}", key=key))
        assert told.status in (200, 400), query
        if told.status == 200:
            assert "carol" == json.loads(told.body)["user"]
        if not told.keeps_alive:
            client = await gate.connect()


class Book(FakeBook):
    """One that takes its time, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[Wanted] = []
        self.may_end = asyncio.Event()
        self.fails = False

    async def sums(self, wanted: Wanted) -> list[Sum]:
        self.wanted.append(wanted)
        if self.fails:
            raise StorageFailed from OSError("no disk")
        await self.may_end.wait()
        return await super().sums(wanted)


@asynccontextmanager
async def gate_over(book: Book, upstream: RecordingUpstream, folder: Path) -> AsyncIterator[Gate]:
    told = Settings.model_validate({"listen": "127.0.0.1:0", "upstream": upstream.url, "state_dir": folder})
    async with records(told) as kept:
        there, heard = replace(kept, book=book), Heard()
        async with open_over(told, there, [heard]) as opened:
            desk = desk_over(there, told, opened.counting.office, OWNER)
            gate = Gate(opened, there, desk, (await desk.create_key("alice")).secret, heard)
            yield gate
            for client in gate.clients:
                client.close()


async def test_who_asks_all_the_time_has_one_question_looked_into(upstream: RecordingUpstream, tmp_path: Path) -> None:
    book = Book()
    async with gate_over(book, upstream, tmp_path) as gate, asyncio.timeout(10):
        asking = {asyncio.create_task(gate.ask(gate.get("/v1/usage"))) for _ in range(MOST_WAITING + 5)}
        waiting = asking
        while len(waiting) > MOST_WAITING:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        book.may_end.set()
        told = await asyncio.gather(*asking)

    assert [200] * MOST_WAITING + [429] * 5 == sorted(one.status for one in told)
    assert {"1"} == {one.fields["retry-after"] for one in told if one.status == 429}
    assert 1 == len(book.wanted)


async def test_a_book_that_fails_is_told_in_the_words_of_openai(upstream: RecordingUpstream, tmp_path: Path) -> None:
    book = Book()
    book.fails = True
    async with gate_over(book, upstream, tmp_path) as gate:
        told = await gate.ask(gate.get("/v1/usage"))
        entry = await gate.entry()
        key = await gate.ask(gate.get("/v1/key"))

    error = json.loads(told.body)["error"]
    assert (503, "api_error", "storage_failed") == (told.status, error["type"], error["code"])
    assert (503, "storage_failed", True) == (entry.status, entry.reason, entry.usage.exact)
    assert 200 == key.status


async def test_whoever_looks_at_the_running_gate_sees_its_calls_and_no_word_of_them(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    go_on = asyncio.Event()
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
    client, stranger = await gate.connect(), await gate.connect()
    await stranger.send(gate.post("/api/chat", question(), key="")[:-1])
    await client.send(gate.post("/api/chat", question()))
    await client.until(NATIVE_LINES[0])
    (seen,) = gate.opened.books.under_way()
    status = gate.opened.books.status()
    go_on.set()
    await client.told()
    assert {None, "alice"} == {(await gate.entry()).user for _ in range(2)}

    assert ("alice", "/api/chat", "llama3.2:1b", Stage.ANSWERING, 1) == (
        seen.user,
        seen.endpoint,
        seen.model,
        seen.stage,
        seen.completion_tokens,
    )
    assert len(NATIVE_LINES[0]) == seen.bytes_out
    assert "blue" not in str(seen)
    assert (0, 0, 0.0) == (status.lost_lines, status.refused_calls, status.behind_seconds)
    assert [] == list(gate.opened.books.under_way())
