"""On which accounts a call is counted. Nothing in this module does I/O."""

from collections.abc import Callable, Sequence

from proxy.limits import Account
from proxy.vocabulary import Allowance, Caller, Level

Covers = Callable[[str, str], bool]
"""Whether a canonical pattern covers a canonical model name."""

MOST_KNOWN = 10_000
_known: dict[str, tuple[Caller, tuple[Account, ...]]] = {}
"""By the key's id, for each of its calls has the same: whose they are, and they."""


def of(caller: Caller, model: str, covers: Covers) -> tuple[Account, ...]:
    """Those of a call for this model; it is empty where the call names none."""
    mine = every(caller)
    return tuple([one for one in mine if not one.models or (model and covers(one.models, model))])


def every(caller: Caller) -> tuple[Account, ...]:
    """All that the caller has a share in, whatever it asks for."""
    known = _known.get(caller.key_id)
    if known is None or (known[0] is not caller and known[0] != caller):
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        known = _known[caller.key_id] = caller, tuple(_account(one, caller) for one in caller.allowances)
    return known[1]


def most_at_once(accounts: Sequence[Account]) -> int | None:
    """The most tokens that one call on all of them can ever ask for; None where there is no limit."""
    bounds = [account.most_at_once for account in accounts]
    return min([bound for bound in bounds if bound is not None], default=None)


def _subject(level: Level, caller: Caller) -> str:
    match level:
        case Level.KEY:
            return caller.key_id
        case Level.USER:
            return caller.user
        case Level.TEAM:
            return caller.team or ""
        case Level.EVERYBODY:
            return ""


def _account(allowance: Allowance, caller: Caller) -> Account:
    theirs = f"user {caller.user}" if caller.team is None else f"team {caller.team}"
    return Account(
        level=allowance.level,
        subject=_subject(allowance.level, caller),
        limits=allowance.limits,
        place="" if allowance.level is Level.EVERYBODY else theirs,
        models=allowance.models,
        shadow=allowance.shadow,
        time_zone=allowance.time_zone,
    )
