"""The wire tests about heads, paths and framing; the docstrings number them."""

from typing import Any

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Outcome, Risk, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import WHOLE, question_for
from tests.fakes.upstream import RecordingUpstream, whole
from tests.fakes.wire import all_sent, as_sent

CHAT = b'{"model":"llama3.2:1b","messages":[{"role":"user","content":"why?"}],"stream":false}'
SENT = CHAT[:-1] + b',"options":{"num_predict":16384}}'
GOOD = whole(WHOLE[Tongue.OLLAMA])
DENIED = (Risk.MANAGE, Risk.ACCOUNT, Risk.OUTBOUND)


@pytest.mark.parametrize("host", ["gw.example.com", "evil.example:80", "localhost.", "[::1]", "100.64.0.1:0"])
async def test_the_backend_is_addressed_by_its_own_name(gate: Gate, upstream: RecordingUpstream, host: str) -> None:
    """wire-01"""
    upstream.says(GOOD)
    told = await gate.ask(gate.post("/api/chat", CHAT).replace(b"gate.example", host.encode()))

    assert 200 == told.status
    assert [as_sent(upstream, "POST /api/chat", SENT)] == all_sent(upstream)


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "http://localhost:evil.com", "chrome-extension://x"])
async def test_where_a_page_comes_from_is_no_business_of_the_backend(
    gate: Gate, upstream: RecordingUpstream, origin: str
) -> None:
    """wire-02"""
    upstream.says(whole(WHOLE[Tongue.OLLAMA], "application/json", "Access-Control-Allow-Origin: *", "Vary: Origin"))
    fields = (f"Origin: {origin}", f"Referer: {origin}/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")
    told = await gate.ask(gate.post("/api/chat", CHAT, *fields))

    assert 200 == told.status
    assert [as_sent(upstream, "POST /api/chat", SENT)] == all_sent(upstream)
    assert not [name for name in told.fields if name.startswith("access-control-") or name == "vary"]


@pytest.mark.parametrize("key", ["", None])
async def test_a_preflight_is_answered_without_the_backend(
    gate: Gate, upstream: RecordingUpstream, key: str | None
) -> None:
    """wire-02"""
    fields = ("Origin: http://evil.com", "Access-Control-Request-Method: POST")
    told = await gate.ask(gate.request("OPTIONS", "/api/chat", *fields, key=key))

    assert (401 if key == "" else 405) == told.status
    assert not [name for name in told.fields if name.startswith("access-control-")]
    assert [] == upstream.connections


@pytest.mark.parametrize("carrier", ["Authorization: Bearer {key}", "X-Api-Key: {key}"])
async def test_no_key_and_no_hop_by_hop_field_goes_on(gate: Gate, upstream: RecordingUpstream, carrier: str) -> None:
    """wire-03"""
    upstream.says(GOOD)
    fields = [
        carrier,
        "Api-Key: {key}",
        "Cookie: key={key}",
        "X-Goog-Api-Key: {key}",
        "Proxy-Authorization: Bearer {key}",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Prefix: /{key}",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=6.6.6.6",
        "Accept-Encoding: gzip, br, zstd",
        "TE: trailers",
        "Keep-Alive: timeout=5",
        "Connection: keep-alive, X-Nominated",
        "X-Nominated: {key}",
    ]
    asking = gate.post("/api/chat?key={key}", CHAT, *fields, key="").replace(b"{key}", gate.key.encode())
    told = await gate.ask(asking)

    assert 200 == told.status
    assert [as_sent(upstream, "POST /api/chat", SENT)] == all_sent(upstream)


FORMS = """
/api/%70ull /api%2Fpull //api/pull /api/./pull /api/pull/ /API/pull /api/chat/../pull /api/%2e%2e/api/pull
http://gate.example/api/chat
http://127.0.0.1:11434/api/pull /api/%63hat /api/chat/ /api/chat;x /api/chat%20 /api/chat%3f
""".split()


@pytest.mark.parametrize("target", FORMS)
async def test_another_form_of_a_path_is_another_path(gate: Gate, upstream: RecordingUpstream, target: str) -> None:
    """wire-04"""
    assert (await gate.ask(gate.post(target, CHAT))).status in (400, 404)
    assert [] == upstream.connections


async def test_a_path_goes_on_as_it_stands_in_the_table_and_the_query_does_not(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    """wire-04"""
    upstream.says(GOOD)
    for target in ("/api/chat?", "/api/chat?model=mistral&beta=true&ts=1", "/api/chat?/../pull", "/api/chat??x"):
        assert 200 == (await gate.ask(gate.post(target, CHAT))).status

    assert [as_sent(upstream, "POST /api/chat", SENT)] * 4 == all_sent(upstream)


@pytest.mark.parametrize("plan", [{}, {"grants": ["health", "read", "inference", "manage"]}], ids=["default", "manage"])
async def test_a_route_that_is_not_granted_is_refused_here(
    open_gate: OpenGate, upstream: RecordingUpstream, plan: dict[str, Any]
) -> None:
    """wire-05"""
    gate = await open_gate(plans={"default": plan})
    for endpoint in ENDPOINTS:
        if endpoint.risk not in DENIED or endpoint.risk in plan.get("grants", ()):
            continue
        asking = question_for(endpoint)
        told = await gate.ask(
            gate.post(asking.path, asking.body, method=endpoint.method), bodiless=endpoint.method == "HEAD"
        )

        assert 403 == told.status, endpoint
        assert (Outcome.REFUSED, "forbidden") == ((entry := await gate.entry()).outcome, entry.reason)
    assert [] == upstream.connections


@pytest.mark.parametrize("method", ["PUT", "PATCH", "get", "post", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_no_route_has_is_refused_here(gate: Gate, upstream: RecordingUpstream, method: str) -> None:
    """wire-05"""
    for path in {question_for(endpoint).path for endpoint in ENDPOINTS}:
        told = await gate.ask(gate.post(path, b"" if method == "TRACE" else b"{}", method=method))

        if method.islower() or method == "PROPFIND":
            assert (400 if method.islower() else 501) == told.status, path
        else:
            assert (405, True) == (told.status, "allow" in told.fields), path
    assert [] == upstream.connections
