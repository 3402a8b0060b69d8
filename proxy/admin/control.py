"""The socket by which a running gate is asked, by its owner and nobody else: one line of JSON each way.

``{"ask": "limits.look", …}`` is answered with ``{"told": …}`` or ``{"refused": "why"}``.
"""

import asyncio
import fcntl
import json
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.admin.refusals import GateNotRunning, NoAnswer, NotDone
from proxy.errors import GateError, Misconfigured

SOCKET = "control.sock"
LONGEST_PATH = 100
"""Bytes: Linux takes 107, macOS 103."""
LONGEST_LINE = 2**20
PATIENCE_SECONDS = 5.0
"""For one who asks to say what, and to take the answer."""
ANSWER_SECONDS = 30.0
"""For the gate to answer."""

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Answers what was asked, which is JSON, with what is told, which is too. Raises GateError to refuse."""


def path_in(state_dir: Path) -> Path:
    return state_dir / SOCKET


class Control:
    """The gate's end."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], *, patience: float = PATIENCE_SECONDS) -> None:
        self._path = path
        self._handlers = handlers
        self._patience = patience

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[bool]:
        """Answer. Where another gate already does, that one is left alone, the log says so and False comes of it; so it
        is where the path is too long for a socket, for a gate is more than the commands that ask it.

        Raises Misconfigured where the socket cannot be made.
        """
        with held(self._path) as mine:
            if mine is None:
                yield False
                return
            async with answering(mine.socket, self._handlers, patience=self._patience):
                yield True


@asynccontextmanager
async def answering(
    listening: socket.socket, handlers: Mapping[str, Handler], *, patience: float = PATIENCE_SECONDS
) -> AsyncIterator[None]:
    """Answer at a socket that whoever made it takes away again; several processes may do so at the same."""
    talks = _Talks(handlers, patience)
    # The file is not ours to remove, as Python would from 3.13 on.
    stays: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    server = await asyncio.start_unix_server(talks.begin, sock=listening, limit=LONGEST_LINE, **stays)
    try:
        yield
    finally:
        server.close()
        await talks.end()


class _Talks:
    """Those that go on."""

    def __init__(self, handlers: Mapping[str, Handler], patience: float) -> None:
        self._handlers = handlers
        self._patience = patience
        self._all: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("proxy.admin")

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._talk(reader, writer))
        self._all.add(talk)
        talk.add_done_callback(self._all.discard)

    async def end(self) -> None:
        for talk in self._all:
            talk.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, _uid(writer.get_extra_info("socket")))
            writer.write(_line(answer))
            async with asyncio.timeout(self._patience):
                await writer.drain()
        except (OSError, RuntimeError):  # RuntimeError is uvloop's.
            pass  # Nobody waits for the answer any more.
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, uid: int | None) -> Mapping[str, Any]:
        if not may_ask(uid, os.geteuid()):
            return {"refused": "Only the user that the gate runs as may ask it, and root."}
        try:
            async with asyncio.timeout(self._patience):
                asked = _read(await _one_line(reader))
            handler = self._handlers.get(str(asked.get("ask")))
            if handler is None:
                return {"refused": "This gate does not know what that means: it may be of another version."}
            return {"told": await handler(asked)}
        except TimeoutError:
            return {"refused": "That took too long to ask."}
        except GateError as error:
            return {"refused": error.message}
        except Exception as error:  # noqa: BLE001 - this is a door too, and the last place that could catch it
            self._log.error("control_crashed", extra={"error": type(error).__qualname__}, exc_info=error)
            return {"refused": GateError.default}


async def ask(path: Path, what: str, **more: Any) -> Any:
    """What the running gate tells.

    Raises GateNotRunning where none listens, NotDone where it refuses or does not answer.
    """
    if _is_too_long(path):
        raise GateNotRunning(
            f"No gate can listen on {path}, which is too long for a socket: choose a shorter state_dir."
        )
    try:
        return await _asked(str(path), ANSWER_SECONDS, {"ask": what, **more})
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise GateNotRunning(f"The gate does not run: nobody listens on {path}.") from error
    except PermissionError as error:
        raise NotDone(f"Only the user that the gate runs as may ask it by {path}, and root.") from error
    except OSError as error:
        raise NotDone(f"The gate does not answer on {path}.") from error


async def ask_worker(address: str, patience: float, asked: Mapping[str, Any]) -> Any:
    """What one of the gate's processes tells. Raises NotDone where it refuses or does not answer in time."""
    try:
        return await _asked(address, patience, asked)
    except OSError as error:
        raise NoAnswer from error


async def _asked(address: str, patience: float, asked: Mapping[str, Any]) -> Any:
    """Raises NotDone and OSError."""
    async with asyncio.timeout(patience):
        answer = _read(await _answered(address, _line(asked)))
    if "told" not in answer:
        raise NotDone(str(answer.get("refused", "The gate answered what makes no sense.")))
    return answer["told"]


async def _answered(address: str, line: bytes) -> bytes:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, address)
        reader, writer = await asyncio.open_unix_connection(sock=made, limit=LONGEST_LINE)
    except BaseException:
        made.close()
        raise
    try:
        writer.write(line)
        await writer.drain()
        return await _one_line(reader)
    except RuntimeError as error:  # As uvloop says that the other end has gone.
        raise ConnectionResetError from error
    finally:
        writer.close()


async def _one_line(reader: asyncio.StreamReader) -> bytes:
    """It, or nothing where it is too long."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


def may_ask(uid: int | None, own: int) -> bool:
    """Whether this user may; None where the system tells nobody's, and the socket's mode has to do."""
    return uid in (None, 0, own)


def _is_too_long(path: Path) -> bool:
    return len(os.fsencode(path)) > LONGEST_PATH


def _uid(connected: socket.socket) -> int | None:
    if sys.platform != "linux":
        return None
    credentials = struct.Struct("iII")  # Of the process, the user and the group: unix(7).
    _, uid, _ = credentials.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return int(uid)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _read(line: bytes) -> Mapping[str, Any]:
    """Raises NotDone."""
    try:
        told = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise NotDone("That is not one line with a JSON object.")
    return told


@dataclass(frozen=True, slots=True)
class Held:
    """A socket at a path, and the lock that keeps other gates from it."""

    socket: socket.socket
    lock: int
    """A descriptor. It is held until each process that has it has closed it."""


@contextmanager
def held(path: Path) -> Iterator[Held | None]:
    """What to answer at; None where another gate does or the path is too long, which the log says.

    Raises Misconfigured where it cannot be made.
    """
    log = logging.getLogger("proxy.admin")
    if _is_too_long(path):
        log.warning("control_path_too_long", extra={"path": str(path)})
        yield None
        return
    with _alone(path) as lock:
        if lock is None:
            log.warning("control_taken", extra={"path": str(path)})
            yield None
            return
        made = _bound(path)
        try:
            yield Held(made, lock)
        finally:
            made.close()
            with suppress(OSError):
                path.unlink()


@contextmanager
def _alone(path: Path) -> Iterator[int | None]:
    """A lock, where no other gate has this socket: a lock ends with its process, and a socket's file does not."""
    try:
        descriptor = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _bound(path: Path) -> socket.socket:
    """A socket at this path, in place of one that a killed gate left behind."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # A chmod afterwards would come too late for who is quick.
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        made.bind(str(path))
    except OSError as error:
        made.close()
        raise Misconfigured(f"{path} cannot be listened on: {error.strerror}") from error
    finally:
        os.umask(before)
    return made
