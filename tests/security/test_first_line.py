"""What stands in the first line may lead nowhere but to a row of the table, spelled as it is there."""

import pytest

from proxy.vocabulary import Outcome
from tests.conftest import Gate
from tests.fakes.answers import question
from tests.fakes.raw_client import NotHttp
from tests.fakes.upstream import RecordingUpstream

DOTS = """
/v1/../api/delete /v1/%2e%2e/api/delete /v1/%2E%2E%2Fapi/delete /v1/x/..%2f..%2fapi/pull
/v1/%252e%252e/api/pull /v1/%EF%BC%8E%EF%BC%8E/api/pull /%u002e%u002e/ /v1/..;/api/pull /api/chat/../pull
/api/%2e%2e/api/pull /api/./pull /../api/chat /./api/chat /api/../api/chat
""".split()
SPELLED = """
//api/pull /api//pull /api/pull/ /API/pull /Api/Pull /api\\pull /api%5cpull /api%2fpull
/api/%70ull /api/pull;x=1 /api/pull%00 /api/pull%20 /api/pull%0d%0aX:1 /api/pull# /api/pull%23
///evil.example/v1/models /v1/chat/completions#/../../../api/pull //api/chat /api/%63hat /api%2Fchat
/api/chat/ /API/chat /api/chat; /api/chat%20 /v1/%63hat/completions /v1//chat/completions
/v1/chat/completions/ /v1/messages/ /v1/models/ /v1/models/a/b /v1/models/%7Bmodel%7D /v1/models/{model}
/v1/models/..%2f..%2fapi%2fpull /v1/models/.. /v1/models/%2e%2e /v1/models/llama3.2%3A1b%2f /v1/models/x%20y
/api/blobs/sha256:0 /api/blobs/sha256:{hex}/ /api/blobs/sha256%3A{hex} /api/blobs/..%2f{hex} /api/user/keys/a/b
/api/user/keys/%2e%2e /api/user/keys/ /v1/responses/resp_1 /v1/audio/transcriptions/ /V1/responses
""".replace("{hex}", "0" * 64).split()
UNKNOWN = """
/debug/pprof/heap /metrics /health /api/experimental/aliases /api/experimental /api/blobs /api/user/keys
/v1/messages/count_tokens /v1/messages/batches /v1/images/generations /v1/images/edits /v1/audio/speech
/v1/moderations /v1/files /x /favicon.ico
""".split()
ABSOLUTE = """
http://evil.example/api/chat http://u:p@evil.example/v1/chat/completions https://evil.example/api/tags
http:/api/chat *
""".split()


@pytest.mark.parametrize("targets", [DOTS, SPELLED, UNKNOWN, ABSOLUTE], ids=["dots", "spelled", "unknown", "absolute"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_target_that_is_not_in_the_table_leads_nowhere(
    gate: Gate, upstream: RecordingUpstream, method: str, targets: list[str]
) -> None:
    for target in targets:
        told = await gate.ask(gate.post(target, question(), method=method))

        assert told.status in (400, 404, 405), (target, told)
        assert target.encode() not in told.body or target == "*"
        assert [] == upstream.connections, target
    for entry in gate.heard.entries:
        assert (Outcome.REFUSED, "alice") == (entry.outcome, entry.user)
        assert entry.endpoint in ("unknown", "/v1/models/{segment}")


@pytest.mark.parametrize("target", ["/api/experimental/aliases", "/debug/pprof", "/v1/files", "/x", "/v1/nothing"])
async def test_what_ollama_may_have_besides_cannot_be_told_from_what_it_has_not(gate: Gate, target: str) -> None:
    known, made_up = [await gate.ask(gate.post(path, question())) for path in (target, f"{target}-made-up")]

    assert (known.status, known.body) == (made_up.status, made_up.body)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/chat", "POST"),
        ("POST", "/api/tags", "GET, HEAD"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/v1/messages", "POST"),
        ("PATCH", "/", "GET, HEAD"),
        ("TRACE", "/api/version", "GET, HEAD"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("GET", "/v1/responses", "POST"),
        ("POST", "/v1/models/llama3.2:1b", "GET"),
        ("GET", "/api/pull", "POST"),
        ("POST", "/api/delete", "DELETE"),
        ("GET", f"/api/blobs/sha256:{'0' * 64}", "POST, HEAD"),
        ("HEAD", "/api/ps", "GET"),
        ("HEAD", "/v1/models", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    gate: Gate, upstream: RecordingUpstream, method: str, path: str, allowed: str
) -> None:
    asking = gate.request(method, path, "X-HTTP-Method-Override: POST", "X-Canary: CANARY", "Content-Length: 0")
    told = await gate.ask(asking, bodiless=method == "HEAD")

    assert (405, allowed) == (told.status, told.fields["allow"])
    assert b"CANARY" not in told.head + told.body
    assert [] == upstream.connections


@pytest.mark.parametrize("method", ["get", "POSTX", "TRACK", "CONNECT", "QUERY", "P OST"])
async def test_a_method_that_no_row_has_leads_nowhere(gate: Gate, upstream: RecordingUpstream, method: str) -> None:
    told = await gate.ask(gate.post("/api/chat", question(), method=method))

    assert told.status in (400, 404, 405, 501)
    assert [] == upstream.connections


@pytest.mark.parametrize(
    "version", ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "http/1.1", "HTTPS/1.1", "HTTP/1", ""]
)
async def test_a_version_that_is_not_spoken_here_runs_nothing(
    gate: Gate, upstream: RecordingUpstream, version: str
) -> None:
    client = await gate.connect()
    await client.send(gate.get("/api/tags").replace(b"HTTP/1.1", version.encode(), 1))
    try:
        told = await client.told()
    except NotHttp as error:
        pytest.fail(f"answered in another version: {error}")

    assert told.status in (400, 505)
    assert not told.keeps_alive
    assert [] == upstream.connections


@pytest.mark.parametrize(
    "preamble",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
)
async def test_another_protocol_is_refused_and_closed(gate: Gate, upstream: RecordingUpstream, preamble: bytes) -> None:
    client = await gate.connect()
    await client.send(preamble + gate.get("/api/tags"))
    told = await client.told()

    assert (400, False) == (told.status, told.keeps_alive)
    assert b"" == await client.closed()
    assert [] == upstream.connections
