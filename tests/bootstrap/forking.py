import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOBase
from pathlib import Path

import pytest

from proxy.admin.control import path_in
from proxy.bootstrap.listening import bound, close, sharing
from proxy.bootstrap.sharing import Board
from proxy.bootstrap.supervising import Order
from proxy.bootstrap.workers import Forks, Obedience, Place, Unhurried, Worker, forking, heeding_orders
from proxy.errors import Misconfigured
from tests.end_to_end.processes import until
from tests.fakes.eventually import eventually


@contextmanager
def hands(folder: Path, work: Callable[[Place], int], slots: int = 2) -> Iterator[tuple[Board, Forks]]:
    board = Board(slots)
    with forking(board, work, listen="127.0.0.1:0", admin_listen="127.0.0.1:0", state_dir=folder) as forks:
        yield board, forks


def ended(forks: Forks, board: Board, number: int, *orders: Order) -> int:
    """The exit code of a worker that was given these orders."""
    child = forks.start(board.slots[number], is_first=True)
    for order in orders:
        forks.order(child, order)
    return until(lambda: forks.ended(child), 10, "the end of a worker")


def test_a_worker_has_what_is_its_own_and_none_of_what_is_the_others(tmp_path: Path) -> None:
    def work(place: Place) -> int:
        mine = [one.fileno() >= 0 for one in (*place.door, *place.admin, place.asked_at)]
        ignores = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        told = (mine, ignores, blocked, len(place.workers), place.slot.number, place.control is not None)
        return 7 if told == ([True] * 3, [signal.SIG_IGN] * 3, set(), 2, 1, True) else 8

    with hands(tmp_path, work) as (board, forks):
        assert 7 == ended(forks, board, 1)


def test_orders_come_in_order_and_then_the_end_of_whoever_gives_them(tmp_path: Path) -> None:
    def work(place: Place) -> int:
        heard = b""
        while len(heard) < 3:
            heard += os.read(place.orders, 64)
        return 7 if heard == b"srh" else 8

    with hands(tmp_path, work) as (board, forks):
        assert 7 == ended(forks, board, 0, Order.STOP, Order.RELOAD, Order.HASTEN)


def test_a_worker_that_crashes_ends_with_one_and_goes_on_with_nothing_of_the_supervisors(tmp_path: Path) -> None:
    def work(place: Place) -> int:
        raise ZeroDivisionError

    with hands(tmp_path, work) as (board, forks):
        assert 1 == ended(forks, board, 0)


def test_a_worker_is_killed_whatever_it_does(tmp_path: Path) -> None:
    def work(place: Place) -> int:
        place.slot.opened()
        os.read(place.orders, 1)
        return 0

    with hands(tmp_path, work) as (board, forks):
        child = forks.start(board.slots[0], is_first=True)
        until(lambda: board.slots[0].is_open or None, 10, "a worker at work")

        assert None is forks.ended(child)

        forks.kill(child)

        assert -signal.SIGKILL == until(lambda: forks.ended(child), 10, "its end")

        forks.order(child, Order.STOP)


def test_the_end_of_a_worker_is_heard(tmp_path: Path) -> None:
    with hands(tmp_path, lambda _: 0) as (board, forks):
        assert None is forks.wait(0.0)

        forks.start(board.slots[0], is_first=True)

        assert signal.SIGCHLD == forks.wait(10.0)


def test_a_worker_is_buried_where_whoever_started_us_had_the_ends_of_children_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with hands(tmp_path, lambda _: 7) as (board, forks):
            child = forks.start(board.slots[0], is_first=True)
            heard = forks.wait(10.0)

            assert (signal.SIGCHLD, 7) == (heard, until(lambda: forks.ended(child), 10, "the end of a worker"))
        assert signal.SIG_IGN == signal.getsignal(signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, before)


class Gone(TextIOBase):
    """Standard output that nobody reads any more."""

    def flush(self) -> None:
        if not self.closed:
            raise BrokenPipeError

    def close(self) -> None:
        """Without the flush that it begins with, of which nobody would hear."""
        with suppress(BrokenPipeError):
            super().close()


def test_a_worker_that_cannot_be_started_leaves_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hands(tmp_path, lambda _: 0) as (board, forks):
        before = len(list(Path("/proc/self/fd").iterdir()))
        with monkeypatch.context() as amid:
            amid.setattr(sys, "stdout", Gone())
            with pytest.raises(BrokenPipeError):
                forks.start(board.slots[0], is_first=True)

        assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_signals_wait_for_whoever_asks_for_them(tmp_path: Path) -> None:
    with hands(tmp_path, lambda _: 0) as (_, forks):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)

            assert number == forks.wait(10.0)


def test_afterwards_nothing_is_left(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with hands(tmp_path, lambda _: 0):
        pass

    assert before == signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not path_in(tmp_path).exists()


def test_whoever_waits_for_a_worker_that_does_not_come_is_sent_to_the_others() -> None:
    board, door = Board(2), bound("127.0.0.1:0")
    others = sharing(door)
    forks = Forks(board, lambda _: 0, door=door)
    there = door[0].getsockname()
    door[0].listen()
    with socket.create_connection(there, 5) as waiting:
        forks.shut(board.slots[0])
        waiting.settimeout(5)
        with pytest.raises(ConnectionError):
            _ = waiting.recv(1) or _raise()
        others[0].listen()
        clients = [socket.create_connection(there, 5) for _ in range(10)]
        others[0].setblocking(True)
        others[0].settimeout(5)
        for _ in clients:
            others[0].accept()[0].close()
    forks.leave()
    close((*others, *clients))


def _raise() -> bytes:
    raise ConnectionResetError


def test_elsewhere_than_on_linux_there_is_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Misconfigured, match="needs Linux"), hands(tmp_path, lambda _: 0):
        pass


def test_a_worker_obeys() -> None:
    obedience, reloads = Obedience(), list[str]()
    obedience.heed(Order.RELOAD.value)
    obedience.again.met_by(lambda: reloads.append("now"))

    assert ["now"] == reloads, "it was ordered before it could be done"

    obedience.heed(Order.RELOAD.value)

    assert (["now", "now"], False) == (reloads, obedience.stop.asked.is_set())

    obedience.heed(Order.STOP.value)

    assert (True, False) == (obedience.stop.asked.is_set(), obedience.stop.hastened.is_set())

    obedience.heed(Order.HASTEN.value)

    assert obedience.stop.hastened.is_set()


def test_a_worker_that_nobody_orders_any_more_stops(caplog: pytest.LogCaptureFixture) -> None:
    obedience = Obedience()
    obedience.heed(b"")

    assert (True, False) == (obedience.stop.asked.is_set(), obedience.stop.hastened.is_set())
    assert ["supervisor_gone"] == [one.message for one in caplog.records]


async def test_orders_are_heeded_while_the_loop_goes_around_and_it_shows_that_it_does() -> None:
    board = Board(1)
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX) as asked_at:
        place = Place(board.slots[0], board, (Worker(0, ""),), (), (), asked_at, None, reading, is_first=True)
        async with heeding_orders(place) as obedience:

            async def beats() -> bool | None:
                return board.slots[0].beats > 0 or None

            await eventually(beats, 20, "a beat")
            os.write(writing, Order.STOP.value)
            await obedience.stop.asked.wait()
            os.close(writing)
    os.close(reading)


def test_the_supervisors_log_needs_no_thread_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(writing, "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        log, threads = logging.StreamHandler(Unhurried()), threading.active_count()
        log.emit(logging.makeLogRecord({"msg": "worker_died"}))

        assert b"worker_died\n" == os.read(reading, 100)

        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 65536)
        log.emit(logging.makeLogRecord({"msg": "lost"}))

        assert threads == threading.active_count()
    os.close(reading)


def test_a_long_line_of_the_supervisors_log_waits_for_nobody_either() -> None:
    """In a process of its own, which is not stopped by what would stop it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * select.PIPE_BUF)
    os.read(reading, select.PIPE_BUF)
    os.set_blocking(writing, True)
    says = "from proxy.bootstrap.workers import Unhurried; Unhurried().write('y' * 10_000)"
    done = subprocess.run([sys.executable, "-c", says], stdout=writing, check=False, timeout=20)
    os.close(writing)
    with os.fdopen(reading, "rb") as heard:
        assert (0, select.PIPE_BUF) == (done.returncode, heard.read().count(b"y"))
