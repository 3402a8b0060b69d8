"""The Python client of Ollama."""

from collections.abc import Iterator

import ollama
import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.asked import BLIND, PIXEL, WEATHER, get_weather
from tests.end_to_end.gate import Account, Gate

HELLO = [{"role": "user", "content": "Say hello."}]
SHORT = {"num_predict": 6, "temperature": 0}


@pytest.fixture
def client(gate: Gate, account: Account) -> Iterator[ollama.Client]:
    with ollama.Client(gate.url, headers=account.bearer) as client:
        yield client


def test_a_chat_is_answered(client: ollama.Client, account: Account) -> None:
    answer = client.chat(MODEL, HELLO, options=SHORT)
    account.saw("/api/chat", answer.prompt_eval_count, answer.eval_count)

    assert answer.message.content
    assert 6 == answer.eval_count


def test_a_chat_is_streamed_to_whoever_has_the_key_in_the_environment(
    gate: Gate, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", account.key)
    with ollama.Client(gate.url) as client:
        *pieces, last = client.chat(MODEL, HELLO, options=SHORT, stream=True)
    account.saw("/api/chat", last.prompt_eval_count, last.eval_count)

    assert 1 < len(pieces)
    assert "".join(piece.message.content or "" for piece in pieces)
    assert (True, 6) == (last.done, last.eval_count)


def test_a_text_is_generated(client: ollama.Client, account: Account) -> None:
    answer = client.generate(MODEL, "One, two, three,", options=SHORT)
    account.saw("/api/generate", answer.prompt_eval_count, answer.eval_count)

    assert answer.response
    assert answer.prompt_eval_count


def test_texts_are_embedded(client: ollama.Client, account: Account) -> None:
    answer = client.embed(MODEL, ["cat", "dog"])
    account.saw("/api/embed", answer.prompt_eval_count)

    assert [576, 576] == [len(vector) for vector in answer.embeddings]
    assert answer.prompt_eval_count


def test_the_model_is_listed_shown_and_loaded(client: ollama.Client, account: Account) -> None:
    listed, shown, loaded = client.list(), client.show(MODEL), client.ps()
    for endpoint in ("/api/tags", "/api/show", "/api/ps"):
        account.saw(endpoint)

    assert [MODEL] == [model.model for model in listed.models]
    assert [MODEL] == [model.model for model in loaded.models]
    assert shown.details is not None
    assert "134.52M" == shown.details.parameter_size


def test_a_tool_is_called(client: ollama.Client, account: Account) -> None:
    asked = [{"role": "user", "content": WEATHER}]
    answer = client.chat(MODEL, asked, tools=[get_weather], options={"num_predict": 100, "temperature": 0})
    account.saw("/api/chat", answer.prompt_eval_count, answer.eval_count)

    (call,) = answer.message.tool_calls or ()
    assert ("get_weather", ["city"]) == (call.function.name, list(call.function.arguments))


def test_a_picture_gets_the_models_own_refusal(client: ollama.Client, account: Account) -> None:
    with pytest.raises(ollama.ResponseError, match=BLIND) as error:
        client.chat(MODEL, [{"role": "user", "content": "What is this?", "images": [PIXEL]}])
    account.saw_refusal("/api/chat")

    assert 400 == error.value.status_code


def test_without_a_living_key_the_answer_is_401(gate: Gate, refused: Account) -> None:
    with ollama.Client(gate.url, headers=refused.bearer) as client, pytest.raises(ollama.ResponseError) as error:
        client.chat(MODEL, HELLO)

    assert 401 == error.value.status_code
    assert "API key" in error.value.error


def test_a_model_that_the_key_may_not_use_is_not_found(gate: Gate, confined: Account) -> None:
    with ollama.Client(gate.url, headers=confined.bearer) as client, pytest.raises(ollama.ResponseError) as error:
        client.chat(MODEL, HELLO)

    assert 404 == error.value.status_code
