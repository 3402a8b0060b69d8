"""What can be asked of the ledger, and what sums amount to together. No I/O."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from proxy.admin.refusals import NotDone
from proxy.admin.subjects import key_id
from proxy.ledger import GROUPS, Sum, Wanted
from proxy.vocabulary import one_form, zone_named

_SHOWN = 40


def groups(told: Iterable[str]) -> tuple[str, ...]:
    """The groups that were named, several of them with commas between, each once. Raises NotDone."""
    names = [name.strip() for text in told for name in text.split(",")]
    for name in names:
        if name not in GROUPS:
            raise NotDone(f"Usage cannot be summed by {name[:_SHOWN]!r}. It can by: {', '.join(GROUPS)}.")
    return tuple(dict.fromkeys(names))


def zone(name: str) -> ZoneInfo:
    """The time zone that IANA gave this name. Raises NotDone."""
    try:
        return zone_named(name)
    except ValueError:
        raise NotDone(
            f"{name[:_SHOWN]!r} is not a time zone that this machine knows. Write one like Europe/Berlin."
        ) from None


def period(since: datetime | None, until: datetime | None) -> None:
    """Raises NotDone where that is no time at all."""
    if since is not None and until is not None and since >= until:
        raise NotDone("That time ends before it begins.")


def name(text: str | None) -> str | None:
    """As it is on record. Raises NotDone where it can be nobody's: a terminal hands on bytes that are no text too."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise NotDone("Nothing on record has a name like that: it is not UTF-8.") from None
    return text and one_form(text)


def checked(wanted: Wanted) -> Wanted:
    """The same, of a whole key only its id. Raises NotDone where it makes no sense."""
    period(wanted.since, wanted.until)
    return replace(
        wanted,
        by=groups(wanted.by),
        time_zone=zone(wanted.time_zone).key,
        user=name(wanted.user),
        team=name(wanted.team),
        key=None if wanted.key is None else key_id(name(wanted.key) or ""),
        model=name(wanted.model),
    )


def together(sums: Iterable[Sum]) -> Sum:
    """All of them as one, which has no groups."""
    whole = Sum(())
    for one in sums:
        whole = Sum(
            groups=(),
            calls=whole.calls + one.calls,
            refused=whole.refused + one.refused,
            estimated=whole.estimated + one.estimated,
            suspicious=whole.suspicious + one.suspicious,
            prompt_tokens=whole.prompt_tokens + one.prompt_tokens,
            completion_tokens=whole.completion_tokens + one.completion_tokens,
            load_seconds=whole.load_seconds + one.load_seconds,
            gpu_seconds=whole.gpu_seconds + one.gpu_seconds,
            total_seconds=whole.total_seconds + one.total_seconds,
            cost=whole.cost + one.cost,
            elsewhere=whole.elsewhere + one.elsewhere,
            watt_hours=whole.watt_hours + one.watt_hours,
        )
    return whole


def tokens(total: Sum) -> int:
    return total.prompt_tokens + total.completion_tokens
