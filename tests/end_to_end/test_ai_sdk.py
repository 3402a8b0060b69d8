"""The AI SDK of Vercel, through its provider for OpenAI's API and the one for Ollama's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end import node
from tests.end_to_end.asked import BLIND
from tests.end_to_end.gate import Account, Gate

pytestmark = pytest.mark.timeout(600)  # The first time, Node.js itself may have to be installed.

ENDPOINTS = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}

Ask = Callable[[Account, str], dict[str, Any]]


@pytest.fixture(params=ENDPOINTS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(api: str, gate: Gate, programs: Path) -> Ask:
    def asked(account: Account, what: str) -> dict[str, Any]:
        return node.told_by(programs / "ai_sdk.mjs", api, what, MODEL, GATE_URL=gate.url, GATE_KEY=account.key)

    return asked


def test_a_text_is_generated(ask: Ask, account: Account, api: str) -> None:
    told = ask(account, "text")
    account.saw(ENDPOINTS[api], *told["usage"])

    assert told["text"]
    assert 6 == told["usage"][1]


def test_a_text_is_streamed(ask: Ask, account: Account, api: str) -> None:
    told = ask(account, "stream")
    account.saw(ENDPOINTS[api], *told["usage"])

    assert 1 < len(told["pieces"])
    assert 6 == told["usage"][1]


def test_an_object_has_the_structure_that_was_asked_for(ask: Ask, account: Account, api: str) -> None:
    told = ask(account, "object")
    account.saw(ENDPOINTS[api], *told["usage"])

    assert {"kind", "legs"} == told["object"].keys()


def test_a_tool_is_called_and_its_result_is_answered(ask: Ask, account: Account, api: str) -> None:
    told = ask(account, "tool")
    for usage in told["usage"]:
        account.saw(ENDPOINTS[api], *usage)

    assert [1, 0] == told["calls"]
    assert 1 == len(told["asked"])


def test_a_picture_gets_the_models_own_refusal(ask: Ask, account: Account, api: str) -> None:
    told = ask(account, "image")
    account.saw_refusal(ENDPOINTS[api])

    assert 400 == told["status"]
    assert BLIND in str(told["body"]["error"])


def test_without_a_living_key_the_answer_is_401(ask: Ask, revoked: Account) -> None:
    assert 401 == ask(revoked, "text")["status"]
