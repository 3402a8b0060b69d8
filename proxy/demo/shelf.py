"""The routes that change which models there are, over names alone: nothing is fetched, nothing touches the disk."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from aiohttp import web

from proxy.demo import voices, wire
from proxy.demo.native import Json, Model
from proxy.errors import BackendRefused, NoSuchModel, NotUnderstood

STEPS = 4
"""Lines of progress for one file."""

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


class Shelf:
    """Changes a list of models that others read."""

    def __init__(self, models: list[Model], pullable: Sequence[Model]) -> None:
        self._models = models
        self._library = (*models, *pullable)
        self._blobs: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/pull", self.pull),
            web.post("/api/create", self.create),
            web.post("/api/copy", self.copy),
            web.delete("/api/delete", self.delete),
            web.post("/api/blobs/{digest}", self.upload),
            web.head("/api/blobs/{digest}", self.has_blob),
        ]

    async def pull(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        wanted = _name(body)
        model = next((one for one in self._library if one.name == wanted), None)
        if model is None:
            return await _told(
                request, body, [{"status": "pulling manifest"}], "pull model manifest: file does not exist"
            )
        self._put(model)
        return await _told(request, body, _fetched(model))

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        name, files = _name(body), body.get("files") or {}
        if not isinstance(files, dict):
            raise NotUnderstood("json: cannot unmarshal the field files into an object")
        if files and not set(map(str, files.values())) <= self._blobs:
            raise NotUnderstood("invalid digest format")
        if not files and not body.get("from"):
            raise NotUnderstood("neither 'from' or 'files' was specified")
        like = self._models[0] if files else self._found(body["from"])
        self._put(_renamed(like, name))
        return await _told(request, body, [{"status": "writing manifest"}, {"status": "success"}])

    async def copy(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        source, destination = str(body.get("source") or ""), _name({"model": body.get("destination")})
        try:
            model = self._found(source)
        except NoSuchModel as absent:
            raise NoSuchModel(f'model "{source}" not found') from absent
        self._put(replace(model, name=destination))
        return web.Response()

    async def delete(self, request: web.Request) -> web.StreamResponse:
        body = await wire.question(request)
        self._models.remove(self._found(body.get("model") or body.get("name")))
        return web.Response()

    async def upload(self, request: web.Request) -> web.StreamResponse:
        wanted, hashed = _digest(request), hashlib.sha256()
        async for some in request.content.iter_any():
            hashed.update(some)
        if wanted != f"sha256:{hashed.hexdigest()}":
            raise NotUnderstood(f'digest mismatch, expected "{wanted}", got "sha256:{hashed.hexdigest()}"')
        known = wanted in self._blobs
        self._blobs.add(wanted)
        return web.Response(status=200 if known else 201)

    async def has_blob(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if _digest(request) in self._blobs else 404)

    def _found(self, name: object) -> Model:
        return wire.asked_model(self._models, {"model": name})

    def _put(self, model: Model) -> None:
        self._models[:] = [model, *(one for one in self._models if one.name != model.name)]


def _name(body: Json) -> str:
    """Ollama takes either member here; the tag may be left out."""
    name = body.get("model") or body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise NotUnderstood("model is required")
    return wire.full_name(name)


def _digest(request: web.Request) -> str:
    if not (match := _DIGEST.fullmatch(request.match_info["digest"])):
        raise NotUnderstood("invalid digest format")
    return f"sha256:{match[1]}"


def _renamed(model: Model, name: str) -> Model:
    return replace(model, name=name, digest=hashlib.sha256(name.encode()).hexdigest())


def _fetched(model: Model) -> Iterator[Json]:
    yield {"status": "pulling manifest"}
    file = {"status": f"pulling {model.digest[:12]}", "digest": f"sha256:{model.digest}", "total": model.size}
    yield file  # Nothing is completed yet, and Go leaves out a zero.
    for step in range(1, STEPS + 1):
        yield {**file, "completed": model.size * step // STEPS}
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        yield {"status": status}


async def _told(request: web.Request, body: Json, progress: Iterable[Json], failure: str = "") -> web.StreamResponse:
    """The lines as they would come, or the last alone."""
    lines = [*progress, *([{"error": failure}] if failure else [])]
    if not wire.wants_stream(body, default=True):
        if failure:
            raise BackendRefused(500, failure)
        return wire.whole(request, lines[-1])
    response = await wire.opened(request, voices.LINES)
    for line in lines:
        await response.write(voices.as_line(line))
    return response
