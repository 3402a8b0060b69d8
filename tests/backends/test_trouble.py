import json

import pytest

from proxy.backends.trouble import TOO_LONG, refusal
from proxy.errors import LONGEST_MESSAGE, BackendFailed, BackendRefused, ModelServerBusy


def error(told: object) -> bytes:
    return json.dumps({"error": told}).encode()


@pytest.mark.parametrize(
    ("status", "body", "passed_on", "words"),
    [
        (404, error("model 'x' not found"), 404, "model 'x' not found"),
        (400, error(json.dumps({"error": {"message": "bad input"}})), 400, "bad input"),
        (400, error({"message": "bad input", "type": "invalid_request_error"}), 400, "bad input"),
        (400, error("a\nb\x1b[2J"), 400, "a b [2J"),
        (500, error("something of /root/.ollama and of others"), 500, "The model server failed on this request."),
        (500, error("CUDA error: out of memory"), 500, "CUDA error: out of memory"),
        (400, error("no such file: /root/.ollama/models/blobs/sha256-0"), 400, "no such file: (a file)"),
        (
            400,
            error("the input length exceeds the context length"),
            400,
            f"the input length exceeds the context length. {TOO_LONG}",
        ),
        (403, error("ollama cloud is disabled"), 403, "ollama cloud is disabled"),
        (503, error("server busy"), 503, ModelServerBusy.default),
    ],
)
def test_the_status_and_the_sentence_are_kept(status: int, body: bytes, passed_on: int, words: str) -> None:
    refused = refusal(status, body)

    assert isinstance(refused, BackendRefused)
    assert (passed_on, words) == (refused.status, refused.message)


@pytest.mark.parametrize(
    "body", [b"", b"405 method not allowed", b"[" * 100_000, b'{"error":5}', b'{"error":" "}', b"\xff"]
)
def test_a_refusal_without_a_sentence_gets_ours(body: bytes) -> None:
    assert BackendFailed.default == refusal(400, body).message
    assert "The model server failed on this request." == refusal(500, body).message


@pytest.mark.parametrize(("status", "body"), [(301, error("x")), (101, b""), (204, b""), (403, b""), (999, error("x"))])
def test_what_is_not_the_callers_doing_is_a_bad_gateway(status: int, body: bytes) -> None:
    assert (502, BackendFailed.default) == ((refused := refusal(status, body)).status, refused.message)


@pytest.mark.parametrize("status", [401, 407])
def test_the_backends_own_credentials_are_not_the_callers(status: int) -> None:
    refused = refusal(status, b'{"error":"unauthorized","signin_url":"https://x.example"}')

    assert 502 == refused.status
    assert "x.example" not in refused.message


def test_a_long_sentence_is_cut() -> None:
    assert LONGEST_MESSAGE == len(refusal(400, error("a" * 10_000)).message)
