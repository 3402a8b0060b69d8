"""What must hold of limits whatever a caller tries: who is told what, what reaches the backend, what it costs."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.limits.verdict import Kind
from proxy.policy.cost import BYTES_PER_TOKEN, TEMPLATE
from proxy.policy.endpoints import ENDPOINTS, tongue_of
from proxy.vocabulary import Endpoint, Level, Limits, Outcome, Risk, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import MESSAGES, MODEL, STREAMS, WHOLE, answer_of, question, question_for
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import ABORT, CLOSE, RecordingUpstream, Step, chunk, head, streaming, whole

FAR = 10**8
"""Of anything, more than these tests use."""
EVERYTHING = {"owner": True, "grants": [risk.value for risk in Risk]}
ASKED: Mapping[str, dict[str, Any]] = {
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "why?"},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "why?"},
    "/v1/responses": {"input": "why?"},
    "/v1/messages": {"messages": MESSAGES},
}
"""What makes a prompt on each route that writes an answer."""


def longest(path: str, amount: int) -> dict[str, Any]:
    """How each route is told how long an answer may get."""
    if tongue_of(path) is Tongue.OLLAMA:
        return {"options": {"num_predict": amount}}
    return {"max_output_tokens" if path == "/v1/responses" else "max_tokens": amount}


def most_told(path: str, body: bytes) -> int:
    """What the backend was told of it."""
    said = json.loads(body)
    return int({**said, **said.get("options", {})}[next(iter(longest(path, 0).get("options", longest(path, 0))))])


def prompt_of(path: str, said: Mapping[str, Any]) -> int:
    """The tokens that its prompt is taken to have."""
    texts = [json.dumps(value) for name, value in said.items() if name in ("messages", "prompt", "input")]
    assert 1 == len(texts), path
    return TEMPLATE - (-len(texts[0]) // BYTES_PER_TOKEN)


def limited(**limits: Any) -> dict[str, Any]:
    return {"default": {"limits": limits}}


async def used(gate: Gate) -> dict[Kind, int]:
    """What is used of each limit that the gate's own caller has."""
    view = await gate.desk.limits(gate.key)
    return {one.kind: one.most - one.left for one in view.standings if one.account.level is Level.KEY}


async def told_and_line(gate: Gate, request: bytes) -> tuple[Told, Any]:
    told = await gate.ask(request)
    return told, await gate.entry()


def words_of(tongue: Tongue, body: bytes) -> tuple[str | None, str | None, str]:
    """The type, the code and the message of a refusal, and nothing else in it."""
    said = json.loads(body)
    if tongue is Tongue.OLLAMA:
        assert ["error"] == list(said)
        return None, None, said["error"]
    error = said["error"]
    if tongue is Tongue.ANTHROPIC:
        assert ({"type", "error", "request_id"}, "error") == (said.keys(), said["type"])
        return error["type"], None, error["message"]
    assert {"message", "type", "param", "code"} == error.keys()
    return error["type"], error["code"], error["message"]


@pytest.mark.parametrize(
    "endpoint", [one for one in ENDPOINTS if not one.own], ids=lambda one: f"{one.method} {one.path}"
)
async def test_on_every_route_the_second_call_of_one_that_is_allowed_is_refused_in_its_own_tongue(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    gate = await open_gate(plans={"default": {**EVERYTHING, "limits": {"requests_per_minute": 1}}})
    upstream.says(*answer_of(endpoint, stream=False))
    asking, bodiless = question_for(endpoint), endpoint.method == "HEAD"
    request = gate.post(asking.path, asking.body, f"Content-Type: {asking.content_type}", method=endpoint.method)
    first = await gate.ask(request, bodiless=bodiless)
    reached = len(upstream.connections)
    second = await gate.ask(request, bodiless=bodiless)
    served, refused = [await gate.entry() for _ in range(2)]

    assert ((200, Outcome.SERVED), 1) == ((first.status, served.outcome), reached), first.body
    assert (429, Outcome.REFUSED, 429, "key-requests") == (
        second.status,
        refused.outcome,
        refused.status,
        refused.reason,
    )
    assert (endpoint.path, 0, 0) == (refused.endpoint, refused.usage.tokens, refused.gpu_seconds)
    assert 1 == len(upstream.connections) == len(upstream.asked)
    assert 1 <= int(second.fields["retry-after"]) <= 60
    assert 1 <= int(second.fields["retry-after-ms"]) <= 60_000
    assert "0" == first.fields["x-ratelimit-remaining-requests"] == second.fields["x-ratelimit-remaining-requests"]
    if not bodiless:
        kinds = {Tongue.OLLAMA: (None, None), Tongue.ANTHROPIC: ("rate_limit_error", None)}
        kind, code, message = words_of(endpoint.tongue, second.body)
        assert kinds.get(endpoint.tongue, ("requests", "rate_limit_exceeded")) == (kind, code)
        assert message.startswith("Limit reached of this key: 1 requests per minute, 1 at once. Try again in ")


async def test_an_address_that_has_failed_sixty_times_is_told_to_wait_and_whoever_has_a_key_there_is_not(
    gate: Gate, upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    guesses = [gate.get("/api/tags", key=key) for key in ("", "sk-llamagate-nobody", "x" * 200)]
    answers = [await gate.ask(guesses[number % 3]) for number in range(63)]
    served = await gate.ask(gate.get("/api/tags"))
    entries = [await gate.entry() for _ in range(61)]
    written = await gate.written(61)

    assert [401] * 60 + [429] * 3 == [told.status for told in answers]
    assert {"1"} == {told.fields["retry-after"] for told in answers[60:]}
    assert all(0 < int(told.fields["retry-after-ms"]) <= 1000 for told in answers[60:])
    assert 200 == served.status
    reasons = [f"invalid_api_key.{why}" for why in ("nothing_shown", "malformed", "malformed")]
    assert reasons * 20 + [None] == [entry.reason for entry in entries]
    assert (61, 61) == (len(written), len(gate.heard.entries)), "those that are told to wait fill no disk"
    assert 1 == sum(record.getMessage() == "strangers_refused" for record in caplog.records)
    assert 1 == len(upstream.connections)


async def test_the_wait_of_a_stranger_is_told_in_the_tongue_of_the_route(open_gate: OpenGate) -> None:
    gate = await open_gate(failed_attempts_per_minute=1)
    await gate.ask(gate.get("/api/tags", key=""))
    for path, _, _ in STREAMS.values():
        told = await gate.ask(gate.post(path, question(), key=""))
        kind, code, message = words_of(tongue_of(path), told.body)

        assert (429, "Too many calls from this address had no valid API key. Try again later.") == (
            told.status,
            message,
        )
        assert (kind, code) in ((None, None), ("rate_limit_error", None), ("requests", "too_many_failures"))
        assert not [name for name in told.fields if "ratelimit" in name], "there is nobody to tell what is left to"


async def test_two_credentials_and_a_bad_one_count_alike(open_gate: OpenGate) -> None:
    gate = await open_gate(failed_attempts_per_minute=2)
    two = gate.get("/api/tags", f"X-Api-Key: {gate.key}")
    statuses = [(await gate.ask(request)).status for request in (two, gate.get("/api/tags", key="x"), two)]

    assert [400, 401, 429] == statuses
    assert 200 == (await gate.ask(gate.get("/api/version"))).status


async def test_over_ipv6_strangers_are_counted_too(open_gate: OpenGate) -> None:
    gate = await open_gate(listen="[::1]:0", failed_attempts_per_minute=2)
    there = urlsplit(gate.standing.address)

    async def ask(key: str | None) -> int:
        client = RawClient(*await asyncio.open_connection("::1", there.port))
        gate.clients.append(client)
        await client.send(gate.get("/api/version", key=key))
        return (await client.told()).status

    assert [401, 401, 429, 200] == [await ask(key) for key in ("x", "", "y", None)]
    assert {"::1"} == {entry.peer for entry in await gate.written(3)}


@pytest.mark.parametrize("path", ASKED)
async def test_an_answer_that_can_never_fit_is_refused_and_the_longest_that_can_is_told(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(limits={}, plans=limited(tokens_per_minute=200, tokens_per_day=FAR))
    upstream.says(whole(WHOLE[tongue_of(path)]))
    prompt = prompt_of(path, ASKED[path])
    asking = {"model": MODEL, "stream": False, **ASKED[path]}
    told, line = await told_and_line(gate, gate.post(path, {**asking, **longest(path, 201 - prompt)}))
    kind, code, message = words_of(tongue_of(path), told.body)

    assert (400, Outcome.REFUSED, "tokens_exceed_limit") == (told.status, line.outcome, line.reason)
    assert (kind, code) in (
        (None, None),
        ("invalid_request_error", None),
        ("invalid_request_error", "tokens_exceed_limit"),
    )
    assert message.endswith(f"Ask for an answer of at most {200 - prompt} tokens.")
    assert "retry-after" not in told.fields, "waiting would not help"
    assert ("200", "200") == tuple(told.fields[f"x-ratelimit-{what}-tokens"] for what in ("limit", "remaining"))
    assert ([], {Kind.TOKENS: 0, Kind.DAY_TOKENS: 0}) == (upstream.connections, await used(gate))

    fits = await gate.ask(gate.post(path, {**asking, **longest(path, 200 - prompt)}))

    assert (200, "0") == (fits.status, fits.fields["x-ratelimit-remaining-tokens"])


@pytest.mark.parametrize("path", ASKED)
async def test_a_prompt_that_can_never_fit_is_too_large(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(limits={}, plans=limited(tokens_per_day=200))
    text = "why? " * 100
    said = {"messages": [{"role": "user", "content": text}]} if "messages" in ASKED[path] else {"prompt": text}
    if path == "/v1/responses":
        said = {"input": text}
    told, line = await told_and_line(gate, gate.post(path, {"model": MODEL, **said, **longest(path, 1)}))
    kind, code, message = words_of(tongue_of(path), told.body)

    assert (413, Outcome.REFUSED, "prompt_exceeds_limit") == (told.status, line.outcome, line.reason)
    assert (kind, code) in (
        (None, None),
        ("request_too_large", None),
        ("invalid_request_error", "prompt_exceeds_limit"),
    )
    assert message.endswith("Shorten it.")
    assert "retry-after" not in told.fields
    assert ([], {Kind.DAY_TOKENS: 0}) == (upstream.connections, await used(gate))


@pytest.mark.parametrize("path", ASKED)
async def test_an_answer_of_which_no_length_is_said_gets_what_fits(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(plans=limited(tokens_per_minute=200))
    upstream.says(whole(WHOLE[tongue_of(path)]))
    prompt = prompt_of(path, ASKED[path])
    told = await gate.ask(gate.post(path, {"model": MODEL, "stream": False, **ASKED[path]}))
    (asked,) = upstream.asked

    assert (200, "0") == (told.status, told.fields["x-ratelimit-remaining-tokens"]), told.body
    assert 200 - prompt == most_told(path, asked.body)
    assert f"={200 - prompt}" in told.fields["x-llamagate-changed"]


GOOD: tuple[Step, ...] = (whole(WHOLE[Tongue.OPENAI]),)
BUSY: tuple[Step, ...] = (whole(b'{"error":"server busy"}', status="503 Service Unavailable"),)
ANSWERS: dict[int, tuple[str, dict[str, Any], tuple[Step, ...]]] = {
    # The path beside /v1/chat/completions, what is said, and what the backend answers.
    200: ("", question(max_tokens=5), GOOD),
    400: ("", {"model": MODEL, "messages": MESSAGES, "max_tokens": "5"}, GOOD),
    403: ("/api/me", {}, GOOD),
    404: ("", {**question(), "model": "no-such-model"}, GOOD),
    405: ("/v1/models", {}, GOOD),
    413: ("", question(padding="x" * 3000), GOOD),
    502: ("", question(max_tokens=5), (b"no HTTP at all\r\n\r\n", CLOSE)),
    503: ("", question(max_tokens=5), BUSY),
}


@pytest.mark.parametrize("status", ANSWERS)
async def test_every_answer_to_a_caller_tells_what_is_left(
    open_gate: OpenGate, upstream: RecordingUpstream, status: int
) -> None:
    gate = await open_gate(
        plans=limited(requests_per_minute=600, tokens_per_day=FAR, concurrent=7),
        max_body=2048,
        limits={"concurrent": 9},
    )
    path, said, script = ANSWERS[status]
    upstream.says(*script)
    told = await gate.ask(gate.post(path or "/v1/chat/completions", said))
    admitted = status in (200, 502, 503)

    assert status == told.status, told.body
    assert ("600", str(FAR)) == tuple(told.fields[f"x-ratelimit-limit-{what}"] for what in ("requests", "tokens"))
    assert str(599 if admitted else 600) == told.fields["x-ratelimit-remaining-requests"]
    assert (int(told.fields["x-ratelimit-remaining-tokens"]) < FAR) is admitted
    assert told.fields["x-ratelimit-reset-requests"].endswith("s")
    assert [
        '"everybody-concurrent";q=9;qu="concurrent-requests"',
        '"key-concurrent";q=7;qu="concurrent-requests"',
        '"key-requests";q=600;w=60',
        f'"key-tokens-day";q={FAR};qu="tokens";w=86400',
    ] == sorted(told.fields["ratelimit-policy"].split(", "))
    assert f'"key-concurrent";r={6 if admitted else 7}' in told.fields["ratelimit"].split(", ")
    assert not [name for name in told.fields if name.startswith("anthropic-")]


async def test_a_refusal_by_a_limit_tells_what_is_left_too(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(plans=limited(requests_per_minute=1, tokens_per_day=FAR))
    upstream.says(*GOOD)
    for status in (200, 429):
        told = await gate.ask(gate.post("/v1/chat/completions", question(max_tokens=5)))

        assert (status, "1", "0") == (
            told.status,
            told.fields["x-ratelimit-limit-requests"],
            told.fields["x-ratelimit-remaining-requests"],
        )
        assert {"x-ratelimit-remaining-tokens", "ratelimit", "ratelimit-policy"} <= told.fields.keys()


async def test_who_has_no_key_is_told_of_no_limit(open_gate: OpenGate) -> None:
    gate = await open_gate(plans=limited(requests_per_minute=1), limits={"concurrent": 3})
    told = await gate.ask(gate.post("/v1/messages", question(), key=""))

    assert (401, []) == (told.status, [name for name in told.fields if "ratelimit" in name])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/models", "/api/chat", "/v1/responses"])
async def test_only_anthropics_route_tells_it_in_anthropics_way(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(plans=limited(requests_per_minute=1, tokens_per_day=FAR))
    upstream.says(whole(WHOLE[tongue_of(path)]))
    method = "GET" if path == "/v1/models" else "POST"
    asked = {"model": MODEL, "stream": False, **ASKED.get(path, {}), **longest(path, 5)}
    answers = [await gate.ask(gate.post(path, asked if method == "POST" else b"", method=method)) for _ in range(2)]

    assert [200, 429] == [told.status for told in answers], answers[0].body
    names = {
        f"anthropic-ratelimit-{what}-{one}"
        for what in ("requests", "tokens")
        for one in ("limit", "remaining", "reset")
    }
    for told in answers:
        assert (names if path == "/v1/messages" else set()) == {
            name for name in told.fields if name.startswith("anthropic-")
        }
        assert "x-ratelimit-limit-requests" in told.fields


@pytest.mark.parametrize("politely", [True, False], ids=["closed", "reset"])
@pytest.mark.parametrize("tongue", STREAMS)
async def test_who_leaves_a_stream_pays_what_they_heard_and_gets_back_the_rest(
    open_gate: OpenGate, upstream: RecordingUpstream, tongue: Tongue, politely: bool
) -> None:
    gate = await open_gate(plans=limited(tokens_per_minute=10_000, tokens_per_day=10_000, concurrent=1))
    path, content_type, pieces = STREAMS[tongue]
    be, cause = [next(piece for piece in pieces if word in piece) for word in (b'"Be"', b'"cause"')]
    words = [*[be] * 7, cause]
    upstream.says(streaming(content_type), *map(chunk, (pieces[0], *words)), asyncio.Event())
    text = "why is the sky blue, and what of it can be seen at night? " * 5
    said = {"input": text} if tongue is Tongue.RESPONSES else {"messages": [{"role": "user", "content": text}]}
    client = await gate.connect()
    await client.send(gate.post(path, {"model": MODEL, "stream": True, **said, **longest(path, 5000)}))
    asked = await upstream.next()
    await client.until(cause)
    during = await used(gate)
    client.close() if politely else client.leave()
    line = await gate.entry()
    async with asyncio.timeout(20):
        await asked.connection.closed.wait()
    after = await used(gate)

    floor = len(text) // 5
    assert during[Kind.DAY_TOKENS] > 5000
    assert (Outcome.CLIENT_LEFT, False) == (line.outcome, line.usage.exact)
    assert len(words) + floor <= line.usage.tokens < 1000
    assert (1, 0) == (during[Kind.CONCURRENT], after[Kind.CONCURRENT])
    assert line.usage.tokens == after[Kind.DAY_TOKENS]
    assert after[Kind.TOKENS] <= line.usage.tokens


BROKEN: dict[str, tuple[int, tuple[Step, ...]]] = {
    "busy": (503, BUSY),
    "an error of its own": (500, (whole(b'{"error":"out of memory"}', status="500 Internal Server Error"),)),
    "dropped before the head": (502, (CLOSE,)),
    "reset before the head": (502, (ABORT,)),
    "garbage": (502, (b"\0\1\2 not HTTP\r\n\r\n", CLOSE)),
    "a head and nothing": (502, (head("Content-Type: application/json", "Content-Length: 10"), CLOSE)),
    "a redirect": (502, (whole(b"", "", "Location: http://evil.example/", status="302 Found"),)),
}


@pytest.mark.parametrize(("status", "script"), BROKEN.values(), ids=BROKEN)
async def test_a_failing_backend_gives_back_the_tokens_and_the_place_and_not_the_request(
    open_gate: OpenGate, upstream: RecordingUpstream, status: int, script: tuple[Step, ...]
) -> None:
    gate = await open_gate(
        plans=limited(
            requests_per_minute=1, request_burst=5, tokens_per_day=FAR, concurrent=1, gpu_seconds_per_day="1h"
        )
    )
    upstream.says(*script)
    told, line = await told_and_line(gate, gate.post("/v1/chat/completions", question(max_tokens=500)))

    assert (status, Outcome.BACKEND_FAILED) == (told.status, line.outcome), told.body
    assert {Kind.REQUESTS: 1, Kind.DAY_TOKENS: 0, Kind.CONCURRENT: 0, Kind.DAY_GPU: 0} == await used(gate)


async def test_a_backend_that_breaks_off_amid_its_answer_is_paid_for_what_it_said(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(plans=limited(tokens_per_day=FAR, concurrent=1))
    path, content_type, pieces = STREAMS[Tongue.OPENAI]
    upstream.says(streaming(content_type), *map(chunk, pieces[:2]), CLOSE)
    told, line = await told_and_line(gate, gate.post(path, question(stream=True, max_tokens=500)))

    assert (200, False, Outcome.BACKEND_FAILED) == (told.status, told.clean, line.outcome)
    assert {Kind.DAY_TOKENS: line.usage.tokens, Kind.CONCURRENT: 0} == await used(gate)
    assert 2 <= line.usage.tokens < 100


SHADOWED: dict[str, dict[str, Any]] = {
    "requests": {"requests_per_minute": 1},
    "tokens": {"tokens_per_minute": 60},
    "tokens-day": {"tokens_per_day": 60},
    "tokens-month": {"tokens_per_month": 60},
    "gpu-day": {"gpu_seconds_per_day": "1ms"},
}


@pytest.mark.parametrize("kind", SHADOWED)
async def test_a_limit_in_shadow_lets_pass_and_is_told_of_in_the_log_alone(
    open_gate: OpenGate, upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    gate = await open_gate(limits={}, plans=limited(mode="shadow", **SHADOWED[kind]))
    counts = {"model": MODEL, "done": True, "prompt_eval_count": 50, "eval_count": 10, "eval_duration": 10**9}
    upstream.says(whole(json.dumps(counts).encode()))
    answers = [await gate.ask(gate.post("/api/chat", question(stream=False, **longest("/api/chat", 8)))) for _ in "123"]
    shadowed = [vars(record) for record in caplog.records if record.getMessage() == "limit_shadowed"]

    assert [200] * 3 == [told.status for told in answers]
    assert [(f"key-{kind}", "alice", logging.WARNING)] * 2 == [
        (one["limit"], one["user"], one["levelno"]) for one in shadowed
    ]
    assert not [name for told in answers for name in told.fields if name.startswith("x-ratelimit")]
    assert not [told for told in answers if b"key-" in told.head]
    assert [Outcome.SERVED] * 3 == [(await gate.entry()).outcome for _ in "123"]


async def test_a_caller_is_told_of_their_own_limits_and_of_nobody_by_name(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    tables = {
        "requests_per_minute": 3,
        "user": {"requests_per_minute": 100, "models": {"gemma3:*": {"tokens_per_day": 100_000}}},
        "team": {"requests_per_minute": 2},
    }
    gate = await open_gate(plans=limited(**tables), limits={"requests_per_minute": 1000})
    upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    carol = await gate.issue("carol", team="secret-lab")
    dave = await gate.issue("dave", team="secret-lab", limits=Limits(tokens_per_day=FAR))
    ask = question(stream=False, **longest("/api/chat", 5))
    answers = [await gate.ask(gate.post("/api/chat", ask, key=key)) for key in (carol, dave, carol, dave, gate.key)]
    hidden = await gate.ask(gate.get("/limits", key=carol))

    assert [200, 200, 429, 429, 200] == [told.status for told in answers]
    assert "Limit reached of this team: 2 requests per minute" in answers[2].body.decode()
    assert (404, "2") == (hidden.status, hidden.fields["x-ratelimit-limit-requests"])
    for told in (*answers, hidden):
        text = (told.head + told.body).decode()
        assert not [name for name in ("alice", "carol", "dave", "secret-lab", "gemma3") if name in text]
    assert '"key-tokens-day"' not in answers[0].fields["ratelimit"], "that is another's of the same team"
    assert "2" == answers[4].fields["x-ratelimit-remaining-requests"], "what another team has used is no matter here"


DENSE = "💥" * 600


async def test_a_prompt_denser_than_reckoned_goes_beyond_by_two_thirds_of_its_bytes_and_delays_the_next_call(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    burst, rate, answer = 1500, 60_000, 10
    gate = await open_gate(plans=limited(tokens_per_minute=rate, token_burst=burst, tokens_per_day=FAR))
    # As it is written shortest; no tokenizer makes more tokens than there are bytes.
    messages = json.dumps([{"role": "user", "content": DENSE}], ensure_ascii=False, separators=(",", ":")).encode()
    size = len(messages)
    body = b'{"model":"%s","stream":false,"options":{"num_predict":%d},"messages":%s}' % (
        MODEL.encode(),
        answer,
        messages,
    )
    counts = {"model": MODEL, "done": True, "prompt_eval_count": size + TEMPLATE, "eval_count": answer}
    upstream.says(whole(json.dumps(counts).encode()))
    began = time.monotonic()
    told, line = await told_and_line(gate, gate.post("/api/chat", body))
    reserved = burst - int(told.fields["x-ratelimit-remaining-tokens"])
    settled = (await used(gate))[Kind.DAY_TOKENS]
    refused = await gate.ask(gate.post("/api/chat", body))
    passed = time.monotonic() - began

    assert 200 == told.status, told.body
    assert TEMPLATE - (-size // BYTES_PER_TOKEN) + answer == reserved
    assert size + TEMPLATE + answer == settled == line.usage.tokens
    assert size - (-(-size // BYTES_PER_TOKEN)) == settled - reserved, "as proxy.policy.cost promises"

    at_once = 1000 * 60 * (settled + reserved - burst) / rate
    wait = int(refused.fields["retry-after-ms"])

    assert (429, "key-tokens") == (refused.status, (await gate.entry()).reason)
    assert at_once - 1000 * passed <= wait <= at_once + 1
