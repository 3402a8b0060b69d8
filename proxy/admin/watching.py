"""What goes on in the running gate, asked by its control socket; both ends of it.

Never a word of what is asked and answered, nor of calls that have not said yet whose they are.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from proxy.admin.control import Handler, ask
from proxy.admin.refusals import NotDone
from proxy.ledger.under_way import Stage, UnderWay
from proxy.vocabulary import Clock

MOST_CALLS = 200
"""Calls that are told at once, so that one line holds them even with the longest names."""
EVERY_SECONDS = 1.0
"""Between two looks."""

_OTHER_VERSION = "The gate and this command are of different versions."

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """How the ledger of one gate fares. Whatever it has lost since the gate began stands here."""

    waiting_bytes: int = 0
    """In the journal, for the book."""
    behind_seconds: float = 0.0
    """For how long the book has taken nothing; 0 while it does."""
    is_full: bool = False
    """Whether there is no room for another call's line."""
    is_failing: bool = False
    """Whether the journal's disk takes nothing."""
    lost_lines: int = 0
    """Steps of calls that no disk ever took."""
    torn_lines: int = 0
    """Lines of the journal that told nothing when they were read again."""
    refused_calls: int = 0
    """For want of room; they have no line."""
    unsure_calls: int = 0
    """That were let in though there was no room."""
    usage_log_lost: int = 0
    """Entries that the usage log does not have, and the book does."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at what goes on."""

    at: float
    """Seconds on the gate's steady clock."""
    calls: tuple[UnderWay, ...] = ()
    """Those of known callers, the oldest first."""
    others: int = 0
    """Further ones, that there was no room for."""
    ledger: LedgerStatus = LedgerStatus()


class Watched(Protocol):
    """The gate, for who looks at it."""

    def under_way(self) -> Iterable[UnderWay]: ...

    def status(self) -> LedgerStatus: ...


def handlers(watched: Watched, clock: Clock) -> Mapping[str, Handler]:
    """What the gate answers about what goes on."""

    async def look(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return asdict(_cut(clock(), watched.under_way(), watched.status()))

    async def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return asdict(watched.status())

    return {"top.look": look, "ledger.status": status}


async def look(path: Path) -> Look:
    """Raises GateNotRunning, and NotDone where the gate does not answer."""
    return _look(await ask(path, "top.look"))


async def looks(path: Path, pause: Pause) -> AsyncGenerator[Look, None]:
    """One after the other, for ever. Raises as ``look`` does."""
    while True:
        yield await look(path)
        await pause(EVERY_SECONDS)


async def ledger_status(path: Path) -> LedgerStatus:
    """Raises as ``look`` does."""
    return _status(await ask(path, "ledger.status"))


def looks_together(told: Sequence[Any]) -> Mapping[str, Any]:
    """What several processes of one gate tell of what goes on, as one would. Raises NotDone."""
    looks = [_look(one) for one in told]
    calls = [call for look in looks for call in look.calls]
    whole = _cut(max(look.at for look in looks), calls, _together([look.ledger for look in looks]))
    return asdict(replace(whole, others=whole.others + sum(look.others for look in looks)))


def statuses_together(told: Sequence[Any]) -> Mapping[str, Any]:
    """How the ledgers of several processes of one gate fare, as one would tell it. Raises NotDone."""
    return asdict(_together([_status(one) for one in told]))


def _together(statuses: Sequence[LedgerStatus]) -> LedgerStatus:
    sums = {
        name: sum(getattr(one, name) for one in statuses)
        for name in (
            "waiting_bytes", "lost_lines", "torn_lines", "refused_calls", "unsure_calls", "usage_log_lost",
        )
    }  # fmt: skip
    return LedgerStatus(
        behind_seconds=max(one.behind_seconds for one in statuses),
        is_full=any(one.is_full for one in statuses),
        is_failing=any(one.is_failing for one in statuses),
        **sums,
    )


def _cut(at: float, calls: Iterable[UnderWay], ledger: LedgerStatus) -> Look:
    """As many of the calls as one look may tell, the oldest first."""
    ordered = sorted(calls, key=lambda call: (-call.seconds, call.id))
    return Look(at, tuple(ordered[:MOST_CALLS]), max(0, len(ordered) - MOST_CALLS), ledger)


def _look(told: Any) -> Look:
    try:
        calls = tuple(UnderWay(**{**call, "stage": Stage(call["stage"])}) for call in told["calls"])
        return Look(float(told["at"]), calls, int(told["others"]), _status(told["ledger"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NotDone(_OTHER_VERSION) from error


def _status(told: Any) -> LedgerStatus:
    try:
        if {one.name for one in fields(LedgerStatus)} != set(told):
            raise NotDone(_OTHER_VERSION)
        return LedgerStatus(**told)
    except TypeError as error:
        raise NotDone(_OTHER_VERSION) from error
