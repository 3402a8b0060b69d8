"""Real weights answer here. One engine serves all of these tests, and gives one answer at a time."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from proxy.demo import real, weights
from proxy.demo.engine import Sizes
from proxy.errors import Misconfigured

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = [{"role": "user", "content": "Say hello."}]
LONG = {"ignore_eos": True, "max_tokens": 4000, "raw": True, "options": {"num_predict": 4000, "temperature": 0}}
"""Half a minute of talk at the least, asked for in the words of either API."""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return weights.find(folder) or weights.fetch(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama(file: Path) -> AsyncIterator[aiohttp.ClientSession]:
    standing = await real.start(file, sizes=Sizes(parallel=1))
    async with aiohttp.ClientSession(standing.url) as session:
        yield session
    await standing.stop()


async def whole(ollama: aiohttp.ClientSession, path: str, **body: Any) -> Json:
    async with ollama.post(path, json={"model": real.NAME, **body}) as answer:
        assert 200 == answer.status, await answer.text()
        told: Json = await answer.json()
        return told


async def test_the_model_is_listed_and_shown(ollama: aiohttp.ClientSession) -> None:
    (listed,) = (await (await ollama.get("/api/tags")).json())["models"]
    shown = await whole(ollama, "/api/show")

    assert real.NAME == listed["name"]
    assert "134.52M" == listed["details"]["parameter_size"] == shown["details"]["parameter_size"]
    assert 4096 == shown["model_info"]["llama.context_length"]


async def test_a_chat_streams_tokens_and_ends_with_their_number(ollama: aiohttp.ClientSession) -> None:
    body = {"model": real.NAME, "messages": HELLO, "options": {"num_predict": 5, "temperature": 0}}
    async with ollama.post("/api/chat", json=body) as answer:
        *pieces, last = [json.loads(line) async for line in answer.content]

    assert 1 < len(pieces) <= 5
    assert "".join(piece["message"]["content"] for piece in pieces)
    assert (True, "length", 5) == (last["done"], last["done_reason"], last["eval_count"])
    assert 0 < last["prompt_eval_count"]
    assert last["prompt_eval_duration"] + last["eval_duration"] <= last["total_duration"]


async def test_a_raw_prompt_costs_what_it_says_and_no_template(ollama: aiohttp.ClientSession) -> None:
    limit = {"options": {"num_predict": 3}, "stream": False}
    raw = await whole(ollama, "/api/generate", prompt="One two", raw=True, **limit)
    dressed = await whole(ollama, "/api/generate", prompt="One two", **limit)

    assert (2, 3) == (raw["prompt_eval_count"], raw["eval_count"])
    assert 2 < dressed["prompt_eval_count"]
    assert dressed["response"]


async def test_texts_are_embedded_and_counted_by_either_api(ollama: aiohttp.ClientSession) -> None:
    told = await whole(ollama, "/api/embed", input=["cat", "dog"])
    v1 = await whole(ollama, "/v1/embeddings", input=["cat", "dog"])

    assert [576, 576] == [len(vector) for vector in told["embeddings"]]
    assert v1["usage"]["prompt_tokens"] == told["prompt_eval_count"]


async def test_a_chat_stream_asked_for_counts_tells_them_last(ollama: aiohttp.ClientSession) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 4}
    body = {"model": real.NAME, "messages": HELLO, **asked}
    async with ollama.post("/v1/chat/completions", json=body) as answer:
        assert "text/event-stream" == answer.content_type
        *chunks, done = (await answer.text()).removesuffix("\n\n").split("\n\n")

    last = json.loads(chunks[-1].removeprefix("data: "))
    assert "data: [DONE]" == done
    assert ([], 4) == (last["choices"], last["usage"]["completion_tokens"])


async def test_a_message_stream_tells_the_whole_prompt_at_its_end(ollama: aiohttp.ClientSession) -> None:
    body = {"messages": HELLO, "max_tokens": 3}
    alone = await whole(ollama, "/v1/messages", **body)
    async with ollama.post("/v1/messages", json={"model": real.NAME, "stream": True, **body}) as answer:
        told = (await answer.text()).removesuffix("\n\n").split("\n\n")

    (delta,) = [json.loads(event.split("data: ")[1]) for event in told if event.startswith("event: message_delta")]
    assert "event: message_stop" == told[-1].split("\n")[0]
    assert alone["usage"] == delta["usage"]
    assert 3 == delta["usage"]["output_tokens"]


async def test_a_message_that_begins_with_an_emoji_has_a_beginning_all_the_same(ollama: aiohttp.ClientSession) -> None:
    stars = [{"role": "user", "content": "Stars!"}, {"role": "assistant", "content": "🌟🌟🌟🌟🌟🌟"}]
    body = {"messages": stars, "max_tokens": 6, "temperature": 0}
    alone = await whole(ollama, "/v1/messages", **body)
    async with ollama.post("/v1/messages", json={"model": real.NAME, "stream": True, **body}) as answer:
        told = (await answer.text()).split("\n\n")

    begun = [json.loads(event.split("data: ")[1]) for event in told if event.startswith("event: message_start")]
    assert "🌟" == alone["content"][0]["text"][:1]
    assert 1 == len(begun)


WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}
TIME = {"name": "get_time", "description": "The time now", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": TIME}]
ASKS = [{"role": "user", "content": "What is the weather in Paris?"}]
COLD = {"options": {"temperature": 0}, "temperature": 0}


def is_a_call(name: str, arguments: Json) -> bool:
    if name == "get_time":
        return arguments == {}
    return (
        name == "get_weather"
        and arguments.keys() == {"city", "unit"}
        and isinstance(arguments["city"], str)
        and arguments["unit"] in ("celsius", "fahrenheit")
    )


async def test_offered_tools_are_called_streamed_or_not(ollama: aiohttp.ClientSession) -> None:
    asked = {"messages": ASKS, "tools": TOOLS, **COLD}
    told = await whole(ollama, "/api/chat", stream=False, **asked)
    async with ollama.post("/api/chat", json={"model": real.NAME, **asked}) as answer:
        calling, last = [json.loads(line) async for line in answer.content]

    (call,) = told["message"]["tool_calls"]
    assert "" == told["message"]["content"]
    assert is_a_call(call["function"]["name"], call["function"]["arguments"])
    assert [call] == calling["message"]["tool_calls"]
    assert (True, "stop", told["eval_count"]) == (last["done"], last["done_reason"], last["eval_count"])
    assert "tool_calls" not in last["message"]


async def test_openais_api_gets_its_calls_in_one_chunk(ollama: aiohttp.ClientSession) -> None:
    asked = {"messages": ASKS, "tools": TOOLS, **COLD}
    told = await whole(ollama, "/v1/chat/completions", **asked)
    async with ollama.post("/v1/chat/completions", json={"model": real.NAME, "stream": True, **asked}) as answer:
        *events, done = (await answer.text()).removesuffix("\n\n").split("\n\n")

    (choice,) = told["choices"]
    (call,) = choice["message"]["tool_calls"]
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert ("tool_calls", "function") == (choice["finish_reason"], call["type"])
    assert is_a_call(call["function"]["name"], json.loads(call["function"]["arguments"]))
    assert [[call]] == [each["delta"]["tool_calls"] for each in choices if "tool_calls" in each["delta"]]
    assert ("tool_calls", "data: [DONE]") == (choices[-1]["finish_reason"], done)


async def test_anthropics_api_gets_its_calls_as_blocks(ollama: aiohttp.ClientSession) -> None:
    tools = [{"name": "get_weather", "input_schema": WEATHER["parameters"]}]
    asked = {"messages": ASKS, "tools": tools, "max_tokens": 200, "temperature": 0}
    told = await whole(ollama, "/v1/messages", **asked)
    async with ollama.post("/v1/messages", json={"model": real.NAME, "stream": True, **asked}) as answer:
        events = [json.loads(line[6:]) async for line in answer.content if line.startswith(b"data: ")]

    (use,) = told["content"]
    assert ("tool_use", "tool_use") == (told["stop_reason"], use["type"])
    assert is_a_call(use["name"], use["input"])
    assert [json.dumps(use["input"])] == [
        event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"
    ]


async def test_the_responses_api_gets_its_calls_as_items(ollama: aiohttp.ClientSession) -> None:
    asked = {"input": ASKS, "tools": [{"type": "function", **WEATHER}], "temperature": 0}
    told = await whole(ollama, "/v1/responses", **asked)

    (item,) = told["output"]
    assert "function_call" == item["type"]
    assert is_a_call(item["name"], json.loads(item["arguments"]))


CALL = {"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function", "function": CALL}]}
USED = {"type": "tool_use", "id": "a", "name": CALL["name"], "input": CALL["arguments"]}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "sunny"}
ITEMS = [{"type": "function_call", "call_id": "a", **CALL}, {"type": "function_call_output", "output": "sunny"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": [*ASKS, CALLED, {"role": "tool", "content": "sunny"}], "tools": TOOLS}),
        ("/v1/chat/completions", {"messages": [*ASKS, CALLED, {"role": "tool", "content": "sunny"}], "tools": TOOLS}),
        (
            "/v1/messages",
            {
                "messages": [*ASKS, {"role": "assistant", "content": [USED]}, {"role": "user", "content": [RESULT]}],
                "tools": [WEATHER],
            },
        ),
        ("/v1/responses", {"input": [*ASKS, *ITEMS], "tools": TOOLS}),
    ],
)
async def test_the_result_of_a_call_is_answered_in_words(ollama: aiohttp.ClientSession, path: str, body: Json) -> None:
    limits = {"max_tokens": 3, "max_output_tokens": 3, "options": {"num_predict": 3, "temperature": 0}}
    told = json.dumps(await whole(ollama, path, stream=False, temperature=0, **limits, **body))

    assert not any(word in told for word in ('"tool_calls":', '"tool_use"', '"function_call"'))
    assert any(f'"{count}": 3' in told for count in ("eval_count", "completion_tokens", "output_tokens"))


async def test_a_call_that_is_cut_off_is_told_as_the_text_that_it_is(ollama: aiohttp.ClientSession) -> None:
    told = await whole(
        ollama, "/api/chat", messages=ASKS, tools=TOOLS, stream=False, options={"num_predict": 9, "temperature": 0}
    )

    assert "{" == told["message"]["content"][:1]
    assert ("length", 9) == (told["done_reason"], told["eval_count"])


ANIMAL = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "legs": {"type": "integer"}},
    "required": ["kind", "legs"],
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/api/chat", {"format": ANIMAL, "stream": False}),
        (
            "/v1/chat/completions",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL}}},
        ),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "name": "animal", "schema": ANIMAL}}}),
    ],
)
async def test_an_answer_is_held_to_the_schema_that_is_asked_for(
    ollama: aiohttp.ClientSession, path: str, wanted: Json
) -> None:
    asked = {"messages": HELLO, "input": "An animal."}
    told = await whole(ollama, path, **asked, **wanted, **COLD)

    text = (
        told["message"]["content"]
        if "message" in told
        else told["choices"][0]["message"]["content"]
        if "choices" in told
        else told["output"][0]["content"][0]["text"]
    )
    animal = json.loads(text)
    assert animal["kind"] in ("cat", "dog")
    assert isinstance(animal["legs"], int)


async def test_a_response_streams_numbered_events_and_ends_with_its_counts(ollama: aiohttp.ClientSession) -> None:
    asked = {"input": "Say hello.", "max_output_tokens": 4, "temperature": 0}
    alone = await whole(ollama, "/v1/responses", **asked)
    async with ollama.post("/v1/responses", json={"model": real.NAME, "stream": True, **asked}) as answer:
        text = await answer.text()

    events = [json.loads(block.split("\ndata: ")[1]) for block in text.removesuffix("\n\n").split("\n\n")]
    assert "[DONE]" not in text
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    assert ["response.created", "response.in_progress", "response.output_item.added"] == [
        event["type"] for event in events[:3]
    ]
    assert ("response.completed", alone["usage"]) == (events[-1]["type"], events[-1]["response"]["usage"])
    assert 4 == alone["usage"]["output_tokens"]
    assert alone["output"] == events[-1]["response"]["output"]


PIXEL = "iVBORw0KGgo="
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
SOURCE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "What?", "images": [PIXEL]}]}),
        ("/api/generate", {"prompt": "What?", "images": [PIXEL]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [PICTURE]}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [SOURCE]}], "max_tokens": 1}),
        ("/v1/responses", {"input": [{"role": "user", "content": [{**PICTURE, "type": "input_image"}]}]}),
    ],
)
async def test_a_picture_is_more_than_this_model_can_take(ollama: aiohttp.ClientSession, path: str, body: Json) -> None:
    async with ollama.post(path, json={"model": real.NAME, **body}) as answer:
        assert (400, True) == (answer.status, "does not support vision" in await answer.text())


async def test_the_loaded_model_tells_how_much_a_conversation_may_hold(ollama: aiohttp.ClientSession) -> None:
    (loaded,) = (await (await ollama.get("/api/ps")).json())["models"]

    assert 4096 == loaded["context_length"]


@pytest.mark.parametrize("path", ["/v1/completions", "/api/generate"])
async def test_the_engine_stops_when_the_client_leaves(ollama: aiohttp.ClientSession, path: str) -> None:
    body = {"model": real.NAME, "prompt": "1, 2, 3, 4, 5, 6,", "stream": True, **LONG}
    async with ollama.post(path, json=body) as answer:
        await answer.content.readline()
        answer.close()

    await gets_an_answer_soon(ollama)


@pytest.mark.parametrize("path", ["/v1/completions", "/api/generate"])
async def test_the_engine_stops_when_the_client_leaves_before_the_first_byte(
    ollama: aiohttp.ClientSession, path: str
) -> None:
    """There is no write that could fail, so only the cancelled handler can tell the engine."""
    root = await ollama.get("/")
    body = json.dumps({"model": real.NAME, "prompt": "1, 2, 3,", "stream": False, **LONG}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    _, leaving = await asyncio.open_connection(root.url.host, root.url.port)
    leaving.write(head + body)
    await leaving.drain()
    leaving.close()
    await leaving.wait_closed()

    await gets_an_answer_soon(ollama)


async def gets_an_answer_soon(ollama: aiohttp.ClientSession) -> None:
    """There is one slot, so that one answer has to wait for another's end."""
    async with asyncio.timeout(10):
        told = await whole(ollama, "/v1/chat/completions", messages=HELLO, max_tokens=1)

    assert 1 == told["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/chat", 404, "model 'nobody' not found"),
        ("/v1/chat/completions", 404, "model 'nobody' not found"),
        ("/v1/messages", 404, "model 'nobody' not found"),
    ],
)
async def test_another_model_is_not_found(ollama: aiohttp.ClientSession, path: str, status: int, message: str) -> None:
    async with ollama.post(path, json={"model": "nobody", "messages": HELLO, "max_tokens": 1}) as answer:
        assert status == answer.status
        assert message in await answer.text()


async def test_a_chat_without_messages_is_refused_in_the_shape_of_the_route(ollama: aiohttp.ClientSession) -> None:
    async with ollama.post("/v1/chat/completions", json={"model": real.NAME}) as answer:
        assert (400, "invalid_request_error") == (answer.status, (await answer.json())["error"]["type"])


async def test_a_model_without_weights_says_so_instead_of_starting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="status 2"):
        await real.start(tmp_path / "nothing.gguf")


async def test_a_model_that_takes_too_long_is_given_up(file: Path) -> None:
    with pytest.raises(Misconfigured, match="within 0 seconds"):
        await real.start(file, patience=0)


async def test_a_model_stops_in_the_middle_of_an_answer(file: Path) -> None:
    standing = await real.start(file, sizes=Sizes(parallel=1))
    async with aiohttp.ClientSession(standing.url) as session:
        body = {"model": real.NAME, "prompt": "1, 2,", "stream": True, **LONG}
        async with session.post("/v1/completions", json=body) as answer:
            await answer.content.readline()

            async with asyncio.timeout(4):  # Sooner than it would have been killed.
                await standing.stop()
