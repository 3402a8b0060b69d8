"""The gate in a process of its own, before an upstream that says what it is told to, and what may be seen of both."""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from proxy.policy import endpoints
from tests.end_to_end.gate import Gate, opened
from tests.fakes.answers import MODEL, answer_of
from tests.fakes.upstream import Asked, Step, recording, whole

CANARY = "CANARY"
"""Stands in whatever a client sends that nobody may repeat."""
FAILS = (500, 502, 503, 504)
"""What the upstream says where a prompt tells it to, as ``FAIL 503``."""
CONFIGURATION = """
max_body = "32MiB"
[plans.owner]
owner = true
cloud = true
grants = ["health", "read", "inference", "manage", "account", "outbound"]
models = ["*"]
[plans.owner.pull]
namespaces = ["*"]
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A gate that is open, and its caller's key."""

    gate: Gate
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        return self.gate.url

    def logged(self) -> str:
        """All that it has said so far, on stdout and stderr."""
        log = self.gate.running.log
        return log.read_text() + log.with_name("out.log").read_text()


@contextmanager
def standing(folder: Path) -> Iterator[Standing]:
    place = folder / "config" / "llamagate"
    place.mkdir(parents=True)
    (place / "llamagate.toml").write_text(CONFIGURATION)
    with _upstream() as url, opened(folder, url) as gate:
        yield Standing(gate, gate.issue("alice", "--plan", "owner").key)


@contextmanager
def _upstream() -> Iterator[str]:
    """Its address; it runs on a loop in a thread of its own."""
    url: Future[str] = Future()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with recording() as upstream:
            upstream.keeps = 2**16
            upstream.answers = _says
            upstream.installed = [{"name": MODEL, "model": MODEL}]
            url.set_result(upstream.url)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield url.result(10)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def _says(asked: Asked) -> Iterable[Step]:
    for status in FAILS:
        if f"FAIL {status}".encode() in asked.body:
            return (whole(b'{"error":"told to"}', status=f"{status} Told"),)
    method, path, _ = asked.line.split(" ")
    if (method, path) == ("GET", "/"):
        return (whole(b"Ollama is running", "text/plain; charset=utf-8"),)
    endpoint = endpoints.known(method, path)
    if endpoint is None:
        return (whole(b'{"error":"no such route"}', status="404 Not Found"),)
    return answer_of(endpoint, stream=_streams(asked.body, endpoint.streams))


def _streams(body: bytes, default: bool | None) -> bool:
    try:
        told = json.loads(body)
    except ValueError:
        return False
    stream = told.get("stream") if isinstance(told, dict) else None
    return bool(default if stream is None else stream)
