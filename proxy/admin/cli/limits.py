"""``llamagate limits``: how much is left, and for whom?"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from proxy.admin.amounts import used_up
from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import NONE, iso, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.admin.desk.limits import View
from proxy.admin.office import Status
from proxy.config import written
from proxy.limits import Account
from proxy.limits.verdict import Kind, Standing
from proxy.limits.windows import EPOCH, SECOND
from proxy.vocabulary import Level

Name = Annotated[str | None, typer.Argument(metavar="KEY|USER|TEAM", help="Whose; a whole key will do too.")]
OfKey = Annotated[str | None, typer.Option("--key", metavar="ID", help="This key, whoever else has the name.")]
OfUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="This user, whoever else has the name.")]
OfTeam = Annotated[str | None, typer.Option("--team", metavar="TEAM", help="This team, whoever else has the name.")]

_CALENDAR = (Kind.DAY_TOKENS, Kind.MONTH_TOKENS, Kind.DAY_GPU)


def show(
    ctx: typer.Context,
    name: Name = None,
    key: OfKey = None,
    user: OfUser = None,
    team: OfTeam = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what is left of every limit that holds for a key, a user or a team; alone, for everybody together."""
    tools: Tools = ctx.obj
    whose, level = _whose(name, key, user, team)
    with told_plainly():
        view = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.limits(whose, level))
    if as_json:
        say_json([_facts(standing, view) for standing in view.standings])
        return
    if view.standings:
        heads = ("level", "whose", "models", "limit", "of", "left", "refills")
        say_table(heads, [_row(standing, view) for standing in view.standings], right=("of", "left"))
    else:
        say("There are no limits.")
    if not view.is_live:
        say("The gate does not run: days and months are told by the ledger.", "dim", err=True)


def reset(
    ctx: typer.Context,
    name: Name = None,
    key: OfKey = None,
    user: OfUser = None,
    team: OfTeam = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="Everybody's together.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let a key, a user or a team begin anew, as if they had used nothing."""
    tools: Tools = ctx.obj
    whose, level = _whose(name, key, user, team)
    if (whose is None) is not everybody:
        raise typer.BadParameter("Say whose: one key, user or team, or --everybody.")
    with told_plainly():
        accounts = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.reset_limits(whose, level))
    if as_json:
        say_json([{**_account(account), "limits": list(used_up(account.limits))} for account in accounts])
        return
    for account in accounts:
        subject = f"{account.level} {account.subject}".strip()
        models = f", models {account.models}" if account.models else ""
        say(f"Reset for {subject}{models}: {', '.join(used_up(account.limits))}.")


def status(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Tell how the counting goes in the running gate."""
    tools: Tools = ctx.obj
    with told_plainly():
        told = at_desk(tools, tools.load(config, {}).settings, Desk.limits_status)
    if as_json:
        say_json(
            {
                "store": told.store,
                "degraded_since": iso(told.degraded_since),
                "mode": told.mode,
                "under_way": told.under_way,
                "counts": dict(told.counts),
            }
        )
        return
    rows = [("counted", told.store), ("degraded", _degraded(told)), ("calls under way", str(told.under_way))]
    counts = sorted((name.replace("_", " "), str(count)) for name, count in told.counts.items())
    say_table(("what", "value"), rows + counts)


def _whose(name: str | None, key: str | None, user: str | None, team: str | None) -> tuple[str | None, Level | None]:
    """Whose name it is, and of what; neither where none was told."""
    told = ((name, None), (key, Level.KEY), (user, Level.USER), (team, Level.TEAM))
    named = [(text, level) for text, level in told if text is not None]
    if len(named) > 1:
        raise typer.BadParameter("Name one key, user or team.")
    return named[0] if named else (None, None)


def _row(standing: Standing, view: View) -> tuple[str, ...]:
    account = standing.account
    shadow = " (only told of)" if account.shadow else ""
    most, left = _in_unit(standing, standing.most), _in_unit(standing, standing.left)
    return (
        account.level, account.subject or NONE, account.models or "all", f"{_limit(standing)}{shadow}",
        str(most), str(left), _refills(standing, view),
    )  # fmt: skip


def _in_unit(standing: Standing, amount: int) -> float:
    """GPU time is counted in milliseconds and told in seconds."""
    return amount / 1000 if standing.kind is Kind.DAY_GPU else amount


def _limit(standing: Standing) -> str:
    limits = standing.account.limits
    match standing.kind:
        case Kind.REQUESTS:
            return _rate("requests", limits.requests_per_minute, standing.most)
        case Kind.TOKENS:
            return _rate("tokens", limits.tokens_per_minute, standing.most)
        case Kind.CONCURRENT:
            return "calls at once"
        case Kind.DAY_TOKENS:
            return "tokens per day"
        case Kind.MONTH_TOKENS:
            return "tokens per month"
        case Kind.DAY_GPU:
            return "GPU seconds per day"


def _rate(what: str, per_minute: int | None, most: int) -> str:
    return f"{what} per minute" if per_minute == most else f"{what} at once, {per_minute} per minute"


def _refills(standing: Standing, view: View) -> str:
    if standing.kind in _CALENDAR:
        zone = ZoneInfo(standing.account.time_zone)
        return f"at {_at(standing, view).astimezone(zone):%Y-%m-%d %H:%M %Z}"
    if standing.left == standing.most and standing.full == 0:
        return "full"
    if standing.kind is Kind.CONCURRENT:
        return "as calls end"
    return f"full again in {written.as_duration(_seconds(standing))}"


def _at(standing: Standing, view: View) -> datetime:
    return EPOCH + timedelta(microseconds=view.moment.wall + standing.full)


def _seconds(standing: Standing) -> int:
    """Until all of it can be had again, rounded up."""
    return -(-standing.full // SECOND)


def _facts(standing: Standing, view: View) -> Mapping[str, Any]:
    is_quota = standing.kind in _CALENDAR
    return {
        **_account(standing.account),
        "limit": standing.kind.value,
        "most": _in_unit(standing, standing.most),
        "left": _in_unit(standing, standing.left),
        "full_in_seconds": None if standing.kind is Kind.CONCURRENT else _seconds(standing),
        "refills_at": iso(_at(standing, view)) if is_quota else None,
        "live": view.is_live,
    }


def _account(account: Account) -> Mapping[str, Any]:
    return {
        "level": account.level.value,
        "whose": account.subject or None,
        "models": account.models or None,
        "shadow": account.shadow,
    }


def _degraded(told: Status) -> str:
    if told.mode is None:
        return "no"
    if told.degraded_since is None:
        return f"no; else the mode is {told.mode}"
    return f"since {when(told.degraded_since)} UTC, in mode {told.mode}"
