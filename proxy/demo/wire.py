"""The HTTP that both stand-ins share: reading a question, answering in lines or events, saying no."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from proxy.demo import anthropic, native, openai, voices
from proxy.demo.native import Json
from proxy.demo.said import Said
from proxy.demo.standing import Standing
from proxy.errors import GateError, NoSuchModel, NotUnderstood

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUICK = 0.1
"""Seconds that running answers get when their server is stopped."""


async def question(request: web.Request) -> Json:
    """The body as an object; like Ollama, whatever its Content-Type says."""
    text = (await request.read()).decode(errors="replace")
    if not text.strip():
        raise NotUnderstood("EOF" if request.path.startswith("/v1/") else "missing request body")
    try:
        body = json.loads(text)
    except json.JSONDecodeError as wrong:
        cut = wrong.pos >= len(text.rstrip())
        raise NotUnderstood("unexpected EOF" if cut else f"invalid character {text[wrong.pos]!r} in body") from wrong
    if not isinstance(body, dict):
        raise NotUnderstood("json: cannot unmarshal the body into an object")
    return body


def wants_stream(body: Json, *, default: bool) -> bool:
    stream = body.get("stream")
    if stream is None:
        return default
    if not isinstance(stream, bool):
        raise NotUnderstood("json: cannot unmarshal the field stream into bool")
    return stream


def asked_model(models: Iterable[native.Model], body: Json, *, required: bool = True) -> native.Model:
    """The model that a body names. ``required`` routes answer 400 to a body without one, the others look for ''."""
    name = body.get("model") or ""
    if not isinstance(name, str):
        raise NotUnderstood("json: cannot unmarshal the field model into string")
    if not name and required:
        raise NotUnderstood("model is required")
    return named(models, name)


def named(models: Iterable[native.Model], name: str) -> native.Model:
    wanted = full_name(name)
    for model in models:
        if wanted == model.name:
            return model
    raise NoSuchModel(f"model '{name}' not found")


def full_name(name: str) -> str:
    """As the lists have it."""
    folded = name.strip().lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return folded if ":" in folded else folded + ":latest"


def several(given: Any) -> list[str]:
    """The inputs of an embedding: one text, or a list of them."""
    texts = [given] if isinstance(given, str) else given or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise NotUnderstood("invalid input type")
    return [text for text in texts if text]


async def opened(request: web.Request, content_type: str) -> web.StreamResponse:
    """An answer whose status is out and whose body is about to come in pieces."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    if content_type == voices.EVENTS:
        response.headers["Cache-Control"] = "no-cache"
    await response.prepare(request)
    return response


async def at_once(request: web.Request, voice: voices.Voice, said: Said, streams: bool) -> web.StreamResponse:
    """All of an answer that is there already."""
    if not streams:
        return whole(request, voice.whole(said))
    response = await opened(request, voice.content_type)
    pieces = voice.piece(said.text) if said.text else b""
    await response.write(voice.opening() + pieces + voice.closing(said))
    return response


def whole(request: web.Request, value: Json, status: int = 200) -> web.Response:
    """An answer in one piece: Ollama names the charset on its own routes only."""
    kind = "application/json" if request.path.startswith("/v1/") else "application/json; charset=utf-8"
    return web.Response(body=voices.as_line(value).rstrip(b"\n"), status=status, headers={"Content-Type": kind})


def no(request: web.Request, status: int, message: str) -> web.Response:
    if request.path == "/v1/messages":
        return whole(request, anthropic.error(status, message), status)
    if request.path.startswith("/v1/"):
        return whole(request, openai.error(status, message), status)
    return whole(request, native.error(message), status)


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except GateError as refusal:
        return no(request, refusal.status, refusal.message)
    except web.HTTPNotFound:
        return web.Response(text="404 page not found", status=404)
    except web.HTTPMethodNotAllowed as wrong:
        allowed = {"Allow": wrong.headers["Allow"]}
        return web.Response(text="405 method not allowed", status=405, headers=allowed)


def application() -> web.Application:
    return web.Application(middlewares=[refusals], client_max_size=64 << 20)


async def standing(app: web.Application, host: str, port: int) -> Standing:
    """Let it answer; port 0 takes a free one."""
    # Without handler_cancellation aiohttp would go on talking to a client that has left.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=QUICK)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0][1]
    return Standing(f"http://{f'[{host}]' if ':' in host else host}:{bound}", runner.cleanup)
