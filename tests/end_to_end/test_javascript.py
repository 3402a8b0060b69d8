"""The JavaScript client of OpenAI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end import node
from tests.end_to_end.asked import BLIND
from tests.end_to_end.gate import Account, Gate

pytestmark = pytest.mark.timeout(600)  # The first time, Node.js itself may have to be installed.

Ask = Callable[[Account, str], dict[str, Any]]


@pytest.fixture
def ask(gate: Gate, programs: Path) -> Ask:
    def asked(account: Account, what: str) -> dict[str, Any]:
        told = {"OPENAI_BASE_URL": f"{gate.url}/v1", "OPENAI_API_KEY": account.key}
        return node.told_by(programs / "client.mjs", what, MODEL, **told)

    return asked


def error(told: dict[str, Any]) -> tuple[str, str]:
    return told["error"], told["code"]


def test_the_model_is_listed_and_found_by_its_name(ask: Ask, account: Account) -> None:
    told = ask(account, "models")
    account.saw("/v1/models")
    account.saw("/v1/models/{segment}")

    assert {"listed": [MODEL], "found": MODEL} == told


def test_a_chat_is_streamed(ask: Ask, account: Account) -> None:
    told = ask(account, "chat")
    usage = told["usage"]
    account.saw("/v1/chat/completions", usage["prompt_tokens"], usage["completion_tokens"])

    assert 1 < len(told["pieces"])
    assert 0 < usage["completion_tokens"] <= 6


def test_without_a_living_key_there_is_an_authentication_error(ask: Ask, refused: Account) -> None:
    assert ("AuthenticationError", "invalid_api_key") == error(ask(refused, "chat"))


def test_a_model_that_the_key_may_not_use_is_not_found(ask: Ask, confined: Account) -> None:
    assert ("NotFoundError", "model_not_found") == error(ask(confined, "chat"))


def test_a_picture_gets_the_models_own_refusal(ask: Ask, account: Account) -> None:
    told = ask(account, "image")
    account.saw_refusal("/v1/chat/completions")

    assert "BadRequestError" == told["error"]
    assert BLIND in told["message"]
