"""One fault at a time: what callers see of it, how long that lasts, and whether all is as before afterwards."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from proxy.bootstrap.storage import records
from proxy.ledger import Wanted
from proxy.vocabulary import Entry, Outcome
from tests.security.chaos.load import BROKEN, NO_ANSWER, NO_CONNECTION, TOLD, WHOLE, WRONG, Load, Verdict, counted
from tests.security.chaos.stage import Gate, Size, Stage, TookTooLong, until

SETTLE_SECONDS = 15.0
MORE_MEMORY = 1.05
ROUNDING = 6 * 2**20
"""Bytes by which the memory of an idle Python process differs from one look to the next."""
SOON_SECONDS = 6.0
"""Within which what was answered is settled: what Redis did not take is said again at a pulse, every 5 seconds."""
OWN_FILES = 15
"""Five connections to the database are kept once they were needed, and each may have three files of SQLite open."""
OWN_TASKS = 2
"""Of a gate that waits for something in two ways at once, in turns."""
LEASE_MICROS = 60_000_000
KILLED = {BROKEN, NO_ANSWER, NO_CONNECTION}
"""What callers of a gate that is killed may see."""
FAILED = {TOLD, BROKEN, "502 backend_failed", "502 backend_broke_off", "502 truncated", "503 backend_down"}
"""What callers may see of an upstream in trouble."""
SILENT = {TOLD, BROKEN, "504 backend_silent"}


class CannotBeDone(Exception):
    """Why a fault cannot be had on this machine, or is none of this program."""


@dataclass
class Found:
    """What one fault came to."""

    seen: Counter[str] = field(default_factory=Counter)
    recovery: float | None = None
    """Seconds from its end until a stream that began afterwards was answered at every gate."""
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    forgiven: str = ""
    """What a gate may say though it is a mistake, for it was made to."""


@dataclass
class Window:
    """The time of one fault."""

    found: Found
    began: float
    allowed: set[str]
    at: set[str]
    """The names of gates whose callers may see anything of it."""
    undone: float | None = None

    def over(self) -> None:
        """What was done is undone; without this, it is so at the end of the block."""
        self.undone = time.monotonic()


@dataclass
class Scene:
    stage: Stage
    load: Load
    dice: random.Random
    seconds: float
    """How long a fault lasts that could last for ever."""
    normal: dict[str, Size] = field(default_factory=dict)
    first: dict[str, Size] = field(default_factory=dict)
    told: int = 0

    @property
    def rounds(self) -> int:
        """How often something is done that takes long."""
        return 1 if self.is_short else 3

    @property
    def is_short(self) -> bool:
        return self.seconds < 1

    async def hold(self, part: float = 1.0) -> None:
        await asyncio.sleep(self.seconds * part)

    @property
    def a(self) -> Gate:
        return self.stage.gates[0]

    @property
    def b(self) -> Gate:
        return self.stage.gates[1]

    async def warm(self) -> None:
        """What the gates hold when they have had calls and have none."""
        await asyncio.sleep(max(1.5, self.seconds))
        await self.load.rest()
        for gate in self.stage.gates:
            await quiet(gate)
            self.normal[gate.name] = self.first[gate.name] = await gate.size()
        self.load.go_on()

    @asynccontextmanager
    async def window(
        self, found: Found, allowed: Iterable[str] = (), at: Iterable[Gate] | None = None, within: float = 10.0
    ) -> AsyncIterator[Window]:
        """A fault in the block, after which every gate answers again ``within`` so many seconds, and then always."""
        gates = list(self.load.targets)
        names = {gate.name for gate in (gates if at is None else at)}
        window = Window(found, time.monotonic(), {WHOLE, *allowed}, names)
        yield window
        undone = window.undone or time.monotonic()
        back = await self._back(undone, found, within)
        await asyncio.sleep(0.5)
        for one in self.load.since(window.began):
            found.seen[one.kind] += 1
            may_see = one.gate.name in names and one.began <= back
            if one.kind not in (window.allowed if may_see else {WHOLE}):
                found.wrong.append(f"{one.gate.name}: {one.kind}")

    async def _back(self, undone: float, found: Found, within: float) -> float:
        """When every gate had answered again."""
        seconds = 0.0
        for gate in self.load.targets:
            while True:
                good = [
                    one for one in self.load.verdicts if one.gate is gate and one.began >= undone and one.kind == WHOLE
                ]
                if good:
                    seconds = max(seconds, min(one.first_byte for one in good) - undone)
                    break
                if time.monotonic() > undone + within + 5:
                    found.wrong.append(f"{gate.name} has not recovered {within + 5:g} s after")
                    break
                await self.load.news(0.2)
        if seconds > within:
            found.wrong.append(f"recovered after {seconds:.2f} s")
        found.recovery = max(seconds, found.recovery or 0.0)
        return undone + seconds

    async def settle(self, found: Found, *, kills: bool = False) -> None:
        """Nothing is left behind: no call, connection, task, file, memory, lease or row."""
        await self.load.rest()
        try:
            for gate in self.stage.gates:
                found.wrong += gate.mistakes()
                try:
                    await quiet(gate)
                    found.wrong += await self._grown(gate)
                except (TookTooLong, OSError) as error:
                    found.wrong.append(f"{gate.name}: {error}")
            for guest in self.stage.guests:
                found.wrong += [one for one in guest.mistakes() if not found.forgiven or found.forgiven not in one]
            found.wrong += await self._free(kills=kills)
            found.wrong += await self.unbalanced()
        finally:
            self.stage.guests.clear()  # They have ended, and were compared.
            self.load.go_on()

    async def _free(self, *, kills: bool) -> list[str]:
        """What is settled with Redis is so soon after."""
        over = time.monotonic() + SOON_SECONDS
        while (wrong := self._leases(kills=kills)) and not kills and time.monotonic() < over:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return wrong

    async def _grown(self, gate: Gate) -> list[str]:
        """What it holds more than before, and goes on holding: a look may come amid one of its own."""
        over = time.monotonic() + SOON_SECONDS
        while (wrong := await self._more(gate)) and time.monotonic() < over:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        return wrong

    async def _more(self, gate: Gate) -> list[str]:
        return self.grown(gate, self.normal[gate.name], await gate.size())

    def grown(self, gate: Gate, normal: Size, size: Size) -> list[str]:
        """By what it holds more than it did, if that is more than what comes and goes."""
        wrong: list[str] = []
        if size.files > normal.files * MORE_MEMORY + OWN_FILES:
            wrong.append(f"{gate.name} has {size.files} files open, {normal.files} before")
        if size.tasks > normal.tasks + OWN_TASKS:
            wrong.append(f"{gate.name} has {size.tasks} tasks, {normal.tasks} before: {gate.tasks()}")
        if size.resident > normal.resident * MORE_MEMORY + ROUNDING:
            wrong.append(f"{gate.name} holds {size.resident >> 20} MiB, {normal.resident >> 20} before")
        return wrong

    def _leases(self, *, kills: bool) -> list[str]:
        """Places that are held in Redis. Those of a gate that was killed end by themselves within a minute: they are
        told to have, so that none is taken for another's later.
        """
        say, left = self.stage.redis.say, 0
        seconds, micros = map(int, say("TIME"))
        now = seconds * 10**6 + micros
        wrong = []
        for key in say("KEYS", "*:h"):
            told = say("ZRANGE", key, 0, -1, "WITHSCORES")
            for lease, end in zip(told[::2], told[1::2], strict=True):
                if float(end) > now:
                    left += 1
                if float(end) > now + LEASE_MICROS:
                    wrong.append(f"the lease {lease} does not end within a minute")
                if kills:
                    say("ZADD", key, "XX", 1, lease)
        return wrong if kills or not left else [*wrong, f"{left} leases are held by nobody"]

    async def unbalanced(self) -> list[str]:
        """What callers were told that the ledger has otherwise."""
        wrong = []
        for gates in _sharing([*self.stage.gates, *self.stage.guests]):
            verdicts = [one for one in self.load.verdicts if one.gate in gates]
            if verdicts:
                wrong += await _compared(gates, verdicts)
        return wrong


async def quiet(gate: Gate) -> None:
    """Return once no call and no connection goes on and everything is in the book. Raises TookTooLong."""
    deadline = time.monotonic() + SETTLE_SECONDS
    names = ("llamagate_calls_under_way", "llamagate_connections", "llamagate_book_behind_seconds")
    while True:
        told = await gate.figures()
        held = {name: told[name] for name in names if told.get(name)}
        if not held:
            return
        if time.monotonic() > deadline:
            raise TookTooLong(f"still {held}")
        await asyncio.sleep(0.05)


def _sharing(gates: Iterable[Gate]) -> list[list[Gate]]:
    """By the database that they write in."""
    by: dict[str, list[Gate]] = {}
    for gate in gates:
        by.setdefault(gate.told["database_url"], []).append(gate)
    return list(by.values())


async def _compared(gates: list[Gate], verdicts: list[Verdict]) -> list[str]:
    heard = {one.call: one for one in verdicts if one.call is not None}
    unwritten = {"503 storage_failed", "503 ledger_full", "503 auth_unavailable"}  # These leave none, and say so.
    settings = gates[0].settings
    async with records(settings) as kept:

        async def look() -> tuple[list[Entry], int, int]:
            entries = [entry async for page in kept.book.all(None, None) for entry in page]
            sums = await kept.book.sums(Wanted())
            tokens = sum(one.prompt_tokens + one.completion_tokens for one in sums)
            return entries, sum(one.calls for one in sums), tokens

        over = time.monotonic() + 5
        while True:
            entries, calls, tokens = await look()
            rows = {entry.id: entry for entry in entries}
            missing = [one for call, one in heard.items() if call not in rows and one.kind not in unwritten]
            _, running = await kept.book.at(max(entry.at for entry in entries)) if entries else (None, [])
            if (not missing and not running) or time.monotonic() > over:
                break
            await asyncio.sleep(0.1)
    name = "+".join(gate.name for gate in gates)
    wrong = []
    if missing:
        wrong.append(f"{name}: {len(missing)} calls have no row: {counted(missing)}")
    if running:
        wrong.append(f"{name}: {len(running)} calls go on for ever")
    if len(rows) != len(entries):
        wrong.append(f"{name}: {len(entries) - len(rows)} rows too many")
    for call, one in heard.items():
        if one.kind == WHOLE and call in rows:
            usage = rows[call].usage
            if (usage.prompt_tokens, usage.completion_tokens) != one.cost or rows[call].outcome is Outcome.LOST:
                wrong.append(f"{name}: {call} cost {one.cost}, and the row says {usage} and {rows[call].outcome}")
    if (calls, tokens) != (len(rows), sum(entry.usage.tokens for entry in entries)):
        wrong.append(f"{name}: the sums say {calls} calls and {tokens} tokens, the rows {len(rows)} and others")
    return wrong


Act = Callable[[Scene, Found], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table of faults."""

    number: int
    name: str
    act: Act
    kills: bool = False
    """Whether it kills gates, whose places in Redis end by themselves later."""


def named(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(verdicts.items()))


__all__ = ["FAILED", "KILLED", "SILENT", "WRONG", "CannotBeDone", "Fault", "Found", "Scene", "Window", "until"]
