import asyncio
import json
import socket
import time

import pytest

from proxy.backends.catalogue import COOL_DOWN_SECONDS
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint, Outcome, Risk, Takes, Tongue, Usage, UsageIn
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import CLAMPS, MODEL, STREAMS, WHOLE, Question, answer_of, question, question_for, streamed
from tests.fakes.upstream import RecordingUpstream, recording, whole

OWNERS = {"default": {"owner": True, "grants": list(Risk)}}
"""A plan that grants every class of routes."""
ROWS = [
    pytest.param(endpoint, stream, id=f"{endpoint.method} {endpoint.path}{' streaming' if stream else ''}")
    for endpoint in ENDPOINTS
    if not endpoint.own
    for stream in ((False, True) if endpoint.streams is not None else (False,))
]
CLIENTS_OWN = (
    "Host: gate.example",
    "Authorization: Bearer {key}",
    "Origin: http://evil.example",
    "Referer: http://evil.example/",
    "Cookie: session=CANARY; key={key}",
    "User-Agent: CANARY",
    "Accept: text/CANARY",
    "Accept-Encoding: gzip, br",
    "Content-Type: {content_type}",
    "Connection: keep-alive, X-Nominated",
    "X-Nominated: CANARY",
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Host: CANARY",
    "X-Forwarded-Prefix: /CANARY",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "X-Request-Id: CANARY",
    "X-HTTP-Method-Override: DELETE",
    "traceparent: 00-CANARY",
    "Api-Key: CANARY",
    "OpenAI-Organization: CANARY",
    "anthropic-version: CANARY",
    "Proxy-Authorization: Basic CANARY",
    "Range: bytes=0-1",
    "If-None-Match: CANARY",
    "Sec-Fetch-Site: cross-site",
)


@pytest.mark.parametrize(("endpoint", "stream"), ROWS)
async def test_the_upstream_gets_one_canonical_request(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint, stream: bool
) -> None:
    gate = await open_gate(plans=OWNERS)
    upstream.says(*answer_of(endpoint, stream=stream))
    asking = question_for(endpoint, stream=stream)
    lines = [f"{endpoint.method} {asking.path}?key={gate.key}&model=CANARY HTTP/1.1"]
    lines += [line.format(key=gate.key, content_type=_canary(asking)) for line in CLIENTS_OWN]
    lines += [f"Content-Length: {len(asking.body)}"] if asking.body or endpoint.method == "POST" else []
    told = await gate.ask("\r\n".join([*lines, "", ""]).encode() + asking.body, bodiless=endpoint.method == "HEAD")
    entry = await gate.entry()

    assert 200 == told.status, told.body
    assert [f"{endpoint.method} {asking.path} HTTP/1.1"] == [asked.line for asked in upstream.asked]
    asked = upstream.asked[0]
    expected = {
        "host": upstream.url.removeprefix("http://"),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "llamagate",
    }
    match endpoint.takes:
        case Takes.JSON | Takes.FORM:
            expected |= {"content-type": asking.content_type, "content-length": str(len(asked.body))}
        case Takes.BYTES:
            expected |= {"content-type": "application/octet-stream", "content-length": str(len(asked.body))}
        case Takes.NOTHING if endpoint.method in ("POST", "DELETE"):
            expected |= {"content-length": "0"}
    assert expected == {name: value for name, value in asked.fields.items() if name != "connection"}
    assert asked.fields.get("connection", "close") == "close"
    for secret in (b"CANARY", gate.key.encode(), b"6.6.6.6", b"evil"):
        assert secret not in bytes(asked.connection.received)
    assert bytes(asked.connection.received) == asked.raw, "nothing follows the request"
    assert sent_for(endpoint, asking, stream=stream) == (
        json.loads(asked.body) if endpoint.takes is Takes.JSON else asked.body
    )
    clamped = [f"{name}={value}" for name, value in _limits(endpoint)]
    assert (Outcome.SERVED, endpoint.path, tuple(clamped)) == (entry.outcome, entry.endpoint, entry.changes)
    assert (", ".join(clamped) or None) == told.fields.get("x-llamagate-changed")


def _canary(asking: Question) -> str:
    """A type that says nothing, where the route does not need one to read the body."""
    return asking.content_type if asking.content_type.startswith("multipart/") else "text/plain; charset=CANARY"


def sent_for(endpoint: Endpoint, asking: Question, *, stream: bool) -> object:
    """What the upstream must get of a question."""
    if endpoint.takes is not Takes.JSON:
        return asking.body.replace(b"speech.wav", b"audio.wav")
    sent = {**json.loads(asking.body), **CLAMPS.get(endpoint.path, {})}
    if endpoint.usage_in is UsageIn.USAGE and stream:
        sent["stream_options"] = {"include_usage": True}
    if endpoint.risk is Risk.MANAGE and endpoint.streams is not None:
        sent["stream"] = True
    return sent


def _limits(endpoint: Endpoint) -> list[tuple[str, object]]:
    """Each limit that the gate adds, by the name that the caller would say it under."""
    added = CLAMPS.get(endpoint.path, {})
    return [(f"options.{name}", most) for name, most in added.get("options", {}).items()] or list(added.items())


@pytest.mark.parametrize("tongue", STREAMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_ledger_tells_what_the_upstream_counted(
    gate: Gate, upstream: RecordingUpstream, tongue: str, stream: bool
) -> None:
    path, content_type, pieces = {str(name): row for name, row in STREAMS.items()}[tongue]
    body = {str(name): text for name, text in WHOLE.items()}[tongue]
    upstream.says(*(streamed(content_type, pieces) if stream else (whole(body),)))
    told = await gate.ask(gate.post(path, question(stream=stream)))
    entry = await gate.entry()

    assert told.clean
    assert (Outcome.SERVED, 200, None, Usage(26, 3)) == (entry.outcome, entry.status, entry.reason, entry.usage)
    assert ("alice", MODEL, stream, path) == (entry.user, entry.model, entry.stream, entry.endpoint)
    assert (len(told.body), "127.0.0.1") == (entry.bytes_out, entry.peer)
    assert told.fields["x-request-id"] == entry.id


BAD_BODIES = {
    "nothing": b"",
    "blank": b"  \n",
    "no JSON": b"{",
    "two values": b'{"model":"llama3.2:1b"}{"model":"mistral"}',
    "a list": b"[]",
    "null": b"null",
    "a member twice": b'{"model":"llama3.2:1b","model":"mistral"}',
    "a member in other letters": b'{"model":"llama3.2:1b","Model":"mistral"}',
    "a long s": '{"model":"llama3.2:1b","\u017ftream":true}'.encode(),
    "a model that is a number": b'{"model":5}',
    "a stream that is a string": b'{"model":"llama3.2:1b","stream":"true"}',
    "not a number": b'{"model":"llama3.2:1b","seed":NaN}',
    "UTF-16": '{"model":"llama3.2:1b"}'.encode("utf-16"),
    "a byte order mark": '\ufeff{"model":"llama3.2:1b"}'.encode(),
    "half a surrogate": b'{"model":"\\ud800"}',
    "a bomb": b'{"model":' + b"[" * 100_000,
}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_a_body_that_makes_no_sense_reaches_nobody(gate: Gate, upstream: RecordingUpstream, path: str) -> None:
    for what, body in BAD_BODIES.items():
        told = await gate.ask(gate.post(path, body))
        entry = await gate.entry()

        assert 400 == told.status, what
        assert "error" in json.loads(told.body)
        assert (Outcome.REFUSED, 400, "invalid_request") == (entry.outcome, entry.status, entry.reason), what
        assert [] == upstream.connections, what


async def test_the_keys_own_models_narrow_its_plan(gate: Gate, upstream: RecordingUpstream) -> None:
    key = await gate.issue("bob", models=("mistral",))
    upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    refused = await gate.ask(gate.post("/api/chat", question(), key=key))
    served = await gate.ask(gate.post("/api/chat", question(model="mistral"), key=key))

    assert (404, 200) == (refused.status, served.status)
    assert ["mistral:latest"] == [json.loads(asked.body)["model"] for asked in upstream.asked]


async def test_a_plan_without_leave_is_refused_before_the_body(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(plans={"default": {"grants": ["health", "read"]}})
    client = await gate.connect()
    await client.send(gate.request("POST", "/v1/chat/completions", "Content-Length: 100"))
    told = await client.told()

    assert (403, False) == (told.status, told.keeps_alive)
    assert 200 == (await gate.ask(gate.get("/api/tags"))).status
    assert ["GET /api/tags HTTP/1.1"] == [asked.line for asked in upstream.asked]


async def test_a_revoked_key_is_refused_within_a_second(gate: Gate, upstream: RecordingUpstream) -> None:
    key = await gate.issue("bob")
    await gate.desk.revoke(key)

    assert 401 == (await gate.ask(gate.get("/api/tags", key=key))).status
    assert [] == upstream.connections


async def test_a_model_that_was_pulled_a_moment_ago_is_there(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    upstream.installed.append({"name": "phi4:latest", "model": "phi4:latest"})
    async with asyncio.timeout(COOL_DOWN_SECONDS + 1):  # It looks no more than once a second, and has looked just now.
        while (await gate.ask(gate.post("/api/chat", question(model="phi4", stream=False)))).status == 404:
            pass

    assert "phi4:latest" == json.loads(upstream.asked[0].body)["model"]


async def test_who_keeps_asking_for_what_is_not_there_costs_one_look_a_second(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    before = time.monotonic()
    told = await asyncio.gather(*[gate.ask(gate.post("/api/chat", question(model=f"m{n}"))) for n in range(25)])
    told += [await gate.ask(gate.post("/api/chat", question(model=f"m{n}"))) for n in range(25)]
    seconds = time.monotonic() - before

    assert {404} == {one.status for one in told}
    assert upstream.looks.count("GET /api/tags HTTP/1.1") <= 2 + seconds / COOL_DOWN_SECONDS
    assert [] == upstream.connections


async def test_a_forbidden_name_is_not_even_looked_for(open_gate: OpenGate) -> None:
    gate = await open_gate(upstream="http://127.0.0.1:1", plans={"default": {"models": ["mistral"]}})
    forbidden, looked_for = [
        await gate.ask(gate.post("/api/chat", question(model=model))) for model in ("phi4", "mistral")
    ]

    assert (404, 503) == (forbidden.status, looked_for.status)


async def test_a_backend_that_comes_up_after_the_gate_is_asked_at_once(open_gate: OpenGate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    gate = await open_gate(upstream=f"http://127.0.0.1:{port}")
    down = await gate.ask(gate.post("/v1/chat/completions", question()))
    listed = await gate.ask(gate.get("/api/tags"))
    async with recording(port) as upstream:
        upstream.says(whole(WHOLE[Tongue.OPENAI]))
        up = await gate.ask(gate.post("/v1/chat/completions", question()))

    assert (503, 503, "5") == (down.status, listed.status, down.fields["retry-after"])
    assert b"Its owner has to start it." in down.body
    assert 200 == up.status
