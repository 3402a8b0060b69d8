"""Who was let in by the running gate, and why others were not, asked by its control socket; both ends of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from proxy.admin.control import Handler, ask
from proxy.admin.refusals import NotDone

_OTHER_VERSION = "The gate and this command are of different versions."


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """How the gate fares with the keys of one issuer."""

    name: str
    keys: int = 0
    """That are believed at the moment."""
    age_seconds: float | None = None
    """Since they were fetched; None where they never were, or stand in the configuration."""
    fetches: int = 0
    failures: int = 0
    reason: str | None = None
    """Why the last fetch failed; None where it did not."""


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """How knowing callers goes in one gate, since it began."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Who was let in, by the kind of proof, and who was not, by the reason."""
    away_seconds: float | None = None
    """For how long nothing was heard of what is on record; None while all is well."""
    issuers: tuple[IssuerStatus, ...] = ()


class Doorkeepers(Protocol):
    def status(self) -> AuthStatus: ...


def handlers(doorkeepers: Doorkeepers) -> Mapping[str, Handler]:
    """What the gate answers about who came."""

    async def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return asdict(doorkeepers.status())

    return {"auth.status": status}


async def auth_status(path: Path) -> AuthStatus:
    """Raises GateNotRunning, and NotDone where the gate does not answer."""
    return _status(await ask(path, "auth.status"))


def together(told: Sequence[Any]) -> Mapping[str, Any]:
    """What several processes of one gate tell of who came, as one would. Raises NotDone."""
    statuses = [_status(one) for one in told]
    counts: Counter[str] = Counter()
    issuers: dict[str, list[IssuerStatus]] = {}
    for status in statuses:
        counts.update(status.counts)
        for issuer in status.issuers:
            issuers.setdefault(issuer.name, []).append(issuer)
    return asdict(
        AuthStatus(
            dict(counts),
            _highest(one.away_seconds for one in statuses),
            tuple(map(_issuer, issuers.values())),
        )
    )


def _issuer(told: Sequence[IssuerStatus]) -> IssuerStatus:
    """Each process fetches for itself; the worst of it is told."""
    return IssuerStatus(
        told[0].name,
        min(one.keys for one in told),
        _highest(one.age_seconds for one in told),
        sum(one.fetches for one in told),
        sum(one.failures for one in told),
        next((one.reason for one in told if one.reason is not None), None),
    )


def _highest(seconds: Iterable[float | None]) -> float | None:
    return max((one for one in seconds if one is not None), default=None)


def _status(told: Any) -> AuthStatus:
    try:
        if {one.name for one in fields(AuthStatus)} != set(told):
            raise NotDone(_OTHER_VERSION)
        return AuthStatus(**{**told, "issuers": tuple(IssuerStatus(**one) for one in told["issuers"])})
    except (KeyError, TypeError) as error:
        raise NotDone(_OTHER_VERSION) from error
