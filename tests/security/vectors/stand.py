"""A gate as a process of its own between raw clients and a recording upstream, and what it has told of itself."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.policy import endpoints
from proxy.vocabulary import Tongue
from tests.end_to_end.commands import forge
from tests.end_to_end.gate import LISTENS, Gate
from tests.end_to_end.processes import Running, environment, running
from tests.fakes.answers import WHOLE
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import Asked, RecordingUpstream, Step, head, recording, whole
from tests.security.vectors.case import HEAD_SECONDS, KEY, MAX_BODY, Case, get

ADMIN = re.compile(r"admin at +(http://\S+)")
PATIENCE_SECONDS = 20.0
SETTINGS = f"""
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
max_body = {MAX_BODY}
failed_attempts_per_minute = 1000000

[door]
head_timeout = {HEAD_SECONDS}

[plans.default]
key_in_path = true
"""
_SAMPLE = re.compile(
    r"^llamagate_(connections_refused_total|calls_under_way|connections)(?:\{reason=\"([^\"]*)\"\})? ([0-9.e+]+)$",
    re.MULTILINE,
)

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the gate has counted since it began, and what it holds now."""

    refused: Counter[str]
    """What came to no request, by why."""
    under_way: int
    """Calls."""
    connections: int


def _answer(asked: Asked) -> Iterable[Step]:
    method, path, _ = asked.line.split()
    if method == "HEAD":
        return (head("Content-Type: text/plain; charset=utf-8", "Content-Length: 17"),)
    row = endpoints.known(method, path)
    return (whole(WHOLE[Tongue.OLLAMA if row is None else row.tongue]),)


@dataclass(slots=True)
class Stand:
    """One gate for many cases, one after the other."""

    upstream: RecordingUpstream
    running: Running
    key: str = field(repr=False)
    admin: str
    figures_last: Figures = field(default_factory=lambda: Figures(Counter(), 0, 0))
    """When it was at rest last."""
    lingering: dict[str, RawClient] = field(default_factory=dict)
    """By the name of a case: connections that the gate will close in a moment."""
    _read: int = 0
    """How much of the log was looked at."""

    async def connect(self, url: str = "") -> RawClient:
        there = urlsplit(url or self.running.url)
        return await RawClient.connect(there.hostname or "", there.port or 0)

    def raw_of(self, case: Case) -> bytes:
        return case.raw.replace(KEY, self.key.encode())

    async def ask_well(self) -> Told:
        """A good request on a connection of its own."""
        client = await self.connect()
        await client.send(get().replace(KEY, self.key.encode()))
        told = await client.told()
        client.close()
        return told

    def _more(self) -> str:
        """The whole lines that nobody has looked at."""
        with self.running.log.with_name("out.log").open("rb") as out:
            out.seek(self._read)
            told = out.read()
        whole_lines = told[: told.rfind(b"\n") + 1]
        self._read += len(whole_lines)
        return whole_lines.decode()

    async def logged(self, count: int) -> tuple[str, list[Line]]:
        """What was logged since this was asked last, as text and as lines, once there are so many calls."""
        text = ""

        async def look() -> list[Line] | None:
            nonlocal text
            text += self._more()
            lines = [json.loads(line) for line in text.splitlines()]
            return lines if sum(line["event"] == "call_ended" for line in lines) >= count else None

        return text, await eventually(look, PATIENCE_SECONDS, f"{count} calls in the log")

    async def figures(self) -> Figures:
        client = await self.connect(self.admin)
        await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = (await client.told()).body.decode()
        client.close()
        samples = _SAMPLE.findall(text)
        plain = {name: int(float(value)) for name, reason, value in samples if not reason}
        refused = Counter({reason: int(float(count)) for _, reason, count in samples if reason})
        return Figures(refused, plain["calls_under_way"], plain["connections"])

    async def at_rest(self) -> Figures:
        """The figures, once no call is left and no connection but those that linger."""

        async def look() -> Figures | None:
            figures = await self.figures()
            return None if figures.under_way or figures.connections > len(self.lingering) else figures

        self.figures_last = await eventually(look, PATIENCE_SECONDS, "no call and no connection")
        return self.figures_last

    async def left_alone(self) -> dict[str, bytes]:
        """By the name of a case: what still came on a connection that lingered, to its end."""
        told = {name: await client.closed() for name, client in self.lingering.items()}
        for client in self.lingering.values():
            client.close()
        self.lingering.clear()
        return told


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Stand]:
    """It runs until the end of the block; the folder is there already."""
    async with recording() as upstream:
        upstream.answers = _answer
        key = await asyncio.to_thread(Gate(None, folder).issue, "alice")  # type: ignore[arg-type]  # It only knows the folder.
        (folder / "llamagate.toml").write_text(f'upstream = "{upstream.url}"\n{SETTINGS}')
        process = running(["serve"], folder, LISTENS, environment(folder), forge().gate)
        begun = await asyncio.to_thread(process.__enter__)
        try:
            match = ADMIN.search(begun.log.read_text())
            assert match is not None
            stand = Stand(upstream, begun, key.key, match[1])
            await stand.ask_well()
            await stand.logged(1)
            await stand.at_rest()
            yield stand
        finally:
            await asyncio.to_thread(process.__exit__, None, None, None)
