"""The office in the running gate, asked by the control socket; both ends of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.admin.control import Handler, ask
from proxy.admin.office import LimitsOffice, Seen, Status
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.limits import Account, Moment, State, Store
from proxy.vocabulary import Level, Limits

AT_ONCE = 200
"""Accounts in one line, so that it stays below its bound even with the longest names."""

_OTHER_VERSION = "The gate and this command are of different versions."


class ControlOffice:
    """A ``LimitsOffice`` in another process."""

    def __init__(self, path: Path, fallback: Store) -> None:
        """``fallback`` is looked at where the gate does not run."""
        self._path = path
        self._fallback = fallback

    async def look(self, accounts: Sequence[Account]) -> Seen:
        try:
            seen = [_seen(await ask(self._path, "limits.look", accounts=some)) for some in _lines(accounts)]
        except GateNotRunning:
            return Seen(*await self._fallback.look(accounts), is_live=False)
        return Seen(seen[-1].moment, tuple(state for one in seen for state in one.states))

    async def reset(self, accounts: Sequence[Account]) -> None:
        for some in _lines(accounts):
            await ask(self._path, "limits.reset", accounts=some)

    async def status(self) -> Status:
        return _status(await ask(self._path, "limits.status"))


def handlers(office: LimitsOffice) -> Mapping[str, Handler]:
    """What the gate answers about its limits."""

    async def look(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        seen = await office.look(_accounts(asked))
        return {"steady": seen.moment.steady, "wall": seen.moment.wall, "states": seen.states}

    async def reset(asked: Mapping[str, Any]) -> None:
        await office.reset(_accounts(asked))

    async def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return _told(await office.status())

    return {"limits.look": look, "limits.reset": reset, "limits.status": status}


def together(told: Sequence[Any]) -> Mapping[str, Any]:
    """How the counting goes in several processes of one gate, as one would tell it. Raises NotDone."""
    statuses = [_status(one) for one in told]
    counts: Counter[str] = Counter()
    for status in statuses:
        counts.update(status.counts)
    return _told(
        replace(
            statuses[0],
            under_way=sum(one.under_way for one in statuses),
            counts=counts,
            degraded_since=min((one.degraded_since for one in statuses if one.degraded_since), default=None),
        )
    )


def _told(status: Status) -> Mapping[str, Any]:
    return {
        "store": status.store,
        "under_way": status.under_way,
        "counts": dict(status.counts),
        "mode": status.mode,
        "degraded_since": None if status.degraded_since is None else status.degraded_since.isoformat(),
    }


def _lines(accounts: Sequence[Account]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """At least one: an empty look tells the moment."""
    for start in range(0, max(1, len(accounts)), AT_ONCE):
        yield [asdict(account) for account in accounts[start : start + AT_ONCE]]


def _accounts(asked: Mapping[str, Any]) -> tuple[Account, ...]:
    try:
        return tuple(
            Account(
                level=Level(told["level"]),
                subject=str(told["subject"]),
                limits=Limits(**told["limits"]),
                place=str(told["place"]),
                models=str(told["models"]),
                shadow=bool(told["shadow"]),
                time_zone=str(told["time_zone"]),
            )
            for told in asked["accounts"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotDone(_OTHER_VERSION) from error


def _seen(told: Any) -> Seen:
    try:
        return Seen(Moment(told["steady"], told["wall"]), tuple(State(*state) for state in told["states"]))
    except (KeyError, TypeError) as error:
        raise NotDone(_OTHER_VERSION) from error


def _status(told: Any) -> Status:
    try:
        since = None if told["degraded_since"] is None else datetime.fromisoformat(told["degraded_since"])
        return Status(told["store"], told["under_way"], told["counts"], told["mode"], since)
    except (KeyError, TypeError, ValueError) as error:
        raise NotDone(_OTHER_VERSION) from error
