import asyncio
import json

import pytest

from proxy.vocabulary import Outcome, Tongue, Usage
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question, streamed
from tests.fakes.upstream import ABORT, CLOSE, RecordingUpstream, Step, head, recording, whole

NESTED = json.dumps({"error": json.dumps({"error": {"code": 400, "message": "bad input"}})}).encode()
REFUSALS = {
    "404": (whole(b'{"error":"model \'x\' not found"}', status="404 Not Found"), 404, "model 'x' not found"),
    "nested 400": (whole(NESTED, status="400 Bad Request"), 400, "bad input"),
    "403 without a word": (whole(b"", "", status="403 Forbidden"), 502, None),
    "405 of the framework": (whole(b"405 method not allowed", "text/plain", status="405 No"), 502, None),
    "redirect": (whole(b"", "", "Location: http://127.0.0.1:1/api/pull", status="301 Moved"), 502, None),
    "500 without a word": (whole(b"", "", status="500 Internal Server Error"), 500, None),
    "busy": (
        whole(
            b'{"error":"server busy, please try again.  maximum pending requests exceeded"}',
            status="503 Service Unavailable",
        ),
        503,
        "The model server is busy. Try again shortly.",
    ),
    "not signed in": (
        whole(b'{"error":"unauthorized","signin_url":"https://x.example/CANARY"}', status="401 Unauthorized"),
        502,
        None,
    ),
    "switching": (head("Upgrade: x", "Connection: upgrade", status="101 Switching Protocols"), 502, None),
    "no content": (head(status="204 No Content"), 502, None),
}


def message(path: str, body: bytes) -> str:
    told = json.loads(body)
    if path == "/v1/messages":
        assert "error" == told["type"]
    return str(told["error"] if path.startswith("/api") else told["error"]["message"])


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_of_the_backend_is_said_in_the_callers_dialect(
    gate: Gate, upstream: RecordingUpstream, name: str
) -> None:
    answer, status, words = REFUSALS[name]
    upstream.says(answer)
    for path in ("/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"):
        told = await gate.ask(gate.post(path, question()))
        entry = await gate.entry()

        assert (status, "application/json", True) == (told.status, told.fields["content-type"], told.clean)
        assert (words or message(path, told.body) or "something") == message(path, told.body)
        assert b"CANARY" not in told.head + told.body
        assert "location" not in told.fields
        assert ("5" if status == 503 else None) == told.fields.get("retry-after")
        refused = Outcome.REFUSED if status < 500 else Outcome.BACKEND_FAILED
        assert (refused, status) == (entry.outcome, entry.status)
    assert 4 == len(upstream.connections)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((b"SSH-2.0-OpenSSH_9\r\n",), id="another protocol"),
        pytest.param((CLOSE,), id="nothing"),
        pytest.param((ABORT,), id="reset"),
        pytest.param((b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE), id="half a head"),
        pytest.param((head("Content-Length: 2", "Content-Length: 3"), b"ok"), id="two lengths"),
        pytest.param((head("Content-Length: 2", "Transfer-Encoding: chunked"), b"ok"), id="length and chunks"),
        pytest.param((head("X-Long: " + "a" * 100_000),), id="an endless head"),
        pytest.param((b"HTTP/1.1 1000 OK\r\n\r\n",), id="no such status"),
    ],
)
async def test_what_is_no_answer_is_a_bad_gateway_and_is_never_asked_again(
    gate: Gate, upstream: RecordingUpstream, script: tuple[Step, ...]
) -> None:
    upstream.says(*script)
    told = await gate.ask(gate.post("/api/chat", question()))
    entry = await gate.entry()

    assert 502 == told.status
    assert (Outcome.BACKEND_FAILED, "backend_failed") == (entry.outcome, entry.reason)
    assert 1 == len(upstream.connections) == len(upstream.asked)


async def test_a_backend_that_is_not_there_is_told_with_when_to_return(open_gate: OpenGate) -> None:
    gate = await open_gate(upstream="http://127.0.0.1:1")
    told = await gate.ask(gate.post("/v1/chat/completions", question()))
    entry = await gate.entry()

    assert (503, "5", "backend_down") == (told.status, told.fields["retry-after"], entry.reason)
    assert (Outcome.BACKEND_FAILED, Usage()) == (entry.outcome, entry.usage)
    assert not gate.standing.upstream_answers


async def test_a_backend_that_never_begins_is_given_up_and_left(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(first_byte_timeout=0.05)
    upstream.says(asyncio.Event())
    told = await gate.ask(gate.post("/v1/messages", question()))
    entry = await gate.entry()

    assert (504, "backend_silent", Outcome.BACKEND_FAILED) == (told.status, entry.reason, entry.outcome)
    assert not entry.usage.exact, "it may have been at work on the prompt"
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()


async def test_a_cold_start_outlasts_every_other_patience(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(connect_timeout=0.05, idle_timeout=0.05, stall_timeout=0.05, body_timeout=0.05)
    loaded = asyncio.Event()
    upstream.says(loaded, *streamed(NDJSON, NATIVE_LINES))
    asking = asyncio.create_task(gate.ask(gate.post("/api/chat", question())))
    finished, _ = await asyncio.wait([asking], timeout=0.25)

    assert set() == finished
    loaded.set()
    assert (200, b"".join(NATIVE_LINES)) == ((told := await asking).status, told.body)


async def test_what_the_backend_sets_for_one_call_does_not_come_with_the_next(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    body = WHOLE[next(iter(WHOLE))]
    upstream.says(whole(body, "application/json", "Set-Cookie: session=CANARY; Path=/"))
    for _ in range(2):
        assert 200 == (await gate.ask(gate.post("/api/chat", question(stream=False)))).status

    assert 2 == len(upstream.asked)
    assert "cookie" not in upstream.asked[1].fields


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_hears_of_a_call_because_the_backend_says_that_they_should(
    gate: Gate, upstream: RecordingUpstream, status: int
) -> None:
    async with recording() as elsewhere:
        elsewhere.says(whole(WHOLE[Tongue.OLLAMA]))
        for place in (f"{elsewhere.url}/api/chat", "/api/pull", f"//{elsewhere.url.partition('//')[2]}/api/chat"):
            upstream.says(whole(b"", "", f"Location: {place}", status=f"{status} Go"))
            upstream.forget()
            told = await gate.ask(gate.post("/api/chat", question(stream=False)))

            assert 502 == told.status
            assert 1 == len(upstream.asked) == len(upstream.connections)
        assert [] == elsewhere.connections


async def test_a_proxy_in_the_environment_hears_nothing(
    open_gate: OpenGate, upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    gate = await open_gate()
    upstream.says(whole(b'{"models":[]}'))

    assert 200 == (await gate.ask(gate.get("/api/tags"))).status


async def test_the_gate_knows_the_version_of_what_it_stands_before(open_gate: OpenGate) -> None:
    assert "0.0.0" == (await open_gate()).standing.upstream_version


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"", "", "Location: /elsewhere", status="302 Found"),
        whole(b"<html>", "text/html"),
        whole(b"{"),
        b"\x00",
    ],
)
async def test_a_version_that_cannot_be_read_keeps_no_gate_shut(
    open_gate: OpenGate, upstream: RecordingUpstream, answer: bytes
) -> None:
    upstream.version = answer

    assert (await open_gate()).standing.upstream_version is None
