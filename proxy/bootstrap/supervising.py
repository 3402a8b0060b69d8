"""Keep the workers of a gate at work: start each, and another in the place of one that died or hangs, and end them all.

The supervisor answers nobody. It has no loop and no thread, so that it can fork at any time, and it only waits: for
signals, for workers that end, and for the next look at whether all of them still beat.
"""

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from proxy.bootstrap.sharing import Board, Slot
from proxy.errors import GateError, Misconfigured
from proxy.vocabulary import Clock

LOOK_SECONDS = 1.0
"""Between two looks at the workers."""
OPENING_LOOK_SECONDS = 0.02
"""The same, while the others wait for the first of them to have opened."""
HUNG_SECONDS = 10.0
"""Without a beat, after which a worker is taken to hang."""
OPENING_SECONDS = 120.0
"""The same, before it has opened: it may wait for another gate that brings the database to a new schema."""
YOUNG_SECONDS = 10.0
"""Whoever dies before this age may have died of what the next one will die of too."""
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class Order(Enum):
    """What a worker is told."""

    STOP = b"s"
    HASTEN = b"h"
    RELOAD = b"r"


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was forked."""

    pid: int
    orders: int
    """A descriptor that it reads the other end of; once nobody has this end any more, it drains by itself."""


class Hands(Protocol):
    """What the supervisor does to the world."""

    def wait(self, seconds: float) -> int | None:
        """A signal that has come, as soon as one does; None after so many seconds."""

    def start(self, slot: Slot, *, is_first: bool) -> Child:
        """A worker. Raises OSError where there can be none now."""

    def order(self, child: Child, order: Order) -> None:
        """Tell a worker, if it still listens."""

    def kill(self, child: Child) -> None:
        """End a worker at once, whatever it does."""

    def ended(self, child: Child) -> int | None:
        """Its exit code, or less than 0, the number of the signal that killed it; None while it lives."""

    def shut(self, slot: Slot) -> None:
        """Send those away who wait for this slot's worker, and the next ones to the other workers until it has one."""

    def leave(self) -> None:
        """Let go of what workers listen at: no other worker will be started."""

    def die(self, number: int) -> None:
        """Die of this signal."""


@dataclass(slots=True)
class _Life:
    """What is known of the worker of one slot."""

    slot: Slot
    child: Child | None = None
    since: float = 0.0
    """When it was started, and where it is none, when one is to be."""
    is_due: bool = False
    is_first: bool = True
    short: int = 0
    """How many one after the other died young."""
    beats: int = 0
    silent: float = 0.0
    """For how many seconds it has not been seen to beat."""


def pause_after(short: int) -> float:
    """How many seconds to wait after so many workers that died young, one after the other."""
    if short == 0:
        return 0.0
    return float(min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** min(short - 1, 10)))


class Supervisor:
    """Of the workers in these slots. ``renew`` reads the configuration again for those that come; it raises GateError.

    ``opened`` is called once the first worker answers, ``alive`` whenever all have been looked after, and ``stopping``
    once they have been told to stop.
    """

    def __init__(
        self,
        board: Board,
        hands: Hands,
        clock: Clock,
        renew: Callable[[], None],
        *,
        opened: Callable[[], None] = lambda: None,
        alive: Callable[[], None] = lambda: None,
        stopping: Callable[[], None] = lambda: None,
        hung_seconds: float = HUNG_SECONDS,
    ) -> None:
        self._board = board
        self._hands = hands
        self._clock = clock
        self._renew = renew
        self._opened = opened
        self._alive = alive
        self._stopping = stopping
        self._hung_seconds = hung_seconds
        self._lives = [_Life(slot) for slot in board.slots]
        self._has_opened = False
        self._asked = 0
        """How often it was told to stop."""
        self._reloads = board.reloads
        self._looked = clock()
        self._log = logging.getLogger("proxy.workers")

    def run(self) -> None:
        """Return once it was told to stop and all workers have gone.

        Raises Misconfigured where the first worker could not open; then there are no others.
        """
        self._lives[0].is_due = True
        while True:
            self._follow()
            self._start_those_due()
            if not any(life.child or life.is_due for life in self._lives):
                return
            number = self._hands.wait(self._until_next())
            if number is not None:
                self._hear(number)
            self._bury()
            self._look()
            self._alive()

    def _until_next(self) -> float:
        if not self._has_opened:
            return OPENING_LOOK_SECONDS
        due = [life.since - self._clock() for life in self._lives if life.is_due]
        return max(0.0, min([LOOK_SECONDS, *due]))

    def _start_those_due(self) -> None:
        now = self._clock()
        for life in self._lives:
            if not life.is_due or life.since > now:
                continue
            try:
                life.child = self._hands.start(life.slot, is_first=life.is_first)
            except OSError as error:
                self._log.error("worker_not_started", extra={"worker": life.slot.number, "error": error.strerror})
                life.short += 1
                life.since = now + pause_after(life.short)
                continue
            self._log.info("worker_started", extra={"worker": life.slot.number, "pid": life.child.pid})
            life.is_due = life.is_first = False
            life.since, life.silent, life.beats = now, 0.0, life.slot.beats

    def _hear(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number)

    def _stop(self, number: int) -> None:
        self._asked += 1
        if self._asked > 2:
            for child in self._children():
                self._hands.kill(child)
            self._hands.die(number)
        if self._asked == 1:
            self._stopping()
            self._hands.leave()
            for life in self._lives:
                life.is_due = False
        for child in self._children():
            self._hands.order(child, Order.STOP if self._asked == 1 else Order.HASTEN)

    def _reload(self) -> None:
        """Here first: where it is not good, all go on as they were."""
        if self._takes_configuration():
            for child in self._children():
                self._hands.order(child, Order.RELOAD)

    def _follow(self) -> None:
        """Take what the workers took, for those that come."""
        if self._reloads != (reloads := self._board.reloads):
            self._reloads = reloads
            self._takes_configuration()

    def _takes_configuration(self) -> bool:
        try:
            self._renew()
        except GateError as error:
            self._log.error("reload_refused", extra={"error": error.message})
            return False
        return True

    def _bury(self) -> None:
        for life in self._lives:
            if life.child is None or (code := self._hands.ended(life.child)) is None:
                continue
            pid, life.child = life.child.pid, None
            was_open, age = life.slot.is_open, self._clock() - life.since
            life.slot.vacate()
            if not self._has_opened and not was_open:
                self._fail(code)
            if self._asked:
                if code:
                    self._log_death(life, pid, code)
                continue
            self._log_death(life, pid, code)
            life.short = life.short + 1 if age < YOUNG_SECONDS else 0
            life.is_due, life.since = True, self._clock() + pause_after(life.short)
            if not was_open:
                self._hands.shut(life.slot)

    def _fail(self, code: int) -> None:
        """The first worker ended before it answered anybody. Raises Misconfigured, unless it was told to."""
        if not (self._asked and code == 0):
            why = f"It was killed by signal {-code}." if code < 0 else f"It ended with {code}."
            raise Misconfigured(self._board.complaint.read().decode() or f"The first worker could not open. {why}")

    def _log_death(self, life: _Life, pid: int, code: int) -> None:
        how = {"signal": -code} if code < 0 else {"code": code}
        self._log.error("worker_died", extra={"worker": life.slot.number, "pid": pid, **how})

    def _look(self) -> None:
        """At who has opened, and at who does not beat any more.

        Time in which nobody looked is not held against a worker: all of us may have been stopped together.
        """
        if not self._has_opened and self._lives[0].slot.is_open:
            self._has_opened = True
            self._opened()
            for life in self._lives[1:]:
                life.is_due, life.since = not self._asked, self._clock()
        now = self._clock()
        passed = min(now - self._looked, 2 * LOOK_SECONDS)
        self._looked = now
        for life in self._lives:
            if life.child is None:
                continue
            if life.beats != (beats := life.slot.beats):
                life.beats, life.silent = beats, 0.0
                continue
            life.silent += passed
            if life.silent >= (self._hung_seconds if life.slot.is_open else OPENING_SECONDS):
                self._log.error("worker_hung", extra={"worker": life.slot.number, "pid": life.child.pid})
                self._hands.kill(life.child)
                life.silent = 0.0

    def _children(self) -> Iterator[Child]:
        return (life.child for life in self._lives if life.child is not None)
