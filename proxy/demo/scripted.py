"""A stand-in for Ollama that says one fixed text, word by word: the same question gives the same bytes, always.

A token is a word here, so that whoever counts tokens can be checked by counting words.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from proxy.demo import anthropic, catalogue, native, openai, wire
from proxy.demo.native import Json, Model
from proxy.demo.standing import Standing
from proxy.errors import NoSuchModel, NotUnderstood
from proxy.vocabulary import Usage

ANSWER = (
    "No model is running here. These words come from a script that stands in for Ollama, so that you can watch an "
    "answer stream before you have a model. If you asked through Llamagate, it has checked your key, passed these "
    "words on as they were spoken, and written their number in its ledger. Put a real Ollama behind it, and the next "
    "answer is a real one."
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Every time stamp of the script: a clock would make two answers differ."""


def _model(name: str, parameters: int, embedding_length: int) -> Model:
    digest = hashlib.sha256(name.encode()).hexdigest()
    family = re.split(r"[\d:.]", name)[0]
    return Model(name, digest, parameters // 2, family, parameters, "Q4_K_M", 8192, embedding_length, EPOCH)


MODELS = (_model("llama3.2:1b", 1_235_814_432, 2048), _model("gemma3:4b", 4_299_915_632, 2560))


@dataclass(frozen=True, slots=True)
class Answer:
    """What will be said, and what it costs."""

    words: tuple[str, ...]
    reason: str
    usage: Usage

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def seconds(self) -> float:
        phases = (self.usage.load_seconds, self.usage.prompt_seconds, self.usage.completion_seconds)
        return sum(phase or 0 for phase in phases)


def answer(prompt: int, limit: Any = None, *, word_seconds: float = 0.001) -> Answer:
    """The text, cut after ``limit`` words where that is a number; a negative one means no limit, as Ollama has it."""
    words = tuple(re.findall(r"\s*\S+", ANSWER))
    spoken = words[:limit] if isinstance(limit, int) and limit >= 0 else words
    seconds = len(spoken) * max(word_seconds, 0.001)
    usage = Usage(prompt, len(spoken), load_seconds=0.001, prompt_seconds=prompt * 0.001, completion_seconds=seconds)
    return Answer(spoken, "stop" if spoken == words else "length", usage)


def words_in(content: Any) -> int:
    """The tokens of a prompt: a text, a list of messages, or a list of typed parts."""
    if isinstance(content, str):
        return len(content.split())
    if isinstance(content, dict):
        return words_in(content.get("content") or content.get("text"))
    return sum(words_in(part) for part in content) if isinstance(content, list) else 0


def vector(text: str, length: Any = None) -> list[float]:
    """As good as any hash: equal texts are near each other, and that is all it knows."""
    whole = [byte / 128 - 1 for byte in hashlib.sha256(text.encode()).digest()]
    return whole[:length] if isinstance(length, int) and length > 0 else whole


class Script:
    """The handlers. They share the pause between words, and remember nothing from one request to the next."""

    def __init__(self, pause: float) -> None:
        self._pause = pause

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/chat", self.chat),
            web.post("/api/generate", self.generate),
            web.post("/api/embed", self.embed),
            web.post("/api/embeddings", self.embeddings),
            web.post("/v1/chat/completions", self.v1_chat),
            web.post("/v1/completions", self.v1_completions),
            web.post("/v1/embeddings", self.v1_embeddings),
            web.post("/v1/messages", self.v1_messages),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(MODELS, body)
        return await self._native(request, body, words_in(body.get("messages")), chat=True)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(MODELS, body, required=False)
        prompt = words_in(body.get("prompt"))
        return await self._native(request, body, prompt and prompt + words_in(body.get("system")), chat=False)

    async def _native(self, request: web.Request, body: Json, prompt: int, *, chat: bool) -> web.StreamResponse:
        name, streams = body["model"], wire.wants_stream(body, default=True)
        if not prompt:
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            return wire.whole(request, native.only_loaded(name, EPOCH, reason, chat=chat))
        said = self._answer(prompt, native.inner(body, "options").get("num_predict"))
        if not streams:
            last = native.last(name, EPOCH, said.text, said.reason, said.usage, said.seconds, chat=chat)
            return await self._after_all_words(said, wire.whole(request, last))
        response = await wire.opened(request, wire.LINES)
        async for word in self._spoken(said):
            await response.write(wire.as_line(native.piece(name, EPOCH, word, chat=chat)))
        last = native.last(name, EPOCH, "", said.reason, said.usage, said.seconds, chat=chat)
        await response.write(wire.as_line(last))
        return response

    async def v1_chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(MODELS, body)
        if not body.get("messages"):
            raise NotUnderstood("[] is too short - 'messages'")
        return await self._openai(request, body, words_in(body["messages"]), chat=True)

    async def v1_completions(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(MODELS, body, required=False)
        if not isinstance(body.get("prompt", ""), str):
            raise NotUnderstood("json: cannot unmarshal the field prompt into string")
        return await self._openai(request, body, words_in(body.get("prompt")), chat=False)

    async def _openai(self, request: web.Request, body: Json, prompt: int, *, chat: bool) -> web.StreamResponse:
        streams = wire.wants_stream(body, default=False)
        asks_counts = native.inner(body, "stream_options").get("include_usage") is True
        form = openai.Form(body["model"], int(EPOCH.timestamp()), chat, counts_every_chunk=asks_counts and not chat)
        said = self._answer(prompt, body.get("max_tokens")) if prompt else Answer((), "load", Usage())
        if not streams:
            return await self._after_all_words(
                said, wire.whole(request, form.whole(said.text, said.reason, said.usage))
            )
        response = await wire.opened(request, wire.EVENTS)
        for chunk in form.opening():
            await response.write(wire.as_event(chunk))
        async for word in self._spoken(said):
            await response.write(wire.as_event(form.piece(word)))
        endings = [form.closing(said.reason), *([form.bill(said.usage)] if asks_counts else [])]
        # One write: Ollama's last events share a packet, and whoever reads them must be able to part them.
        await response.write(b"".join(map(wire.as_event, endings)) + openai.DONE)
        return response

    async def v1_messages(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(MODELS, body)
        anthropic.check(body)
        name, prompt = body["model"], words_in([body.get("system"), body["messages"]])
        said = self._answer(prompt, body["max_tokens"])
        if not wire.wants_stream(body, default=False):
            message = anthropic.whole(name, said.text, said.reason, said.usage)
            return await self._after_all_words(said, wire.whole(request, message))
        response = await wire.opened(request, wire.EVENTS)
        for event in anthropic.opening(name, estimate=max(1, len(await request.read()) // 4)):
            await response.write(wire.as_event(event, event["type"]))
        async for word in self._spoken(said):
            await response.write(wire.as_event(anthropic.piece(word), "content_block_delta"))
        for event in anthropic.closing(said.reason, said.usage):
            await response.write(wire.as_event(event, event["type"]))
        return response

    async def embed(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        texts = _asked_texts(body)
        usage = Usage(sum(map(words_in, texts)), load_seconds=0.001)
        vectors = [vector(text, body.get("dimensions")) for text in texts]
        return wire.whole(request, native.embedded(body["model"], vectors, usage, seconds=0.002))

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        if not body.get("model"):
            raise NotUnderstood("model is required")
        texts = _asked_texts({**body, "input": body.get("prompt")})
        return wire.whole(request, {"embedding": vector(texts[0]) if texts else []})

    async def v1_embeddings(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        texts = _asked_texts(body)
        if not texts:
            raise NotUnderstood("invalid input")
        vectors = [vector(text, body.get("dimensions")) for text in texts]
        as_base64 = body.get("encoding_format") == "base64"
        return wire.whole(
            request, openai.embedded(body["model"], vectors, sum(map(words_in, texts)), as_base64=as_base64)
        )

    def _answer(self, prompt: int, limit: Any) -> Answer:
        return answer(prompt, limit, word_seconds=self._pause)

    async def _spoken(self, said: Answer) -> AsyncIterator[str]:
        for word in said.words:
            if self._pause:
                await asyncio.sleep(self._pause)
            yield word

    async def _after_all_words(self, said: Answer, response: web.Response) -> web.Response:
        """A whole answer takes as long as its words, as it would from a model."""
        async for _ in self._spoken(said):
            pass
        return response


def _asked_texts(body: Json) -> list[str]:
    """The inputs of an embedding. These routes have a text of their own for a model that is not there."""
    try:
        wire.asked_model(MODELS, body, required=False)
    except NoSuchModel as absent:
        name = body.get("model") or ""
        raise NoSuchModel(f'model "{name}" not found, try pulling it first' if name else absent.message) from absent
    return wire.several(body.get("input"))


async def start(host: str = "127.0.0.1", port: int = 0, *, pause: float = 0.06) -> Standing:
    """A scripted Ollama that answers on ``host``, with a pause (seconds) before each word; port 0 takes a free one."""
    app = wire.application()
    app.add_routes([*catalogue.routes(MODELS), *Script(pause).routes()])
    return await wire.standing(app, host, port)
