"""A stand-in for Ollama that says one fixed text, word by word: the same question gives the same bytes, always.

A token is a word here, so that whoever counts tokens can be checked by counting words. Its models are names: they can
be pulled, copied and deleted, and all of them say the same.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from proxy.demo import anthropic, catalogue, native, openai, responses, voices, wire
from proxy.demo.native import Json, Model
from proxy.demo.said import Said
from proxy.demo.shelf import Shelf
from proxy.demo.standing import Standing
from proxy.demo.voices import Voice
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
_SECOND = int(EPOCH.timestamp())


def _model(name: str, parameters: int, embedding_length: int) -> Model:
    digest = hashlib.sha256(name.encode()).hexdigest()
    family = re.split(r"[\d:.]", name)[0]
    return Model(name, digest, parameters // 2, family, parameters, "Q4_K_M", 8192, embedding_length, EPOCH)


MODELS = (_model("llama3.2:1b", 1_235_814_432, 2048), _model("gemma3:4b", 4_299_915_632, 2560))
PULLABLE = (_model("qwen3:0.6b", 596_049_920, 1024), _model("all-minilm:latest", 22_713_216, 384))
"""What the library has besides."""


def answer(prompt: int, limit: Any = None, *, word_seconds: float = 0.001) -> Said:
    """The text, cut after ``limit`` words where that is a number; a negative one means no limit, as Ollama has it."""
    words = in_words(ANSWER)
    spoken = words[:limit] if isinstance(limit, int) and limit >= 0 else words
    seconds = len(spoken) * max(word_seconds, 0.001)
    usage = Usage(prompt, len(spoken), load_seconds=0.001, prompt_seconds=prompt * 0.001, completion_seconds=seconds)
    reason = "stop" if spoken == words else "length"
    return Said("".join(spoken), reason, usage, 0.001 + prompt * 0.001 + seconds)


def in_words(text: str) -> list[str]:
    """Each with the space before it."""
    return re.findall(r"\s*\S+", text)


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
    """The handlers that talk. They share the pause between words."""

    def __init__(self, pause: float, models: Sequence[Model]) -> None:
        self._pause = pause
        self._models = models

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
            web.post("/v1/responses", self.v1_responses),
            web.post("/v1/audio/transcriptions", self.v1_transcriptions),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        return await self._native(request, body, words_in(body.get("messages")), chat=True)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body, required=False)
        prompt = words_in(body.get("prompt"))
        return await self._native(request, body, prompt and prompt + words_in(body.get("system")), chat=False)

    async def _native(self, request: web.Request, body: Json, prompt: int, *, chat: bool) -> web.StreamResponse:
        name, streams = body["model"], wire.wants_stream(body, default=True)
        if not prompt:
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            return wire.whole(request, native.only_loaded(name, EPOCH, reason, chat=chat))
        said = self._answer(prompt, native.inner(body, "options").get("num_predict"))
        return await self._say(request, voices.Native(name, lambda: EPOCH, chat=chat), said, streams)

    async def v1_chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        if not body.get("messages"):
            raise NotUnderstood("[] is too short - 'messages'")
        return await self._openai(request, body, words_in(body["messages"]), chat=True)

    async def v1_completions(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body, required=False)
        if not isinstance(body.get("prompt", ""), str):
            raise NotUnderstood("json: cannot unmarshal the field prompt into string")
        return await self._openai(request, body, words_in(body.get("prompt")), chat=False)

    async def _openai(self, request: web.Request, body: Json, prompt: int, *, chat: bool) -> web.StreamResponse:
        streams = wire.wants_stream(body, default=False)
        asks_counts = native.inner(body, "stream_options").get("include_usage") is True
        form = openai.Form(body["model"], _SECOND, chat, counts_every_chunk=asks_counts and not chat)
        said = self._answer(prompt, body.get("max_tokens")) if prompt else Said("", "load", Usage())
        return await self._say(request, voices.OpenAI(form, counts=asks_counts), said, streams)

    async def v1_messages(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        anthropic.check(body)
        said = self._answer(words_in([body.get("system"), body["messages"]]), body["max_tokens"])
        voice = voices.Anthropic(body["model"], estimate=max(1, len(await request.read()) // 4))
        return await self._say(request, voice, said, wire.wants_stream(body, default=False))

    async def v1_responses(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        prompt = words_in(body.get("input"))
        whole = self._answer(prompt + words_in(body.get("instructions")), body.get("max_output_tokens"))
        voice = voices.Responses(responses.Form(body["model"], _SECOND, body))
        streams = wire.wants_stream(body, default=False)
        return await self._say(request, voice, whole if prompt else Said("", "load", Usage()), streams)

    async def v1_transcriptions(self, request: web.Request) -> web.StreamResponse:
        """Ollama runs it as a chat that streams, so it declares lines whatever follows. A query beats the form."""
        if request.content_type != "multipart/form-data":
            raise NotUnderstood("request Content-Type isn't multipart/form-data")
        form = await request.post()
        if not isinstance(form.get("file"), web.FileField):
            raise NotUnderstood("http: no such file")
        wire.asked_model(self._models, {"model": request.query.get("model") or form.get("model")})
        said = self._answer(words_in(form.get("prompt")))
        plain = form.get("response_format") == "text"
        body = said.text.encode() if plain else voices.as_line({"text": said.text}).rstrip(b"\n")
        response = await wire.opened(request, voices.LINES)
        await self._spoken_in_silence(said)
        await response.write(body)
        return response

    async def embed(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        texts = self._asked_texts(body)
        usage = Usage(sum(map(words_in, texts)), load_seconds=0.001)
        vectors = [vector(text, body.get("dimensions")) for text in texts]
        return wire.whole(request, native.embedded(body["model"], vectors, usage, seconds=0.002))

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        if not body.get("model"):
            raise NotUnderstood("model is required")
        texts = self._asked_texts({**body, "input": body.get("prompt")})
        return wire.whole(request, {"embedding": vector(texts[0]) if texts else []})

    async def v1_embeddings(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        texts = self._asked_texts(body)
        if not texts:
            raise NotUnderstood("invalid input")
        vectors = [vector(text, body.get("dimensions")) for text in texts]
        as_base64 = body.get("encoding_format") == "base64"
        return wire.whole(
            request, openai.embedded(body["model"], vectors, sum(map(words_in, texts)), as_base64=as_base64)
        )

    def _asked_texts(self, body: Json) -> list[str]:
        """The inputs of an embedding. These routes have a text of their own for a model that is not there."""
        try:
            wire.asked_model(self._models, body, required=False)
        except NoSuchModel as absent:
            name = body.get("model") or ""
            wanted = f'model "{name}" not found, try pulling it first' if name else absent.message
            raise NoSuchModel(wanted) from absent
        return wire.several(body.get("input"))

    def _answer(self, prompt: int, limit: Any = None) -> Said:
        return answer(prompt, limit, word_seconds=self._pause)

    async def _say(self, request: web.Request, voice: Voice, said: Said, streams: bool) -> web.StreamResponse:
        if not streams:
            await self._spoken_in_silence(said)
            return wire.whole(request, voice.whole(said))
        response = await wire.opened(request, voice.content_type)
        await response.write(voice.opening())
        async for word in self._spoken(said):
            await response.write(voice.piece(word))
        await response.write(voice.closing(said))
        return response

    async def _spoken(self, said: Said) -> AsyncIterator[str]:
        for word in in_words(said.text):
            if self._pause:
                await asyncio.sleep(self._pause)
            yield word

    async def _spoken_in_silence(self, said: Said) -> None:
        """A whole answer takes as long as its words, as it would from a model."""
        async for _ in self._spoken(said):
            pass


async def start(host: str = "127.0.0.1", port: int = 0, *, pause: float = 0.06) -> Standing:
    """A scripted Ollama that answers on ``host``, with a pause (seconds) before each word; port 0 takes a free one."""
    models = list(MODELS)
    app = wire.application()
    app.add_routes([*catalogue.routes(models), *Script(pause, models).routes(), *Shelf(models, PULLABLE).routes()])
    return await wire.standing(app, host, port)
