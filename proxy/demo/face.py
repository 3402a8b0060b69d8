"""Ollama's routes in front of llama.cpp: its own API translated, the compatible ones passed on as they are.

A client that leaves cancels its handler; leaving the ``async with`` then closes the connection to the engine, which
stops at the next token.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from proxy.demo import anthropic, catalogue, native, questions, wire
from proxy.demo.engine import Engine
from proxy.demo.native import Json, Model
from proxy.demo.questions import Heard, Question
from proxy.errors import BackendBrokeOff, BackendRefused
from proxy.vocabulary import Clock, Now, Usage

PASSED_ON = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")


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
            web.post("/v1/messages", self.messages),
            *(web.post(path, self.pass_on) for path in PASSED_ON),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body)
        return await self._answer(request, body, questions.chat(body), chat=True)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wire.asked_model(self._models, body, required=False)
        return await self._answer(request, body, questions.generate(body), chat=False)

    async def _answer(
        self, request: web.Request, body: Json, asked: Question | None, *, chat: bool
    ) -> web.StreamResponse:
        name, streams, began = body["model"], wire.wants_stream(body, default=True), self._clock()
        if asked is None:
            return wire.whole(request, native.only_loaded(name, self._now(), chat=chat))
        response, heard = None, Heard()
        async with self._session.post(await self._engine.url() + asked.path, json=asked.body) as told:
            await _accepted(told)
            if streams:
                response = await wire.opened(request, wire.LINES)
            try:
                async for event in _events(told):
                    if (added := heard.take(event)) and response:
                        await response.write(wire.as_line(native.piece(name, self._now(), added, chat=chat)))
                if heard.reason is None:
                    raise BackendBrokeOff
            except BackendBrokeOff as broken:
                if response is None:
                    raise
                await response.write(wire.as_line(native.error(broken.message)))  # The status line is long gone.
                return response
        text = "" if response else heard.text
        reason = "length" if heard.reason == "length" else "stop"
        last = native.last(name, self._now(), text, reason, heard.usage, self._clock() - began, chat=chat)
        if response is None:
            return wire.whole(request, last)
        await response.write(wire.as_line(last))
        return response

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
        async with self._asked_as_is(request) as told:
            await _accepted(told)
            if told.content_type != wire.EVENTS:
                return web.Response(body=await told.read(), content_type="application/json")
            response = await wire.opened(request, wire.EVENTS)
            async for some in told.content.iter_any():
                await response.write(some)
            return response

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """As passed on, but for the counts: the engine sets cached tokens apart and tells a stream's prompt only at its
        start, while Ollama tells all of them at the end."""
        async with self._asked_as_is(request) as told:
            await _accepted(told)
            if told.content_type != wire.EVENTS:
                answer = await told.json()
                usage = Usage(anthropic.whole_prompt(answer["usage"]), answer["usage"]["output_tokens"])
                answer["usage"] = anthropic.counts(usage)
                return wire.whole(request, answer)
            response, prompt = await wire.opened(request, wire.EVENTS), None
            async for event in _events(told):
                if event["type"] == "message_start":
                    prompt = anthropic.whole_prompt(event["message"]["usage"])
                elif prompt is None:
                    # The engine forgets how to begin where the first letter takes several tokens, as an emoji does.
                    prompt = await self._counted(request)
                    start, _ = anthropic.opening(self._models[0].name, prompt)
                    await response.write(wire.as_event(start, start["type"]))
                if event["type"] == "message_delta":
                    event["usage"]["input_tokens"] = prompt
                await response.write(wire.as_event(event, event["type"]))
            return response

    async def _counted(self, request: web.Request) -> int:
        """The tokens of a message's prompt."""
        url = await self._engine.url() + "/v1/messages/count_tokens"
        async with self._session.post(url, json=await wire.question(request)) as told:
            await _accepted(told)
            return int((await told.json())["input_tokens"])

    @asynccontextmanager
    async def _asked_as_is(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        body = await wire.question(request)
        body["model"] = wire.asked_model(self._models, body).name
        if request.path == "/v1/messages":
            anthropic.check(body)
        url = await self._engine.url(embeds=request.path == "/v1/embeddings")
        async with self._session.post(url + request.path, json=body) as told:
            yield told


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
