"""``llamagate usage``: what did it cost?"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from proxy.admin import reports
from proxy.admin.cli import sheet, signs
from proxy.admin.cli.options import Config, Json, User
from proxy.admin.cli.paper import NONE, say, say_json, say_table, told_plainly
from proxy.admin.cli.times import Calendar, Since, TimeZone, Until
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.refusals import NotDone
from proxy.ledger import GROUPS, Sum, Wanted

By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="GROUPS", help=f"Sum by these, like user,day: {', '.join(GROUPS)}. [default: user]"),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, for a spreadsheet.")]


def usage(
    ctx: typer.Context,
    by: By = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    user: User = None,
    team: Annotated[str | None, typer.Option("--team", metavar="TEAM", help="Only this team's.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="ID", help="Only this key's.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Only this model's, named as by --by model."),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
    config: Config = None,
) -> None:
    """Sum up what calls cost, or write every one of them down."""
    if ctx.invoked_subcommand is not None:
        _refuse_own_options(ctx)
        return
    if as_json and as_csv:
        raise typer.BadParameter("Say one of --json and --csv.")
    tools: Tools = ctx.obj
    groups = _groups(by or ["user"])
    with told_plainly():
        settings = tools.load(config, {}).settings
        calendar = Calendar.of(settings, tools.now(), tz)
        wanted = Wanted(
            groups,
            calendar.moment(since),
            calendar.moment(until),
            calendar.zone.key,
            user=user,
            team=team,
            key=key,
            model=model,
        )
        sums = at_desk(tools, settings, lambda desk: desk.usage(wanted))
    if as_json:
        say_json([facts(groups, one) for one in sums])
    elif as_csv:
        heads = tuple(facts(groups, Sum(("",) * len(groups))))
        typer.echo(sheet.rows([heads, *(tuple(facts(groups, one).values()) for one in sums)]), nl=False)
    elif sums:
        _say_sums(groups, sums, settings.ledger.currency)
    else:
        say("No calls yet." if wanted == Wanted(groups, time_zone=wanted.time_zone) else "There were no such calls.")


def facts(groups: Sequence[str], total: Sum) -> Mapping[str, Any]:
    """Everything under a name of its own; None for a group where the calls had none."""
    measures = asdict(total)
    del measures["groups"]
    return {**dict(zip(groups, (group or None for group in total.groups), strict=True)), **measures}


def _refuse_own_options(ctx: typer.Context) -> None:
    """They would be told to nobody."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"Write the options of {ctx.invoked_subcommand} after it.")


def _groups(by: Sequence[str]) -> tuple[str, ...]:
    try:
        return reports.groups(by)
    except NotDone as error:
        raise typer.BadParameter(error.message, param_hint="'--by'") from None


@dataclass(frozen=True, slots=True)
class _Cost:
    """A column that is only there where something was spent."""

    head: str
    of: Callable[[Sum], float]
    decimals: int


def _costs(whole: Sum, currency: str) -> list[_Cost]:
    columns: tuple[tuple[str, Callable[[Sum], float]], ...] = (
        (currency, lambda one: one.cost),
        ("elsewhere", lambda one: one.elsewhere),
        ("Wh", lambda one: one.watt_hours),
    )
    return [_Cost(head, of, _decimals(of(whole))) for head, of in columns if of(whole) > 0]


def _decimals(amount: float) -> int:
    """Two, and more where the first that are not zero come later."""
    return min(max(2, 2 - math.floor(math.log10(amount))), 12)


def _say_sums(groups: Sequence[str], sums: Sequence[Sum], currency: str) -> None:
    whole, fine = reports.together(sums), signs.are_shown()
    tokens = reports.tokens(whole)
    costs = _costs(whole, currency)
    heads = (*groups, "calls", "refused", "in", "out", "load s", "gpu s", *(cost.head for cost in costs))
    rows = [
        (
            *(group or NONE for group in one.groups),
            *_measures(one, costs, fine),
            signs.bar(reports.tokens(one) / tokens if tokens else 0.0, fine=fine),
        )
        for one in sums
    ]
    if len(sums) > 1:
        rows.append(("total", *("" for _ in groups[1:]), *_measures(whole, costs, fine), ""))
    say_table((*heads, "share" if tokens else ""), rows, right=heads[len(groups) :])
    if whole.estimated:
        least = signs.at_least("", fine=fine)
        say(f"{least} at least: of {_calls(whole.estimated)} nobody told how many tokens they cost.", "dim")
    if whole.suspicious:
        say(f"Of {_calls(whole.suspicious)} more tokens were told than can be; they were cut down.", "yellow")


def _measures(one: Sum, costs: Sequence[_Cost], fine: bool) -> tuple[str, ...]:
    counts = (str(one.prompt_tokens), str(one.completion_tokens))
    tokens = [signs.at_least(count, fine=fine) for count in counts] if one.estimated else counts
    money = (f"{cost.of(one):.{cost.decimals}f}" for cost in costs)
    return (str(one.calls), str(one.refused), *tokens, f"{one.load_seconds:.1f}", f"{one.gpu_seconds:.1f}", *money)


def _calls(count: int) -> str:
    return f"{count} call{'s' * (count != 1)}"
