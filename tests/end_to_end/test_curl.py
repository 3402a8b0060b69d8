"""curl, as everybody's first client."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.gate import Account, Gate

BODY = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Say hello."}],
    "options": {"num_predict": 6, "temperature": 0},
}


def curl(gate: Gate, account: Account, body: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The status, and the lines of the answer."""
    if shutil.which("curl") is None:
        pytest.fail("This test needs curl; install your system's package for it")
    headers = [f"{name}: {value}" for name, value in account.bearer.items()]
    options = ["--silent", "--show-error", "--no-buffer", "--max-time", "60", "--noproxy", "*"]
    data = ["--data", json.dumps(body), f"{gate.url}/api/chat"]
    done = subprocess.run(
        ["curl", *options, "--header", "@-", "--write-out", "\\n%{http_code}", *data],
        input="\n".join(headers),  # Not as an argument: a list of processes would show the key.
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    *lines, status = filter(None, done.stdout.splitlines())
    return int(status), [json.loads(line) for line in lines]


def test_a_chat_is_streamed_line_by_line(gate: Gate, account: Account) -> None:
    status, (*pieces, last) = curl(gate, account, BODY)
    account.saw("/api/chat", last["prompt_eval_count"], last["eval_count"])

    assert 200 == status
    assert 1 < len(pieces)
    assert "".join(piece["message"]["content"] for piece in pieces)
    assert ([False] * len(pieces), True) == ([piece["done"] for piece in pieces], last["done"])


def test_without_a_living_key_the_answer_is_401(gate: Gate, refused: Account) -> None:
    status, (told,) = curl(gate, refused, BODY)

    assert 401 == status
    assert "API key" in told["error"]


def test_a_model_that_the_key_may_not_use_is_not_found(gate: Gate, confined: Account) -> None:
    status, (told,) = curl(gate, confined, BODY)

    assert 404 == status
    assert {"error"} == told.keys()
