import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from proxy.bootstrap.sharing import Board, Slot
from proxy.bootstrap.supervising import (
    HUNG_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPENING_SECONDS,
    YOUNG_SECONDS,
    Child,
    Order,
    Supervisor,
    pause_after,
)
from proxy.errors import Misconfigured


class Died(BaseException):
    """The supervisor would have gone."""


@dataclass
class World:
    """``Hands`` that keep what was done. Time passes only while the supervisor waits, and every worker beats then."""

    board: Board
    story: "Iterator[Happens]"
    """What happens at each wait, and the signal that comes of it; the last thing must end it all."""
    now: float = 100.0
    done: list[tuple[object, ...]] = field(default_factory=list)
    living: dict[int, Slot] = field(default_factory=dict)
    """By their processes."""
    deaf: set[int] = field(default_factory=set)
    """Slots whose worker does not beat."""
    codes: dict[int, int] = field(default_factory=dict)
    opens: bool = True
    fails: int = 0
    """How often no process can be had."""
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> int | None:
        self.waits.append(seconds)
        self.now += seconds
        for slot in self.living.values():
            if slot.number not in self.deaf:
                slot.beat()
        return next(self.story)(self)

    def start(self, slot: Slot, *, is_first: bool) -> Child:
        if self.fails:
            self.fails -= 1
            raise OSError(11, "no more processes")
        pid = 10 * slot.number + sum(1 for one in self.done if one[:2] == ("start", slot.number))
        self.done.append(("start", slot.number, is_first, round(self.now, 2)))
        self.living[pid] = slot
        if self.opens:
            slot.opened()
        return Child(pid, -1)

    def order(self, child: Child, order: Order) -> None:
        self.done.append((order, self.living[child.pid].number))

    def kill(self, child: Child) -> None:
        self.done.append(("kill", self.living[child.pid].number))
        self.codes[child.pid] = -signal.SIGKILL

    def ended(self, child: Child) -> int | None:
        code = self.codes.pop(child.pid, None)
        if code is not None:
            del self.living[child.pid]
        return code

    def shut(self, slot: Slot) -> None:
        self.done.append(("shut", slot.number))

    def leave(self) -> None:
        self.done.append(("leave",))

    def die(self, number: int) -> None:
        raise Died(number)

    def ends(self, number: int, code: int = 0) -> None:
        (pid,) = [pid for pid, slot in self.living.items() if slot.number == number]
        self.codes[pid] = code

    def starts(self) -> list[tuple[object, ...]]:
        return [one[1:] for one in self.done if one[0] == "start"]


Happens = Callable[[World], int | None]


def nothing(_: World) -> None:
    """Only time passes."""


def stop(_: World) -> int:
    return signal.SIGTERM


def interrupt(_: World) -> int:
    return signal.SIGINT


def end(world: World) -> None:
    """All who were told to stop have."""
    world.codes = dict.fromkeys(world.living, 0)


def first_ends(code: int) -> Happens:
    def happens(world: World) -> None:
        world.ends(0, code)

    return happens


def made(story: Iterable[Happens], *, slots: int = 2, opens: bool = True) -> World:
    return World(Board(slots), iter(list(story)), opens=opens)


def told(*story: Happens, slots: int = 2, renew: Callable[[], None] = lambda: None) -> World:
    """What was done once all that has happened; at the end the gate is told to stop, and its workers do."""
    world = made([*story, stop, end], slots=slots)
    Supervisor(world.board, world, lambda: world.now, renew).run()
    return world


def test_the_first_worker_opens_before_there_are_others_and_all_are_stopped_together() -> None:
    world = told(nothing, nothing, slots=3)

    assert [(0, True), (1, True), (2, True)] == [(one[0], one[1]) for one in world.starts()]
    assert [("leave",), *((Order.STOP, number) for number in range(3))] == world.done[-4:]


def test_others_wait_for_as_long_as_the_first_takes() -> None:
    def opens(world: World) -> None:
        assert [0] == [one[0] for one in world.starts()]
        world.board.slots[0].opened()

    world = made([nothing, nothing, opens, nothing, stop, end], opens=False)
    Supervisor(world.board, world, lambda: world.now, lambda: None).run()

    assert [0, 1] == [one[0] for one in world.starts()]


@pytest.mark.parametrize(
    ("code", "complaint", "words"),
    [
        (1, b"The database cannot be opened: it is full", "The database cannot be opened: it is full"),
        (-9, b"", "It was killed by signal 9"),
        (3, b"", "It ended with 3"),
    ],
)
def test_a_first_worker_that_cannot_open_ends_it_with_its_own_words(code: int, complaint: bytes, words: str) -> None:
    world = made([first_ends(code)], opens=False)
    world.board.complaint.write(complaint)
    with pytest.raises(Misconfigured, match=words):
        Supervisor(world.board, world, lambda: world.now, lambda: None).run()

    assert [0] == [one[0] for one in world.starts()]


def test_a_first_worker_that_is_told_to_stop_before_it_opens_is_no_mistake() -> None:
    world = made([nothing, stop, end], opens=False)
    Supervisor(world.board, world, lambda: world.now, lambda: None).run()

    assert [0] == [one[0] for one in world.starts()]


def test_a_worker_that_dies_is_followed_by_another_at_once_and_its_slot_is_cleared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def dies(world: World) -> None:
        world.board.slots[1].readiness.write(b"ready")
        world.now += YOUNG_SECONDS
        world.ends(1, -11)
        world.opens = False

    def looks(world: World) -> None:
        assert (b"", False) == (world.board.slots[1].readiness.read(), world.board.slots[1].is_open)

    world = told(nothing, nothing, dies, looks)
    first, again = (one for one in world.starts() if one[0] == 1)

    assert (True, False) == (first[1], again[1])
    assert ("shut", 1) not in world.done, "whoever waits is served by the next"
    (death,) = [one for one in caplog.records if one.message == "worker_died"]
    assert (1, 11) == (vars(death)["worker"], vars(death)["signal"])


def test_workers_that_die_young_are_followed_more_and_more_slowly() -> None:
    def dies(world: World) -> None:
        if any(slot.number == 1 for slot in world.living.values()):
            world.ends(1, 1)

    world = told(nothing, *[dies] * 40)
    times = [one[2] for one in world.starts() if one[0] == 1]
    pauses = [round(float(str(later)) - float(str(earlier)), 1) for earlier, later in pairwise(times)]

    assert sorted(pauses) == pauses
    assert LONGEST_PAUSE_SECONDS <= pauses[-1] < LONGEST_PAUSE_SECONDS + 2


@pytest.mark.parametrize(("short", "pause"), [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.4), (7, 5.0), (10_000, 5.0)])
def test_pauses_double_up_to_a_bound(short: int, pause: float) -> None:
    assert pause == pause_after(short)


def test_nobody_is_left_waiting_for_a_worker_that_does_not_open() -> None:
    def dies(world: World) -> None:
        world.ends(1, 1)
        world.opens = False

    def again(world: World) -> None:
        if any(slot.number == 1 for slot in world.living.values()):
            world.ends(1, 1)

    world = told(nothing, dies, *[again] * 3)

    assert ("shut", 1) in world.done


def test_a_worker_that_hangs_is_killed_and_followed(caplog: pytest.LogCaptureFixture) -> None:
    def hangs(world: World) -> None:
        world.deaf.add(1)

    def recovers(world: World) -> None:
        if ("kill", 1) in world.done:
            world.deaf.clear()

    world = told(nothing, hangs, *[recovers] * (int(HUNG_SECONDS) + 5))

    assert 1 == world.done.count(("kill", 1))
    assert [0, 1, 1] == [one[0] for one in world.starts()]
    assert ["worker_hung", "worker_died"] == [one.message for one in caplog.records if one.levelname == "ERROR"]


def test_a_worker_that_has_not_opened_yet_may_be_slow() -> None:
    def dies(world: World) -> None:
        world.ends(1)
        world.opens = False
        world.deaf.add(1)

    world = told(nothing, dies, *[nothing] * int(OPENING_SECONDS - 5))

    assert ("kill", 1) not in world.done


def test_time_in_which_nobody_looked_is_held_against_nobody() -> None:
    def frozen(world: World) -> None:
        world.now += 3600
        world.deaf = {0, 1}

    def thawed(world: World) -> None:
        world.deaf = set()

    world = told(nothing, nothing, frozen, thawed, nothing)

    assert [] == [one for one in world.done if one[0] == "kill"]


def test_all_are_told_to_reload_and_a_configuration_that_is_not_good_is_told_to_nobody() -> None:
    reads: list[str] = []

    def renew() -> None:
        reads.append("read")
        if len(reads) == 2:
            raise Misconfigured("It is not good.")

    def hangs_up(_: World) -> int:
        return signal.SIGHUP

    world = told(nothing, nothing, hangs_up, hangs_up, renew=renew)

    assert [(Order.RELOAD, 0), (Order.RELOAD, 1)] == [one for one in world.done if one[0] is Order.RELOAD]
    assert ["read", "read"] == reads


def test_what_the_workers_took_by_themselves_is_read_for_those_that_come() -> None:
    reads: list[float] = []

    def reloads(world: World) -> None:
        world.board.reloaded()
        world.ends(1)

    told(nothing, nothing, reloads, nothing, renew=lambda: reads.append(1.0))

    assert [1] == reads


def test_a_second_signal_hastens_and_a_third_kills() -> None:
    world = made([nothing, stop, interrupt, interrupt])
    with pytest.raises(Died, match=str(int(signal.SIGINT))):
        Supervisor(world.board, world, lambda: world.now, lambda: None).run()

    assert [
        *((Order.STOP, number) for number in range(2)),
        *((Order.HASTEN, number) for number in range(2)),
        *(("kill", number) for number in range(2)),
    ] == [one for one in world.done if one[0] in (*Order, "kill")]


def test_nobody_follows_once_it_was_told_to_stop() -> None:
    def stops(world: World) -> int:
        world.ends(1, -9)
        return signal.SIGTERM

    world = told(nothing, nothing, stops)

    assert [0, 1] == [one[0] for one in world.starts()]


def test_a_system_without_room_for_a_process_is_asked_again() -> None:
    def full(world: World) -> None:
        world.ends(1)
        world.fails = 3

    world = told(nothing, full, *[nothing] * 5)

    assert [0, 1, 1] == [one[0] for one in world.starts()]


def test_who_looks_after_the_gate_is_told_how_it_stands() -> None:
    heard: list[str] = []
    world = made([nothing, stop, end], slots=1)
    Supervisor(
        world.board,
        world,
        lambda: world.now,
        lambda: None,
        opened=lambda: heard.append("opened"),
        alive=lambda: heard.append("alive"),
        stopping=lambda: heard.append("stopping"),
    ).run()

    assert ["opened", "alive", "stopping", "alive", "alive"] == heard
