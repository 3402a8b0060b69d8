"""The JavaScript client of OpenAI."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end import node
from tests.end_to_end.gate import Account, Gate

pytestmark = pytest.mark.timeout(600)  # The first time, Node.js itself may have to be installed.

Ask = Callable[[Account, str], dict[str, Any]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    node.require_node()
    cache = getattr(request.config, "cache", None)  # None where pytest was told to keep nothing.
    return node.installed(cache.mkdir("end_to_end_js") if cache else tmp_path_factory.mktemp("js"))


@pytest.fixture
def ask(gate: Gate, program: Path) -> Ask:
    def asked(account: Account, what: str) -> dict[str, Any]:
        told = {"OPENAI_BASE_URL": f"{gate.url}/v1", "OPENAI_API_KEY": account.key}
        command = ["node", str(program), what, MODEL]
        done = subprocess.run(
            command, env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=False
        )
        assert 0 == done.returncode, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return asked


def test_the_model_is_listed_and_found_by_its_name(ask: Ask, account: Account) -> None:
    told = ask(account, "models")
    account.saw("/v1/models")
    account.saw("/v1/models/{model}")

    assert {"listed": [MODEL], "found": MODEL} == told


def test_a_chat_is_streamed(ask: Ask, account: Account) -> None:
    told = ask(account, "chat")
    usage = told["usage"]
    account.saw("/v1/chat/completions", usage["prompt_tokens"], usage["completion_tokens"])

    assert 1 < len(told["pieces"])
    assert 0 < usage["completion_tokens"] <= 6


def test_without_a_living_key_there_is_an_authentication_error(ask: Ask, refused: Account) -> None:
    assert {"error": "AuthenticationError", "code": "invalid_api_key"} == ask(refused, "chat")


def test_a_model_that_the_key_may_not_use_is_not_found(ask: Ask, confined: Account) -> None:
    assert {"error": "NotFoundError", "code": "model_not_found"} == ask(confined, "chat")
