"""The Python client of Anthropic."""

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import ImageBlockParam, MessageParam, ToolUseBlock

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.asked import BLIND, PIXEL, WEATHER
from tests.end_to_end.gate import Account, Gate

HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello."}]
MESSAGES = "/v1/messages"


def client_of(gate: Gate, account: Account) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gate.url, api_key=account.key or "none", max_retries=0)


@pytest.fixture
def client(gate: Gate, account: Account) -> Iterator[anthropic.Anthropic]:
    with client_of(gate, account) as client:
        yield client


def test_a_message_is_answered(client: anthropic.Anthropic, account: Account) -> None:
    answer = client.messages.create(model=MODEL, messages=HELLO, max_tokens=6)
    account.saw(MESSAGES, answer.usage.input_tokens, answer.usage.output_tokens)

    assert ["text"] == [block.type for block in answer.content]
    assert 0 < answer.usage.input_tokens
    assert 0 < answer.usage.output_tokens <= 6


def test_a_message_is_streamed(client: anthropic.Anthropic, account: Account) -> None:
    with client.messages.stream(model=MODEL, messages=HELLO, max_tokens=6) as stream:
        text = "".join(stream.text_stream)
        usage = stream.get_final_message().usage
    account.saw(MESSAGES, usage.input_tokens, usage.output_tokens)

    assert text
    assert 0 < usage.output_tokens <= 6


def test_a_tool_is_called(client: anthropic.Anthropic, account: Account) -> None:
    city: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = client.messages.create(
        model=MODEL,
        messages=[{"role": "user", "content": WEATHER}],
        tools=[{"name": "get_weather", "input_schema": city}],
        max_tokens=100,
    )
    account.saw(MESSAGES, answer.usage.input_tokens, answer.usage.output_tokens)

    (block,) = answer.content
    assert isinstance(block, ToolUseBlock)
    assert ("get_weather", "tool_use") == (block.name, answer.stop_reason)


def test_a_picture_gets_the_models_own_refusal(client: anthropic.Anthropic, account: Account) -> None:
    picture: ImageBlockParam = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
    with pytest.raises(anthropic.BadRequestError, match=BLIND) as error:
        client.messages.create(model=MODEL, messages=[{"role": "user", "content": [picture]}], max_tokens=6)
    account.saw_refusal(MESSAGES)

    assert "invalid_request_error" == error.value.type


def test_without_a_living_key_there_is_an_authentication_error(gate: Gate, refused: Account) -> None:
    # The client insists on a key; who has none must take it off again.
    nothing = {} if refused.key else {"Authorization": anthropic.Omit()}
    with client_of(gate, refused) as client, pytest.raises(anthropic.AuthenticationError) as error:
        client.messages.create(model=MODEL, messages=HELLO, max_tokens=6, extra_headers=nothing)

    assert "authentication_error" == error.value.type


def test_a_model_that_the_key_may_not_use_is_not_found(gate: Gate, confined: Account) -> None:
    with client_of(gate, confined) as client, pytest.raises(anthropic.NotFoundError) as error:
        client.messages.create(model=MODEL, messages=HELLO, max_tokens=6)

    assert "not_found_error" == error.value.type
