"""Ollama's routes in front of llama.cpp: talk is translated, plain completions and embeddings are passed on.

A client that leaves cancels its handler; leaving the ``async with`` then closes the connection to the engine, which
stops at the next token.
"""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from proxy.demo import anthropic, catalogue, native, openai, questions, responses, voices, wire
from proxy.demo.engine import Engine
from proxy.demo.native import Json, Model
from proxy.demo.questions import Heard, Question
from proxy.demo.said import Said
from proxy.demo.voices import Voice
from proxy.errors import BackendBrokeOff, BackendRefused
from proxy.vocabulary import Clock, Now, Usage

PASSED_ON = ("/v1/completions", "/v1/embeddings")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Face:
    """The handlers over one engine with one model."""

    def __init__(
        self,
        engine: Engine,
        model: Model,
        session: aiohttp.ClientSession,
        clock: Clock = time.monotonic,
        now: Now = _utc_now,
    ) -> None:
        self._engine = engine
        self._models = (model,)
        self._session = session
        self._clock = clock
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        return [
            *catalogue.routes(self._models),
            web.post("/api/chat", self.chat),
            web.post("/api/generate", self.generate),
            web.post("/api/embed", self.embed),
            web.post("/api/embeddings", self.embeddings),
            web.post("/v1/chat/completions", self.v1_chat),
            web.post("/v1/messages", self.v1_messages),
            web.post("/v1/responses", self.v1_responses),
            *(web.post(path, self.pass_on) for path in PASSED_ON),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        return await self._native(request, body, questions.chat(body), chat=True)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body, required=False)
        return await self._native(request, body, questions.generate(body), chat=False)

    async def _native(
        self, request: web.Request, body: Json, asked: Question | None, *, chat: bool
    ) -> web.StreamResponse:
        streams = wire.wants_stream(body, default=True)
        if asked is None:
            return wire.whole(request, native.only_loaded(body["model"], self._now(), chat=chat))
        return await self._answer(request, asked, voices.Native(body["model"], self._now, chat=chat), streams)

    async def v1_chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        asked, streams = questions.v1_chat(body), wire.wants_stream(body, default=False)
        form = openai.Form(body["model"], self._second(), chat=True)
        voice = voices.OpenAI(form, counts=native.inner(body, "stream_options").get("include_usage") is True)
        return await self._answer(request, asked, voice, streams)

    async def v1_messages(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        anthropic.check(body)
        asked, streams = questions.v1_messages(body), wire.wants_stream(body, default=False)
        voice = voices.Anthropic(body["model"], estimate=max(1, len(await request.read()) // 4))
        return await self._answer(request, asked, voice, streams)

    async def v1_responses(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        asked, streams = questions.v1_responses(body), wire.wants_stream(body, default=False)
        return await self._answer(
            request, asked, voices.Responses(responses.Form(body["model"], self._second(), body)), streams
        )

    async def _answer(
        self, request: web.Request, asked: Question | None, voice: Voice, streams: bool
    ) -> web.StreamResponse:
        began, heard, response = self._clock(), Heard(), None
        if asked is None:
            return await wire.at_once(request, voice, Said("", "stop", Usage()), streams)
        async with self._session.post(await self._engine.url() + asked.path, json=asked.body) as told:
            await _accepted(told)
            if streams:
                response = await wire.opened(request, voice.content_type)
                await response.write(voice.opening())
            try:
                async for event in _events(told):
                    if (added := heard.take(event)) and response and not asked.calls:
                        await response.write(voice.piece(added))
                if heard.reason is None:
                    raise BackendBrokeOff
            except BackendBrokeOff as broken:
                if response is None:
                    raise
                await response.write(voice.broken(broken.message))  # The status line is long gone.
                return response
        said = heard.said(self._clock() - began, calls=asked.calls)
        if response is None:
            return wire.whole(request, voice.whole(said))
        if asked.calls and said.text:
            await response.write(voice.piece(said.text))
        await response.write(voice.closing(said))
        return response

    def _second(self) -> int:
        return int(self._now().timestamp())

    async def embed(self, request: web.Request) -> web.Response:
        body, began = await wire.question(request), self._clock()
        wire.asked_model(self._models, body, required=False)
        texts = wire.several(body.get("input"))
        vectors, usage = await self._vectors(texts)
        return wire.whole(request, native.embedded(body["model"], vectors, usage, self._clock() - began))

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        vectors, _ = await self._vectors(wire.several(body.get("prompt")))
        return wire.whole(request, {"embedding": vectors[0] if vectors else []})

    async def _vectors(self, texts: list[str]) -> tuple[list[list[float]], Usage]:
        began = self._clock()
        url = await self._engine.url(embeds=True)
        loading = self._clock() - began
        if not texts:
            return [], Usage(load_seconds=loading)
        async with self._session.post(url + "/v1/embeddings", json={"input": texts}) as told:
            await _accepted(told)
            answer = await told.json()
        rows = sorted(answer["data"], key=lambda row: int(row["index"]))
        return [row["embedding"] for row in rows], Usage(answer["usage"]["prompt_tokens"], load_seconds=loading)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        body["model"] = wire.asked_model(self._models, body).name
        url = await self._engine.url(embeds=request.path == "/v1/embeddings")
        async with self._session.post(url + request.path, json=body) as told:
            await _accepted(told)
            if told.content_type != voices.EVENTS:
                return web.Response(body=await told.read(), content_type="application/json")
            response = await wire.opened(request, voices.EVENTS)
            async for some in told.content.iter_any():
                await response.write(some)
            return response


async def _accepted(told: aiohttp.ClientResponse) -> None:
    if told.status != 200:
        try:
            answer = await told.json(content_type=None)
        except ValueError:
            answer = None
        raise BackendRefused(told.status, questions.complaint(answer))


async def _events(told: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    """The JSON of every server-sent event; the engine puts each on one line."""
    async for line in told.content:
        if line.startswith(b"data: {"):
            event: Json = json.loads(line[len(b"data: ") :])
            yield event
