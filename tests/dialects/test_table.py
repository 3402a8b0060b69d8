import json
from typing import Any

import pytest

from proxy.dialects import Dialect, Said
from proxy.dialects.table import DIALECTS
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Tongue

OLLAMA, OPENAI, ANTHROPIC = DIALECTS[Tongue.OLLAMA], DIALECTS[Tongue.OPENAI], DIALECTS[Tongue.ANTHROPIC]
MESSAGE = 'No "such" model:\n<é> \u2028'


def test_every_tongue_is_spoken() -> None:
    assert set(Tongue) == set(DIALECTS)
    assert {endpoint.tongue for endpoint in ENDPOINTS} == set(DIALECTS)


def refused(dialect: Dialect, status: int) -> Any:
    return json.loads(dialect.refusal(status, "some_code", MESSAGE, "call-7"))


@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_ollama_refuses_with_a_text(status: int) -> None:
    assert {"error": MESSAGE} == refused(OLLAMA, status)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "invalid_request_error"),
        (403, "invalid_request_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "api_error"),
    ],
)
def test_openai_refuses_with_a_type_and_a_code(status: int, kind: str) -> None:
    error = {"message": MESSAGE, "type": kind, "param": None, "code": "some_code"}

    for tongue in (Tongue.OPENAI, Tongue.RESPONSES, Tongue.TRANSCRIPTION):
        assert {"error": error} == refused(DIALECTS[tongue], status)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_refuses_with_a_type_and_the_call(status: int, kind: str) -> None:
    assert {
        "type": "error",
        "error": {"type": kind, "message": MESSAGE},
        "request_id": "call-7",
    } == refused(ANTHROPIC, status)


def test_ollama_ends_a_broken_stream_with_a_line() -> None:
    words = OLLAMA.last_words("truncated", MESSAGE, "call-7")

    assert words.endswith(b"\n")
    assert 1 == words.count(b"\n")
    assert {"error": MESSAGE} == json.loads(words)


def test_openai_ends_a_broken_stream_with_an_event_and_never_with_its_usual_end() -> None:
    words = OPENAI.last_words("truncated", MESSAGE, "call-7")

    assert words.startswith(b"data: {")
    assert words.endswith(b"}\n\n")
    assert 2 == words.count(b"\n")
    assert {"message": MESSAGE, "type": "api_error", "param": None, "code": "truncated"} == json.loads(words[6:])[
        "error"
    ]
    assert b"[DONE]" not in words


def test_anthropic_ends_a_broken_stream_with_an_event_of_that_name() -> None:
    name, data, *end = ANTHROPIC.last_words("truncated", MESSAGE, "call-7").split(b"\n")

    assert (b"event: error", [b"", b""]) == (name, end)
    assert {
        "type": "error",
        "error": {"type": "api_error", "message": MESSAGE},
        "request_id": "call-7",
    } == json.loads(data.removeprefix(b"data: "))


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        (OLLAMA, "/api/chat"),
        (OPENAI, "/v1/chat/completions"),
        (DIALECTS[Tongue.RESPONSES], "/v1/responses"),
        (ANTHROPIC, "/v1/messages"),
    ],
    ids=["ollama", "openai", "responses", "anthropic"],
)
def test_our_own_last_words_are_a_failure_to_our_own_meters(dialect: Dialect, path: str) -> None:
    (endpoint,) = (endpoint for endpoint in ENDPOINTS if endpoint.path == path)
    ask = dialect.read(endpoint, Said(b'{"model":"m","stream":true}'))
    meter = dialect.meter(ask, streamed=True, visible=lambda _: True)
    words = dialect.last_words("truncated", MESSAGE, "call-7")

    # A screen for Ollama's own words may take what cannot be printed out of ours, too.
    assert len(words.splitlines()) == len((meter.feed(words) + meter.end()).splitlines())
    assert (False, True) == (meter.complete, meter.failed)
