"""The processes of a gate that has several: how each is forked, what it has from the supervisor, and how it obeys.

All workers are forked from the supervisor, which has read everything in and opened nothing but what they listen at, so
they share its memory. They take the connections of one port, the kernel spreading these over them (``SO_REUSEPORT``,
socket(7)); the admin listener and the control socket are one for all, and whoever comes first answers for all.
"""

import asyncio
import gc
import logging
import os
import secrets
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any

from proxy.admin import control
from proxy.bootstrap.listening import Sockets, bound, close, sharing
from proxy.bootstrap.sharing import Board, Slot
from proxy.bootstrap.signals import STOPPING, Again, Stop
from proxy.bootstrap.supervising import Child, Order
from proxy.errors import Misconfigured

BEAT_SECONDS = 1.0
"""Between two beats of a worker."""
WAITING_TALKS = 64
"""Questions to one worker that wait for it."""

_HEARD = {signal.SIGCHLD, signal.SIGHUP, *STOPPING}
_IGNORED: tuple[signal.Signals, ...] = (signal.SIGHUP, *STOPPING)
"""By workers: a terminal and a service manager send these to all of them, and the supervisor passes on what is meant.
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the workers, as the others ask it: a ``gathering.Worker``."""

    number: int
    address: str
    """In Linux's abstract namespace, unix(7): no file is left of it, whoever dies. Only the gate's own user may ask."""

    async def asked(self, asked: Mapping[str, Any], seconds: float) -> Any:
        return await control.ask_worker(self.address, seconds, asked)


@dataclass(frozen=True, slots=True)
class Place:
    """What one worker has from the supervisor."""

    slot: Slot
    board: Board
    workers: tuple[Worker, ...]
    """All of them, by their numbers."""
    door: Sockets
    """Where it takes its part of the calls."""
    admin: Sockets
    """Where it answers the admin listener's questions, as the others do."""
    asked_at: socket.socket
    """Where the others ask it."""
    control: socket.socket | None
    """Where it answers commands, as the others do; None where no worker of this gate does."""
    orders: int
    """A descriptor to read orders from."""
    is_first: bool
    """Whether nobody was in its slot before it."""

    async def beating(self) -> None:
        """Show that the loop goes around, for ever."""
        while True:
            self.slot.beat()
            await asyncio.sleep(BEAT_SECONDS)


class Forks:
    """The supervisor's ``Hands``. ``work`` is what a worker does until its end, and gives its exit code."""

    def __init__(
        self,
        board: Board,
        work: Callable[[Place], int],
        *,
        door: Sockets,
        admin: Sockets = (),
        held: control.Held | None = None,
    ) -> None:
        self._board = board
        self._work = work
        self._doors = [door, *(sharing(door) for _ in board.slots[1:])]
        self._admin = admin
        self._held = held
        gate = secrets.token_hex(8)
        self._workers = tuple(Worker(slot.number, f"\0llamagate-{gate}-{slot.number}") for slot in board.slots)
        self._asked_at = [_asked_at(worker.address) for worker in self._workers]
        self._orders: dict[int, int] = {}
        """By the worker's process, the descriptor to write them to."""
        gc.freeze()  # What is here by now is never looked at again, so that its pages stay shared.

    def wait(self, seconds: float) -> int | None:
        told = signal.sigtimedwait(_HEARD, seconds)
        return None if told is None else told.si_signo

    def start(self, slot: Slot, *, is_first: bool) -> Child:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # Else it would be written twice.
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if pid == 0:
            self._become(slot, reading, writing, is_first=is_first)
        os.close(reading)
        self._orders[pid] = writing
        return Child(pid, writing)

    def _become(self, slot: Slot, reading: int, writing: int, *, is_first: bool) -> None:
        """The worker, and the end of its process: nothing of what the supervisor has still to do is done here."""
        code = 1
        try:
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            for one in (writing, *self._orders.values()):
                os.close(one)
            for place, door in enumerate(self._doors):
                if place != slot.number:
                    close(door)
                    self._asked_at[place].close()
            if self._held is not None:
                os.close(self._held.lock)  # The supervisor's alone: once it has gone, another gate may answer commands.
            code = self._work(
                Place(
                    slot=slot,
                    board=self._board,
                    workers=self._workers,
                    door=self._doors[slot.number],
                    admin=self._admin,
                    asked_at=self._asked_at[slot.number],
                    control=None if self._held is None else self._held.socket,
                    orders=reading,
                    is_first=is_first,
                )
            )
        except BaseException as error:
            logging.getLogger("proxy.workers").critical(
                "worker_crashed", extra={"error": type(error).__qualname__}, exc_info=error
            )
            raise
        finally:
            logging.shutdown()
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def order(self, child: Child, order: Order) -> None:
        with suppress(OSError):  # It has gone.
            os.write(child.orders, order.value)

    def kill(self, child: Child) -> None:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

    def ended(self, child: Child) -> int | None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return None
        os.close(self._orders.pop(child.pid))
        return os.waitstatus_to_exitcode(status)

    def shut(self, slot: Slot) -> None:
        door = self._doors[slot.number]
        with suppress(OSError):  # Then they wait, as there is no descriptor to be had.
            self._doors[slot.number] = sharing(door)
            close(door)

    def leave(self) -> None:
        for door in self._doors:
            close(door)
        close((*self._admin, *self._asked_at))
        if self._held is not None:
            self._held.socket.close()

    def die(self, number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)


@contextmanager
def forking(
    board: Board, work: Callable[[Place], int], *, listen: str, admin_listen: str | None, state_dir: Path
) -> Iterator[Forks]:
    """The hands of a supervisor, who alone hears signals within the block, by asking for them. Raises Misconfigured."""
    if sys.platform != "linux":
        raise Misconfigured(
            "More than one worker needs Linux, which spreads the connections over them: say workers = 1."
        )
    with ExitStack() as kept:
        door = bound(listen)
        kept.callback(close, door)
        admin = bound(admin_listen) if admin_listen is not None else ()
        kept.callback(close, admin)
        held = kept.enter_context(control.held(control.path_in(state_dir)))
        # Whoever started us may have had it ignored: then the kernel buries workers, and nobody is told how they ended.
        kept.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        kept.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        hands = Forks(board, work, door=door, admin=admin, held=held)
        kept.callback(hands.leave)
        yield hands


def _asked_at(address: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    made.bind(address)
    made.listen(WAITING_TALKS)
    return made


class Obedience:
    """What a worker does about orders."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.again = Again()

    def heed(self, text: bytes) -> None:
        """Obey what was read. Nothing means that nobody is left to order: the supervisor has gone."""
        if not text:
            logging.getLogger("proxy.workers").error("supervisor_gone")
            self.stop.asked.set()
        for number in text:
            match Order(bytes([number])):
                case Order.STOP:
                    self.stop.asked.set()
                case Order.HASTEN:
                    self.stop.asked.set()
                    self.stop.hastened.set()
                case Order.RELOAD:
                    self.again.wish()


@asynccontextmanager
async def heeding_orders(place: Place) -> AsyncIterator[Obedience]:
    """Obey the supervisor in the block, and beat."""
    obedience, loop = Obedience(), asyncio.get_running_loop()

    def heed() -> None:
        text = os.read(place.orders, 64)
        if not text:
            loop.remove_reader(place.orders)
        obedience.heed(text)

    loop.add_reader(place.orders, heed)
    beating = asyncio.create_task(place.beating())
    try:
        yield obedience
    finally:
        beating.cancel()
        await asyncio.wait([beating])
        loop.remove_reader(place.orders)


class Unhurried(TextIOBase):
    """Standard output for the supervisor's log, which has no thread to write it: what would have to wait is lost."""

    def write(self, text: str) -> int:
        left = text.encode("utf-8", "backslashreplace")
        with suppress(OSError):
            while left and select.select((), (sys.stdout,), (), 0)[1]:
                # No more than what there is room for in a pipe that takes anything at all, pipe(7).
                left = left[os.write(sys.stdout.fileno(), left[: select.PIPE_BUF]) :]
        return len(text)
