import base64
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from proxy.demo import scripted
from proxy.demo.scripted import ANSWER

MODEL = "llama3.2:1b"
HELLO = [{"role": "user", "content": "hello there gate"}]
WORDS = len(ANSWER.split())

Json = dict[str, Any]


@pytest.fixture
async def ollama() -> AsyncIterator[aiohttp.ClientSession]:
    standing = await scripted.start(pause=0)
    async with aiohttp.ClientSession(standing.url) as session:
        yield session
    await standing.stop()


async def whole(ollama: aiohttp.ClientSession, path: str, **body: Any) -> Json:
    async with ollama.post(path, json={"model": MODEL, **body}) as answer:
        assert 200 == answer.status, await answer.text()
        told: Json = await answer.json()
        return told


async def lines(ollama: aiohttp.ClientSession, path: str, **body: Any) -> list[Json]:
    async with ollama.post(path, json={"model": MODEL, **body}) as answer:
        assert "application/x-ndjson" == answer.headers["Content-Type"]
        return [json.loads(line) async for line in answer.content]


async def events(ollama: aiohttp.ClientSession, path: str, **body: Any) -> list[str]:
    async with ollama.post(path, json={"model": MODEL, "stream": True, **body}) as answer:
        assert "text/event-stream" == answer.headers["Content-Type"]
        text = await answer.text()
    assert text.endswith("\n\n")
    return text.removesuffix("\n\n").split("\n\n")


def chunks(told: list[str]) -> list[Json]:
    assert "data: [DONE]" == told[-1]
    return [json.loads(event.removeprefix("data: ")) for event in told[:-1]]


async def test_the_root_says_what_ollama_says(ollama: aiohttp.ClientSession) -> None:
    async with ollama.get("/") as answer:
        assert "Ollama is running" == await answer.text()
    async with ollama.head("/") as answer:
        assert (200, "17") == (answer.status, answer.headers["Content-Length"])


async def test_the_lists_agree_about_the_models(ollama: aiohttp.ClientSession) -> None:
    tags = await (await ollama.get("/api/tags")).json()
    ps = await (await ollama.get("/api/ps")).json()
    v1 = await (await ollama.get("/v1/models")).json()

    names = ["llama3.2:1b", "gemma3:4b"]
    assert names == [model["name"] for model in tags["models"]]
    assert names == [model["model"] for model in ps["models"]]
    assert names == [model["id"] for model in v1["data"]]


async def test_a_model_is_shown_and_found_by_either_api(ollama: aiohttp.ClientSession) -> None:
    shown = await whole(ollama, "/api/show")
    one = await (await ollama.get(f"/v1/models/{MODEL}")).json()

    assert "llama" == shown["details"]["family"]
    assert MODEL == one["id"]


async def test_ollamas_own_chat_streams_unless_told_otherwise(ollama: aiohttp.ClientSession) -> None:
    *pieces, last = await lines(ollama, "/api/chat", messages=HELLO)

    assert ANSWER == "".join(piece["message"]["content"] for piece in pieces)
    assert {False} == {piece["done"] for piece in pieces}
    assert (True, "stop", 3, WORDS) == (
        last["done"],
        last["done_reason"],
        last["prompt_eval_count"],
        last["eval_count"],
    )
    assert all("eval_count" not in piece for piece in pieces)


async def test_a_whole_chat_has_the_counts_of_the_stream(ollama: aiohttp.ClientSession) -> None:
    told = await whole(ollama, "/api/chat", messages=HELLO, stream=False)

    assert ANSWER == told["message"]["content"]
    assert (3, WORDS) == (told["prompt_eval_count"], told["eval_count"])


async def test_generate_counts_the_system_prompt_too(ollama: aiohttp.ClientSession) -> None:
    *pieces, last = await lines(ollama, "/api/generate", prompt="one two", system="be brief now")

    assert ANSWER == "".join(piece["response"] for piece in pieces)
    assert (5, WORDS) == (last["prompt_eval_count"], last["eval_count"])


async def test_a_limit_cuts_the_answer_and_is_the_reason_it_ended(ollama: aiohttp.ClientSession) -> None:
    *pieces, last = await lines(ollama, "/api/chat", messages=HELLO, options={"num_predict": 4})

    assert 4 == len(pieces) == last["eval_count"]
    assert "length" == last["done_reason"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_request_that_asks_nothing_gets_one_object_without_counts(
    ollama: aiohttp.ClientSession, path: str
) -> None:
    told = await whole(ollama, path)

    assert (True, "load") == (told["done"], told["done_reason"])
    assert "total_duration" not in told


async def test_the_same_question_gives_the_same_bytes(ollama: aiohttp.ClientSession) -> None:
    assert await lines(ollama, "/api/chat", messages=HELLO) == await lines(ollama, "/api/chat", messages=HELLO)


@pytest.mark.parametrize(("path", "kind"), [("/v1/chat/completions", "chat.completion"), ("/v1/messages", "message")])
async def test_the_compatible_apis_stream_only_when_asked(ollama: aiohttp.ClientSession, path: str, kind: str) -> None:
    told = await whole(ollama, path, messages=HELLO, max_tokens=1000)

    assert kind in (told.get("object"), told.get("type"))


async def test_a_chat_completion_has_its_counts(ollama: aiohttp.ClientSession) -> None:
    told = await whole(ollama, "/v1/chat/completions", messages=HELLO)

    assert ANSWER == told["choices"][0]["message"]["content"]
    assert {"prompt_tokens": 3, "completion_tokens": WORDS, "total_tokens": 3 + WORDS} == told["usage"]


async def test_a_chat_stream_tells_no_counts_unless_asked(ollama: aiohttp.ClientSession) -> None:
    told = chunks(await events(ollama, "/v1/chat/completions", messages=HELLO))

    assert all("usage" not in chunk for chunk in told)
    assert ({}, "stop") == (told[-1]["choices"][0]["delta"], told[-1]["choices"][0]["finish_reason"])
    assert ANSWER == "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in told)


async def test_a_chat_stream_asked_for_counts_tells_them_once_and_last(ollama: aiohttp.ClientSession) -> None:
    asked = {"stream_options": {"include_usage": True}}
    *others, last = chunks(await events(ollama, "/v1/chat/completions", messages=HELLO, **asked))

    assert ([], WORDS) == (last["choices"], last["usage"]["completion_tokens"])
    assert all("usage" not in chunk for chunk in others)


async def test_a_text_stream_asked_for_counts_tells_zeros_until_the_last(ollama: aiohttp.ClientSession) -> None:
    asked = {"stream_options": {"include_usage": True}}
    *others, last = chunks(await events(ollama, "/v1/completions", prompt="one two", **asked))

    assert {0} == {chunk["usage"]["total_tokens"] for chunk in others}
    assert ([], 2, WORDS) == (last["choices"], last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"])
    assert ("", "stop") == (others[-1]["choices"][0]["text"], others[-1]["choices"][0]["finish_reason"])


async def test_a_message_stream_guesses_first_and_tells_the_truth_last(ollama: aiohttp.ClientSession) -> None:
    told = await events(ollama, "/v1/messages", messages=HELLO, max_tokens=1000)

    names = [event.split("\n")[0].removeprefix("event: ") for event in told]
    values = [json.loads(event.split("\ndata: ")[1]) for event in told]
    assert names == [value["type"] for value in values]
    assert ["message_start", "content_block_start", "content_block_delta"] == names[:3]
    assert ["content_block_stop", "message_delta", "message_stop"] == names[-3:]
    assert 3 < values[0]["message"]["usage"]["input_tokens"]
    assert {"input_tokens": 3, "output_tokens": WORDS} == values[-2]["usage"]


async def test_embeddings_are_counted_and_equal_for_equal_texts(ollama: aiohttp.ClientSession) -> None:
    told = await whole(ollama, "/api/embed", input=["a b", "c", "a b"])
    old = await whole(ollama, "/api/embeddings", prompt="c")
    v1 = await whole(ollama, "/v1/embeddings", input="c", encoding_format="base64")

    first, second, third = told["embeddings"]
    assert 5 == told["prompt_eval_count"]
    assert first == third != second
    assert {"embedding": second} == old
    assert {"prompt_tokens": 1, "total_tokens": 1} == v1["usage"]
    assert second == list(struct.unpack("<32f", base64.b64decode(v1["data"][0]["embedding"])))


async def test_a_response_has_its_counts_at_the_end_streamed_or_not(ollama: aiohttp.ClientSession) -> None:
    asked = {"input": "hello there", "instructions": "be brief", "max_output_tokens": 5}
    alone = await whole(ollama, "/v1/responses", **asked)
    told = await events(ollama, "/v1/responses", **asked)

    values = [json.loads(event.split("\ndata: ")[1]) for event in told]
    assert (4, 5) == (alone["usage"]["input_tokens"], alone["usage"]["output_tokens"])
    assert ("response.completed", alone) == (values[-1]["type"], values[-1]["response"])
    assert 5 == [value["type"] for value in values].count("response.output_text.delta")
    assert list(range(len(values))) == [value["sequence_number"] for value in values]


@pytest.mark.parametrize(("wanted", "written"), [("json", json.dumps({"text": ANSWER})), ("text", ANSWER)])
async def test_a_transcription_is_declared_as_lines_whatever_it_is(
    ollama: aiohttp.ClientSession, wanted: str, written: str
) -> None:
    form = aiohttp.FormData({"model": MODEL, "response_format": wanted})
    form.add_field("file", b"RIFF", filename="a.wav")
    async with ollama.post("/v1/audio/transcriptions", data=form) as answer:
        text = await answer.text()

    assert "application/x-ndjson" == answer.headers["Content-Type"]
    assert written == (json.dumps(json.loads(text)) if wanted == "json" else text)


async def test_a_transcription_is_made_by_the_model_of_the_query_and_only_of_a_form(
    ollama: aiohttp.ClientSession,
) -> None:
    form = aiohttp.FormData({"model": MODEL})
    form.add_field("file", b"RIFF", filename="a.wav")
    async with ollama.post("/v1/audio/transcriptions?model=nobody", data=form) as answer:
        assert 404 == answer.status
    async with ollama.post("/v1/audio/transcriptions", json={"model": MODEL}) as answer:
        assert 400 == answer.status


async def names(ollama: aiohttp.ClientSession) -> list[str]:
    return [model["name"] for model in (await (await ollama.get("/api/tags")).json())["models"]]


async def test_a_pull_tells_its_progress_and_then_there_is_one_model_more(ollama: aiohttp.ClientSession) -> None:
    told = await lines(ollama, "/api/pull", model="qwen3:0.6b")

    transfers = [line for line in told if "total" in line]
    assert ["pulling manifest", "success"] == [told[0]["status"], told[-1]["status"]]
    assert "completed" not in transfers[0]
    assert transfers[-1]["total"] == transfers[-1]["completed"]
    assert ["qwen3:0.6b", MODEL, "gemma3:4b"] == await names(ollama)
    assert ANSWER == (await whole(ollama, "/api/generate", model="qwen3:0.6b", prompt="x", stream=False))["response"]


async def test_a_pull_of_what_the_library_does_not_have_fails(ollama: aiohttp.ClientSession) -> None:
    absent = {"error": "pull model manifest: file does not exist"}

    assert absent == (await lines(ollama, "/api/pull", model="nobody"))[-1]
    async with ollama.post("/api/pull", json={"model": "nobody", "stream": False}) as answer:
        assert (500, absent) == (answer.status, await answer.json())
    assert {"status": "success"} == await whole(ollama, "/api/pull", stream=False)


async def test_a_model_is_copied_made_and_deleted(ollama: aiohttp.ClientSession) -> None:
    async with ollama.post("/api/copy", json={"source": MODEL, "destination": "twin"}) as answer:
        assert (200, b"") == (answer.status, await answer.read())
    assert {"status": "success"} == (await lines(ollama, "/api/create", **{"model": "mine", "from": MODEL}))[-1]
    assert ["mine:latest", "twin:latest", MODEL, "gemma3:4b"] == await names(ollama)

    for name in ("mine", "twin"):
        async with ollama.delete("/api/delete", json={"model": name}) as answer:
            assert (200, b"") == (answer.status, await answer.read())
    assert [MODEL, "gemma3:4b"] == await names(ollama)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/api/copy", 'model "nobody" not found'),
        ("DELETE", "/api/delete", "model 'nobody' not found"),
        ("POST", "/api/create", "model 'nobody' not found"),
    ],
)
async def test_what_is_not_there_cannot_be_copied_or_deleted(
    ollama: aiohttp.ClientSession, method: str, path: str, message: str
) -> None:
    body = {"source": "nobody", "destination": "x", "from": "nobody", "model": "nobody"}
    async with ollama.request(method, path, json=body) as answer:
        assert (404, {"error": message}) == (answer.status, await answer.json())


async def test_a_blob_is_kept_under_the_digest_that_it_has(ollama: aiohttp.ClientSession) -> None:
    digest = f"sha256:{hashlib.sha256(b'GGUF').hexdigest()}"
    path = f"/api/blobs/{digest}"

    assert 404 == (await ollama.head(path)).status
    assert 400 == (await ollama.post(path, data=b"other")).status
    assert 201 == (await ollama.post(path, data=b"GGUF")).status
    assert (200, 200) == ((await ollama.head(path)).status, (await ollama.post(path, data=b"GGUF")).status)
    told = await lines(ollama, "/api/create", model="mine", files={"a.gguf": digest})
    assert {"status": "success"} == told[-1]


NATIVE = {"error": "model 'nobody' not found"}
QUOTED = {"error": 'model "nobody" not found, try pulling it first'}
OPENAI = {"error": {"message": NATIVE["error"], "type": "not_found_error", "param": None, "code": None}}


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/api/chat", NATIVE),
        ("/api/generate", NATIVE),
        ("/api/show", NATIVE),
        ("/api/embed", QUOTED),
        ("/api/embeddings", QUOTED),
        ("/v1/chat/completions", OPENAI),
        ("/v1/completions", OPENAI),
    ],
)
async def test_an_unknown_model_is_refused_in_the_words_of_the_route(
    ollama: aiohttp.ClientSession, path: str, refusal: Json
) -> None:
    async with ollama.post(path, json={"model": "nobody", "messages": HELLO, "prompt": "x", "input": "x"}) as answer:
        assert (404, refusal) == (answer.status, await answer.json())


async def test_an_unknown_model_is_refused_as_anthropic_would(ollama: aiohttp.ClientSession) -> None:
    async with ollama.post("/v1/messages", json={"model": "nobody", "messages": HELLO, "max_tokens": 1}) as answer:
        told = await answer.json()

    assert (404, "error", "not_found_error") == (answer.status, told["type"], told["error"]["type"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model": 3}',
        b'{"model": "llama3.2:1b", "prompt": "x", "stream": "true"}',
        b'{"model": "llama3.2:1b", "prompt": "x", "options": "none", "stream_options": "none"}',
    ],
)
@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
async def test_a_body_that_makes_no_sense_is_a_400(ollama: aiohttp.ClientSession, path: str, body: bytes) -> None:
    async with ollama.post(path, data=body) as answer:
        assert 400 == answer.status
        assert "error" in await answer.json()


async def test_what_is_not_served_is_refused_in_plain_text(ollama: aiohttp.ClientSession) -> None:
    async with ollama.post("/api/push", json={"model": MODEL}) as answer:
        assert (404, "404 page not found") == (answer.status, await answer.text())
    async with ollama.get("/api/chat") as answer:
        assert (405, "POST") == (answer.status, answer.headers["Allow"])


async def test_a_stand_in_that_was_stopped_answers_no_more() -> None:
    standing = await scripted.start(pause=0)
    await standing.stop()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(standing.url)


async def test_two_stand_ins_know_nothing_of_each_other() -> None:
    one, other = await scripted.start(pause=0), await scripted.start(pause=60)

    await other.stop()
    async with aiohttp.ClientSession(one.url) as session:
        assert ANSWER == (await whole(session, "/api/chat", messages=HELLO, stream=False))["message"]["content"]
    await one.stop()


def test_the_answer_admits_that_no_model_is_running() -> None:
    assert "No model is running" in ANSWER
