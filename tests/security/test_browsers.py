"""Pages in a browser: the gate says which may ask, and Ollama hears nothing of them."""

import pytest

from proxy.vocabulary import Outcome, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question, streamed
from tests.fakes.upstream import RecordingUpstream, whole
from tests.fakes.wire import all_sent, as_sent

PAGE, OTHER = "https://chat.example", "https://evil.example"
ASKS = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type")


def allowed(fields: dict[str, str]) -> set[str]:
    return {name for name in fields if name.startswith("access-control-")}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages", "/nowhere"])
async def test_a_preflight_needs_no_key_and_is_no_call(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(cors_origins=[PAGE])
    told = await gate.ask(gate.request("OPTIONS", path, f"Origin: {PAGE}", *ASKS, key=""))

    assert (204, b"", PAGE) == (told.status, told.body, told.fields["access-control-allow-origin"])
    assert "POST" in told.fields["access-control-allow-methods"]
    assert "authorization, content-type" == told.fields["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in told.fields
    assert ([], []) == (upstream.connections, gate.heard.entries)


@pytest.mark.parametrize("origin", [OTHER, "null", f"{PAGE}:8443", PAGE.replace("s:", ":"), f"{PAGE}.evil.example"])
async def test_another_page_is_told_nothing_that_lets_it_in(
    open_gate: OpenGate, upstream: RecordingUpstream, origin: str
) -> None:
    gate = await open_gate(cors_origins=[PAGE])
    upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    before = await gate.ask(gate.request("OPTIONS", "/api/chat", f"Origin: {origin}", *ASKS, key=""))
    told = await gate.ask(gate.post("/api/chat", question(stream=False), f"Origin: {origin}"))

    assert (set(), set()) == (allowed(before.fields), allowed(told.fields))
    assert "Origin" == told.fields["vary"], "a cache must not show one page's answer to another"


async def test_an_allowed_page_reads_answers_streams_and_refusals(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(cors_origins=[PAGE, "http://localhost:3000"])
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    origin = f"Origin: {PAGE}"
    told = [
        await gate.ask(gate.post("/api/chat", question(), origin)),
        await gate.ask(gate.post("/api/chat", b"{", origin)),
        await gate.ask(gate.get("/api/tags", origin, key="")),
        await gate.ask(gate.get("/nowhere", origin)),
    ]

    assert [200, 400, 401, 404] == [one.status for one in told]
    for one in told:
        assert (PAGE, "Origin") == (one.fields["access-control-allow-origin"], one.fields["vary"])
        assert "X-Request-Id" in one.fields["access-control-expose-headers"]
    assert b"rigin" not in b"".join(all_sent(upstream))


async def test_by_default_no_page_may_ask(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(b'{"models":[]}', "application/json", "Access-Control-Allow-Origin: *"))
    before = await gate.ask(gate.request("OPTIONS", "/api/tags", f"Origin: {PAGE}", *ASKS, key=""))
    told = await gate.ask(gate.get("/api/tags", f"Origin: {PAGE}"))
    entry = await gate.entry()

    assert (401, 200) == (before.status, told.status)
    assert (set(), set()) == (allowed(before.fields), allowed(told.fields))
    assert "vary" not in told.fields
    assert Outcome.REFUSED == entry.outcome
    assert [as_sent(upstream, "GET /api/tags")] == all_sent(upstream)
