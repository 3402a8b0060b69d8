"""A small real model behind Ollama's routes: ``python -m proxy.demo.real --port 11434``, stopped by SIGTERM or Ctrl-C.

A process of its own, so that the engine's threads never share an interpreter with the gate.
"""

import argparse
import asyncio
import hashlib
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import aiohttp

from proxy.demo import engine, weights, wire
from proxy.demo.engine import Engine, Sizes
from proxy.demo.face import Face
from proxy.demo.native import Json, Model
from proxy.demo.standing import Standing
from proxy.errors import Misconfigured

NAME = "smollm2:135m"

USUAL = Sizes()

_ROOT = Path(__file__).parents[2]


async def start(
    weights: Path, *, host: str = "127.0.0.1", port: int = 0, sizes: Sizes = USUAL, patience: float = 60.0
) -> Standing:
    """The model in a process of its own, once it answers; ``Misconfigured`` if it takes over ``patience`` seconds."""
    engine.require()
    wanted = {"--host": host, "--port": port, "--weights": weights}
    taken = {"--ctx": sizes.ctx, "--parallel": sizes.parallel, "--threads": sizes.threads}
    arguments = [str(word) for pair in (wanted | taken).items() for word in pair]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.demo.real", "--leash", *arguments),
        stdin=asyncio.subprocess.PIPE,  # It ends with us, even when we are killed, and the model must not outlive us.
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},  # Whoever imported us may not have installed us.
    )
    try:
        async with asyncio.timeout(patience):
            url = await _told_url(process)
    except BaseException as failed:
        await _end(process)
        if isinstance(failed, TimeoutError):
            raise Misconfigured(f"The demo model did not answer within {patience:g} seconds.") from failed
        raise
    return Standing(url, lambda: _end(process))


async def _told_url(process: asyncio.subprocess.Process) -> str:
    line = (await process.stdout.readline()).decode() if process.stdout else ""
    if not line:
        raise Misconfigured(f"The demo model ended at once, with status {await process.wait()}.")
    return line.split()[-1]


async def _end(process: asyncio.subprocess.Process, patience: float = 5.0) -> None:
    """Asked first, then made to."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def serve(file: Path, host: str, port: int, sizes: Sizes, stopped: asyncio.Event) -> None:
    """Answer until ``stopped``, after saying in one line where."""
    llama = Engine(file, NAME, sizes)
    # An answer takes as long as it takes; and a connection left in mid-answer must never be used for another.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    waiting = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(connector=connector, timeout=waiting, read_bufsize=1 << 20) as session:
        try:
            async with session.get(await llama.url() + "/v1/models") as told:
                header = (await told.json())["data"][0]["meta"]
            model = await asyncio.to_thread(_described, file, header, sizes)
            app = wire.application()
            app.add_routes(Face(llama, model, session).routes())
            standing = await wire.standing(app, host, port)
            _say(f"{NAME} answers on {standing.url}", sys.stdout)
            await stopped.wait()
            await standing.stop()
        finally:
            llama.stop()


def _described(file: Path, header: Json, sizes: Sizes) -> Model:
    """What the lists tell. The engine has read the header of the file; only the file knows its digest and age."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    status = file.stat()
    return Model(
        name=NAME,
        digest=digest,
        size=status.st_size,
        family="llama",
        parameters=header["n_params"],
        quantization=header["ftype"],
        context_length=sizes.ctx,
        embedding_length=header["n_embd"],
        modified=datetime.fromtimestamp(int(status.st_mtime), UTC),
        capabilities=("completion", "tools"),
    )


def _asked_for(file: Path | None) -> Path:
    file = file or weights.find(_cache()) or weights.fetch(_cache())
    if not file.is_file():
        raise Misconfigured(f"There are no weights at {file}.")
    return file


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llamagate"


async def _run(file: Path, told: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stopped.set)
    if told.leash:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    await serve(file, told.host, told.port, Sizes(told.ctx, told.parallel, told.threads), stopped)


def _say(text: str, where: TextIO) -> None:
    where.write(text + "\n")
    where.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proxy.demo.real", description="A small real model, as Ollama.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--weights", type=Path, help="a GGUF file; without it the small model is found or fetched")
    parser.add_argument("--ctx", type=int, default=USUAL.ctx, help="tokens that one conversation may hold")
    parser.add_argument("--parallel", type=int, default=USUAL.parallel, help="answers at a time")
    parser.add_argument("--threads", type=int, default=USUAL.threads)
    parser.add_argument("--leash", action="store_true", help="stop when standard input ends")
    told = parser.parse_args()
    try:
        engine.require()
        asyncio.run(_run(_asked_for(told.weights), told))
    except KeyboardInterrupt:
        return 130  # While the weights were being fetched; later it is a way to stop like any other.
    except Misconfigured as mistake:
        _say(mistake.message, sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # Not sys.exit: the engine's threads may still be at a token, and there is nothing to save by waiting for them.
    os._exit(main())
