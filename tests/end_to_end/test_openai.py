"""The Python client of OpenAI."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.asked import BLIND, PIXEL
from tests.end_to_end.gate import Account, Gate

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
CHAT = "/v1/chat/completions"


def client_of(gate: Gate, account: Account) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gate.url}/v1", api_key=account.key or "none", max_retries=0)


@pytest.fixture
def client(gate: Gate, account: Account) -> Iterator[openai.OpenAI]:
    with client_of(gate, account) as client:
        yield client


def test_the_model_is_listed(client: openai.OpenAI, account: Account) -> None:
    listed = [model.id for model in client.models.list()]
    account.saw("/v1/models")

    assert [MODEL] == listed


def test_the_model_is_found_by_its_name(client: openai.OpenAI, account: Account) -> None:
    found = client.models.retrieve(MODEL)
    account.saw("/v1/models/{segment}")

    assert MODEL == found.id


def test_a_chat_is_answered(client: openai.OpenAI, account: Account) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=6, temperature=0)
    assert answer.usage is not None
    account.saw(CHAT, answer.usage.prompt_tokens, answer.usage.completion_tokens)

    assert answer.choices[0].message.content
    assert 0 < answer.usage.prompt_tokens
    assert 0 < answer.usage.completion_tokens <= 6


def test_a_streamed_chat_tells_its_counts_to_whoever_asks_and_only_to_them(
    client: openai.OpenAI, account: Account
) -> None:
    def streamed(**options: Any) -> tuple[str, list[openai.types.CompletionUsage], list[int]]:
        with client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=6, temperature=0, stream=True, **options
        ) as stream:
            chunks = list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return text, [chunk.usage for chunk in chunks if chunk.usage], [len(chunk.choices) for chunk in chunks]

    text, (usage,), _ = streamed(stream_options={"include_usage": True})
    same_text, no_usage, choices = streamed()
    for _ in range(2):  # At this temperature the same question costs the same again.
        account.saw(CHAT, usage.prompt_tokens, usage.completion_tokens)

    assert text == same_text != ""
    assert [] == no_usage
    assert {1} == set(choices)
    assert 6 == usage.completion_tokens


def test_a_completion_is_streamed(client: openai.OpenAI, account: Account) -> None:
    with client.completions.create(
        model=MODEL,
        prompt="One, two, three,",
        max_tokens=6,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    usage = chunks[-1].usage
    assert usage is not None
    account.saw("/v1/completions", usage.prompt_tokens, usage.completion_tokens)

    assert "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert 0 < usage.prompt_tokens
    assert 0 < usage.completion_tokens <= 6


def test_a_response_is_given(client: openai.OpenAI, account: Account) -> None:
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=6, temperature=0)
    assert answer.usage is not None
    account.saw("/v1/responses", answer.usage.input_tokens, answer.usage.output_tokens)

    assert answer.output_text
    assert 6 == answer.usage.output_tokens


def test_a_response_is_streamed(client: openai.OpenAI, account: Account) -> None:
    with client.responses.stream(model=MODEL, input="Say hello.", max_output_tokens=6, temperature=0) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        answer = stream.get_final_response()
    assert answer.usage is not None
    account.saw("/v1/responses", answer.usage.input_tokens, answer.usage.output_tokens)

    assert 1 < len(pieces)
    assert answer.output_text == "".join(pieces)
    assert 6 == answer.usage.output_tokens


def test_a_picture_gets_the_models_own_refusal(client: openai.OpenAI, account: Account) -> None:
    picture = f"data:image/png;base64,{PIXEL}"
    with pytest.raises(openai.BadRequestError, match=BLIND):
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}],
        )
    account.saw_refusal(CHAT)


def test_texts_are_embedded(client: openai.OpenAI, account: Account) -> None:
    answer = client.embeddings.create(model=MODEL, input=["cat", "dog"])
    account.saw("/v1/embeddings", answer.usage.prompt_tokens)

    assert [576, 576] == [len(vector.embedding) for vector in answer.data]
    assert 0 < answer.usage.prompt_tokens


def test_without_a_living_key_there_is_an_authentication_error(gate: Gate, refused: Account) -> None:
    # The client insists on a key; who has none must take it off again.
    nothing = {} if refused.key else {"Authorization": openai.Omit()}
    with client_of(gate, refused) as client, pytest.raises(openai.AuthenticationError) as error:
        client.chat.completions.create(model=MODEL, messages=HELLO, extra_headers=nothing)

    assert "invalid_api_key" == error.value.code


def test_a_model_that_the_key_may_not_use_is_not_found(gate: Gate, confined: Account) -> None:
    with client_of(gate, confined) as client, pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)

    assert "model_not_found" == error.value.code
