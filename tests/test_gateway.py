import json

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint, Outcome, Tongue, Usage
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import MODEL, STREAMS, WHOLE, answer_of, question, streamed
from tests.fakes.upstream import RecordingUpstream, whole

SPELLINGS = (
    "llama3.2:1b",
    "LLAMA3.2:1B",
    "library/llama3.2:1b",
    "LIBRARY/Llama3.2:1b",
    "registry.ollama.ai/library/llama3.2:1b",
    "REGISTRY.OLLAMA.AI/LIBRARY/LLAMA3.2:1B",
    "https://registry.ollama.ai/library/llama3.2:1b",
    "http://registry.ollama.ai/library/llama3.2:1b",
    "ftp://registry.ollama.ai/library/llama3.2:1b",
    "://registry.ollama.ai/library/llama3.2:1b",
    "mistral:latest://registry.ollama.ai/library/llama3.2:1b",
    "any / text ☃ mistral://registry.ollama.ai/library/llama3.2:1b",
    "  llama3.2:1b\n",
    "\u3000llama3.2:1b\u2003",
    "llama3.2:1b:local",
    "llama3.2:1b:LOCAL",
    "llama3.2:1b: local",
    "llama3.2:1b:\u00a0Local",
    "https://Registry.Ollama.AI/Library/LLAMA3.2:1B: LoCaL",
)
"""All of them run one model in Ollama."""

ROWS = [
    pytest.param(endpoint, stream, id=f"{endpoint.method} {endpoint.path}{' streaming' if stream else ''}")
    for endpoint in ENDPOINTS
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
    "Content-Type: text/plain; charset=CANARY",
    "Connection: keep-alive, X-Nominated",
    "X-Nominated: CANARY",
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Host: CANARY",
    "X-Forwarded-Prefix: /CANARY",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "X-Request-Id: CANARY",
    "X_Api_Key: CANARY",
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
    gate: Gate, upstream: RecordingUpstream, endpoint: Endpoint, stream: bool
) -> None:
    upstream.says(*answer_of(endpoint, stream=stream))
    text = json.dumps(question(stream=stream)).encode() if endpoint.method == "POST" else b""
    path = endpoint.path.replace("{model}", MODEL)
    lines = [f"{endpoint.method} {path}?key={gate.key}&model=CANARY HTTP/1.1"]
    lines += [line.format(key=gate.key) for line in CLIENTS_OWN]
    lines += [f"Content-Length: {len(text)}"] if text else []
    told = await gate.ask("\r\n".join([*lines, "", ""]).encode() + text, bodiless=endpoint.method == "HEAD")
    entry = await gate.entry()

    assert 200 == told.status, told.body
    assert [f"{endpoint.method} {path} HTTP/1.1"] == [asked.line for asked in upstream.asked]
    asked = upstream.asked[0]
    expected = {
        "host": upstream.url.removeprefix("http://"),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "llamagate",
    }
    if text:
        expected |= {"content-type": "application/json", "content-length": str(len(asked.body))}
    assert expected == {name: value for name, value in asked.fields.items() if name != "connection"}
    assert asked.fields.get("connection", "close") == "close"
    for secret in (b"CANARY", gate.key.encode(), b"6.6.6.6", b"evil"):
        assert secret not in bytes(asked.connection.received)
    assert bytes(asked.connection.received) == asked.raw, "nothing follows the request"
    if text:
        sent = json.loads(asked.body)
        sent.pop("stream_options", None)
        assert question(stream=stream) == sent
    assert (Outcome.SERVED, endpoint.path) == (entry.outcome, entry.endpoint)


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


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_a_body_that_makes_no_sense_reaches_nobody(gate: Gate, upstream: RecordingUpstream, path: str) -> None:
    for what, body in BAD_BODIES.items():
        told = await gate.ask(gate.post(path, body))
        entry = await gate.entry()

        assert 400 == told.status, what
        assert "error" in json.loads(told.body)
        assert (Outcome.REFUSED, 400, "invalid_request") == (entry.outcome, entry.status, entry.reason), what
        assert [] == upstream.connections, what


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages", "/api/show"])
async def test_a_forbidden_model_is_absent_in_every_spelling(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(plans={"default": {"models": ["mistral", "gemma3:*"]}})
    told = [await gate.ask(gate.post(path, question(model=spelling))) for spelling in SPELLINGS]

    assert {404} == {one.status for one in told}
    assert 1 == len({one.body.replace(one.fields["x-request-id"].encode(), b"") for one in told})
    assert [] == upstream.connections
    assert {"model_not_found"} == {entry.reason for entry in gate.heard.entries}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_an_allowed_model_is_asked_for_under_the_name_that_was_checked(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(plans={"default": {"models": ["llama3.2:1b"]}})
    upstream.says(whole(WHOLE[next(t for t, row in STREAMS.items() if row[0] == path)]))
    plain = {spelling: await gate.ask(gate.post(path, question(model=spelling))) for spelling in SPELLINGS}
    served = {spelling for spelling, told in plain.items() if told.status == 200}

    assert {SPELLINGS[number - 1] for number in (1, 2, 3, 4, 5, 6, 13, 15, 16)} <= served
    assert not [spelling for spelling in served if "://" in spelling]
    assert {MODEL} == {json.loads(asked.body)["model"].lower() for asked in upstream.asked}
    assert {MODEL} == {entry.model for entry in gate.heard.entries if entry.outcome is Outcome.SERVED}


@pytest.mark.parametrize("name", ["m:cloud", "m:1b-cloud", "m:1B-CLOUD", "m: 1b-cloud", "m:1b: Cloud"])
async def test_a_model_that_would_leave_the_house_is_absent(gate: Gate, upstream: RecordingUpstream, name: str) -> None:
    asked = [gate.post(path, question(model=name)) for path in ("/api/chat", "/api/show", "/v1/chat/completions")]
    statuses = [(await gate.ask(one)).status for one in asked]

    assert [404] * 3 == statuses
    assert [] == upstream.connections


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
