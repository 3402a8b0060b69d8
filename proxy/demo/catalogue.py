"""The routes that tell which models there are; the same for both stand-ins."""

from collections.abc import Sequence

from aiohttp import web

from proxy.demo import native, openai, wire
from proxy.demo.native import Model


def routes(models: Sequence[Model]) -> list[web.RouteDef]:
    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def version(request: web.Request) -> web.Response:
        return wire.whole(request, {"version": native.VERSION})

    async def tags(request: web.Request) -> web.Response:
        return wire.whole(request, {"models": [native.installed(model) for model in models]})

    async def ps(request: web.Request) -> web.Response:
        return wire.whole(request, {"models": [native.loaded(model) for model in models]})

    async def show(request: web.Request) -> web.Response:
        body = await wire.question(request)
        named = {"model": body.get("model") or body.get("name")}  # Ollama takes either here.
        return wire.whole(request, native.shown(wire.asked_model(models, named)))

    async def v1_models(request: web.Request) -> web.Response:
        return wire.whole(request, {"object": "list", "data": [openai.model(model) for model in models]})

    async def v1_model(request: web.Request) -> web.Response:
        name = request.match_info["model"]
        return wire.whole(request, openai.model(wire.named(models, name), name))

    return [
        web.get("/", alive),
        web.get("/api/version", version),
        web.get("/api/tags", tags),
        web.get("/api/ps", ps, allow_head=False),
        web.post("/api/show", show),
        web.get("/v1/models", v1_models, allow_head=False),
        web.get("/v1/models/{model}", v1_model, allow_head=False),
    ]
