"""The same bytes given to an nginx as Debian has it, in front of a little stand-in, and what it made of them.

Run as a program, this records its verdicts anew, at the path that it is given.
"""

import asyncio
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.eventually import eventually
from tests.security.vectors import CASES
from tests.security.vectors.case import KEY, KEY_BYTES, MAX_BODY, Case

RECORD = Path(__file__).parents[2] / "samples" / "nginx-verdicts.json"
AT_ONCE = 25
QUIET_SECONDS = 0.5
"""After so long without a byte, nginx has said all."""
START_SECONDS = 5.0
STOOD_IN = b"stood in\n"
SETTINGS = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size {most};
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
}}
"""
"""All else is as it comes, so that underscores in names are not taken and invalid lines are left out or refused."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ")


@dataclass(frozen=True, slots=True)
class Verdict:
    digest: str
    """Of the bytes that it is about."""
    answers: tuple[int, ...]
    """The statuses, in order."""

    @property
    def good_answers(self) -> int:
        return sum(200 <= one < 400 for one in self.answers)

    @property
    def told(self) -> dict[str, Any]:
        return {"bytes": self.digest, "answers": self.answers}


def found() -> str | None:
    """Where nginx is, if it is on the path."""
    return shutil.which("nginx")


def version(nginx: str) -> str:
    return subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr.strip().partition("/")[2]


def raw_of(case: Case) -> bytes:
    return case.raw.replace(KEY, b"k" * KEY_BYTES)


def digest_of(case: Case) -> str:
    return hashlib.sha256(raw_of(case)).hexdigest()[:16]


def recorded() -> dict[str, Verdict]:
    """By the names of the cases."""
    told = json.loads(RECORD.read_text())["verdicts"]
    return {name: Verdict(one["bytes"], tuple(one["answers"])) for name, one in told.items()}


async def _stand_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request, which nginx tells in one way only."""
    try:
        top = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *([0-9]+)\r\n", top, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(STOOD_IN) + STOOD_IN)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # It may leave as it likes.
    finally:
        writer.close()


@asynccontextmanager
async def listening(nginx: str, folder: Path) -> AsyncIterator[int]:
    """The port of one that runs until the end of the block."""
    server = await asyncio.start_server(_stand_in, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    behind = server.sockets[0].getsockname()[1]
    settings = folder / "nginx.conf"
    settings.write_text(SETTINGS.format(folder=folder, most=MAX_BODY, port=port, behind=behind))
    process = await asyncio.create_subprocess_exec(
        nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(settings), stderr=subprocess.DEVNULL
    )

    async def answers() -> bool | None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return None
        writer.close()
        return True

    try:
        await eventually(answers, START_SECONDS, "nginx")
        yield port
    finally:
        process.terminate()
        await process.wait()
        server.close()


async def verdicts(nginx: str, folder: Path, cases: Iterable[Case]) -> dict[str, Verdict]:
    """What it makes of each."""
    few = asyncio.Semaphore(AT_ONCE)
    async with listening(nginx, folder) as port:

        async def judged(case: Case) -> Verdict:
            async with few:
                return Verdict(digest_of(case), _answers(await _said(port, case)))

        chosen = tuple(cases)
        found = await asyncio.gather(*map(judged, chosen))
    return {case.name: verdict for case, verdict in zip(chosen, found, strict=True)}


async def _said(port: int, case: Case) -> bytes:
    """All that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        writer.write(raw_of(case))
        while not case.leaves:
            async with asyncio.timeout(QUIET_SECONDS):
                piece = await reader.read(65536)
            if not piece:
                break
            said += piece
    except (TimeoutError, OSError):
        pass
    finally:
        writer.transport.abort()
    return said


def _answers(said: bytes) -> tuple[int, ...]:
    """An answer without a head, as HTTP/0.9 has it, is as good as one with 200. To invite a body is no answer."""
    statuses = tuple(status for status in map(int, _STATUS.findall(said)) if status >= 200)
    return statuses or ((200,) if STOOD_IN in said else ())


def main() -> None:
    """Raises SystemExit where there is no nginx."""
    nginx = found()
    if nginx is None:
        sys.exit("There is no nginx on the path: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(verdicts(nginx, Path(folder), CASES))
    lines = [f"    {json.dumps(name)}: {json.dumps(verdict.told)}" for name, verdict in sorted(told.items())]
    text = ",\n".join(lines)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD
    path.write_text(f'{{\n  "nginx": {json.dumps(version(nginx))},\n  "verdicts": {{\n{text}\n  }}\n}}\n')
    print(f"{len(told)} verdicts of nginx {version(nginx)} in {path.name}")  # noqa: T201 - it is what was asked for


if __name__ == "__main__":
    main()
