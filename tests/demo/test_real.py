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
    body = {"model": real.NAME, "messages": HELLO, "options": {"num_predict": 5}}
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
    assert [alone["usage"]["input_tokens"]] == [event["message"]["usage"]["input_tokens"] for event in begun]


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


async def test_what_the_engine_refuses_is_refused_in_the_shape_of_the_route(ollama: aiohttp.ClientSession) -> None:
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
