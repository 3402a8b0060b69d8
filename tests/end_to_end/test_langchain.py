"""LangChain, over Ollama's own API and over OpenAI's."""

from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.asked import ANIMAL, BLIND, HELLO, PIXEL, WEATHER, Animal, get_weather
from tests.end_to_end.gate import Account, Gate

ENDPOINTS = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}
ENOUGH = 100


@pytest.fixture(params=ENDPOINTS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as http:
        yield http


def model_of(api: str, gate: Gate, account: Account, http: httpx.Client, tokens: int) -> BaseChatModel:
    if api == "ollama":
        told: dict[str, Any] = {"headers": account.bearer}
        return ChatOllama(model=MODEL, base_url=gate.url, num_predict=tokens, temperature=0, client_kwargs=told)
    return ChatOpenAI(
        model=MODEL,
        base_url=f"{gate.url}/v1",
        api_key=SecretStr(account.key or "none"),
        max_completion_tokens=tokens,  # Ollama does not look at it: the gate does.
        temperature=0,
        max_retries=0,
        stream_usage=True,
        http_client=http,
    )


def close(model: BaseChatModel) -> None:
    if isinstance(model, ChatOllama):
        model._client.close()  # type: ignore[no-untyped-call]  # It offers no way of its own, and a socket that is let go of is a warning.


@pytest.fixture
def brief(api: str, gate: Gate, account: Account, http: httpx.Client) -> Iterator[BaseChatModel]:
    yield (model := model_of(api, gate, account, http, 6))
    close(model)


@pytest.fixture
def model(api: str, gate: Gate, account: Account, http: httpx.Client) -> Iterator[BaseChatModel]:
    yield (model := model_of(api, gate, account, http, ENOUGH))
    close(model)


def saw(account: Account, api: str, answer: BaseMessage) -> int:
    """Keeps the books; the tokens of the answer."""
    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata is not None
    usage = answer.usage_metadata
    account.saw(ENDPOINTS[api], usage["input_tokens"], usage["output_tokens"])
    return usage["output_tokens"]


def status_of(refusal: Exception) -> int:
    assert isinstance(refusal, (ollama.ResponseError, openai.APIStatusError))
    return refusal.status_code


def test_a_chat_is_answered_at_the_length_that_was_asked_for(brief: BaseChatModel, account: Account, api: str) -> None:
    answer = brief.invoke(HELLO)

    assert 6 == saw(account, api, answer)
    assert answer.content


def test_a_chat_is_streamed(brief: BaseChatModel, account: Account, api: str) -> None:
    first, *rest = brief.stream(HELLO)
    answer = first
    for piece in rest:
        answer += piece

    assert 6 == saw(account, api, answer)
    assert 1 < len(rest)
    assert answer.content


def test_a_tool_is_called_and_its_result_is_answered(model: BaseChatModel, account: Account, api: str) -> None:
    equipped = model.bind_tools([get_weather])
    question = HumanMessage(WEATHER)
    calling = equipped.invoke([question])
    saw(account, api, calling)

    (call,) = calling.tool_calls
    assert ("get_weather", ["city"]) == (call["name"], list(call["args"]))

    result = ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])
    answer = equipped.invoke([question, calling, result])
    saw(account, api, answer)

    assert [] == answer.tool_calls
    assert answer.content


def test_an_answer_has_the_structure_that_was_asked_for(model: BaseChatModel, account: Account, api: str) -> None:
    told = model.with_structured_output(Animal, include_raw=True).invoke(ANIMAL)
    assert isinstance(told, dict)
    saw(account, api, told["raw"])

    assert isinstance(told["parsed"], Animal)


@pytest.mark.parametrize("streams", [False, True])
def test_a_picture_gets_the_models_own_refusal(brief: BaseChatModel, account: Account, api: str, streams: bool) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    seen = [HumanMessage([{"type": "text", "text": "What is this?"}, picture])]
    with pytest.raises((ollama.ResponseError, openai.APIStatusError), match=BLIND) as refusal:
        list(brief.stream(seen)) if streams else brief.invoke(seen)
    account.saw_refusal(ENDPOINTS[api])

    assert 400 == status_of(refusal.value)


def test_without_a_living_key_the_answer_is_401(api: str, gate: Gate, refused: Account, http: httpx.Client) -> None:
    model = model_of(api, gate, refused, http, 6)
    with pytest.raises((ollama.ResponseError, openai.APIStatusError)) as refusal:
        model.invoke(HELLO)
    close(model)

    assert 401 == status_of(refusal.value)
