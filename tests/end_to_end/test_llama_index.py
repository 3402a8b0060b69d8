"""LlamaIndex, over Ollama's own API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ollama
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.asked import ANIMAL, BLIND, HELLO, PIXEL, WEATHER, Animal, get_weather
from tests.end_to_end.gate import Account, Gate

ENDPOINT = "/api/chat"
Ask = Callable[[int], Ollama]


@contextmanager
def asking(gate: Gate, account: Account) -> Iterator[Ask]:
    """Models that answer in so many tokens, over one client that is closed."""
    with ollama.Client(gate.url, headers=account.bearer) as client:

        def model(tokens: int) -> Ollama:
            # Its window goes out as num_ctx; another than the loaded one would reload the model if the gate let it.
            limits = {"num_predict": tokens}
            return Ollama(model=MODEL, client=client, temperature=0, context_window=2048, additional_kwargs=limits)

        yield model


@pytest.fixture
def model(gate: Gate, account: Account) -> Iterator[Ask]:
    with asking(gate, account) as model:
        yield model


def said(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def saw(account: Account, raw: Any) -> int:
    """Keeps the books; the tokens of the answer."""
    told = dict(raw)
    account.saw(ENDPOINT, told["prompt_eval_count"], told["eval_count"])
    return int(told["eval_count"])


def test_a_chat_is_answered(model: Ask, account: Account) -> None:
    answer = model(6).chat(said(HELLO))

    assert 6 == saw(account, answer.raw)
    assert answer.message.content


def test_a_chat_is_streamed(model: Ask, account: Account) -> None:
    pieces = list(model(6).stream_chat(said(HELLO)))

    assert 6 == saw(account, pieces[-1].raw)
    assert 1 < len(pieces)
    assert pieces[-1].message.content


def test_a_tool_is_called(model: Ask, account: Account) -> None:
    one = model(100)
    answer = one.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg=WEATHER)
    saw(account, answer.raw)

    (call,) = one.get_tool_calls_from_response(answer)
    assert ("get_weather", ["city"]) == (call.tool_name, list(call.tool_kwargs))


def test_an_answer_has_the_structure_that_was_asked_for(
    model: Ask, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = model(100)
    heard: list[Any] = []
    chat = one.client.chat

    def listening(*words: Any, **named: Any) -> Any:
        heard.append(chat(*words, **named))
        return heard[-1]

    monkeypatch.setattr(one.client, "chat", listening)  # It keeps the counts to itself here.
    told = one.as_structured_llm(Animal).chat(said(ANIMAL))
    for answer in heard:
        saw(account, answer)

    assert isinstance(told.raw, Animal)


def test_a_picture_gets_the_models_own_refusal(model: Ask, account: Account) -> None:
    blocks = [TextBlock(text="What is this?"), ImageBlock(image=PIXEL.encode(), image_mimetype="image/png")]
    with pytest.raises(ollama.ResponseError, match=BLIND) as refusal:
        model(6).chat([ChatMessage(role="user", blocks=blocks)])
    account.saw_refusal(ENDPOINT)

    assert 400 == refusal.value.status_code


def test_without_a_living_key_the_answer_is_401(gate: Gate, refused: Account) -> None:
    with asking(gate, refused) as model, pytest.raises(ollama.ResponseError) as refusal:
        model(6).chat(said(HELLO))

    assert 401 == refusal.value.status_code
