"""``llamagate audit``: who did what to the gate, when and from where?"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import NONE, iso, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.times import Calendar, Since
from proxy.admin.cli.tools import Tools, at_desk
from proxy.auth import Act

NEWEST = 20


def audit(
    ctx: typer.Context,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", metavar="N", min=1, max=100_000, help=f"How many; without --since {NEWEST} if not told."
        ),
    ] = None,
    since: Since = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Only what they did.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="NAME", help="Only what was done to it: user:alice, or alice.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show the newest administrative acts, oldest of them first."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        begin = Calendar.of(settings, tools.now()).moment(since)
        newest = NEWEST if last is None and begin is None else last
        acts = at_desk(tools, settings, lambda desk: desk.acts(newest, begin, actor, subject))
    if as_json:
        for act in acts:
            say_json(facts(act))
    elif acts:
        heads = ("number", "at (UTC)", "actor", "origin", "act", "subject", "details")
        say_table(heads, [_row(act) for act in acts], right=("number",))
    else:
        say("Nothing was done yet." if (begin, actor, subject) == (None,) * 3 else "There were no such acts.")


def facts(act: Act) -> Mapping[str, Any]:
    """An act under the names that other programs read, a line each."""
    return {
        "number": act.number,
        "at": iso(act.at),
        "actor": act.actor,
        "origin": act.origin,
        "act": act.name,
        "subject": act.subject or None,
        "details": dict(act.details),
    }


def _row(act: Act) -> tuple[str, ...]:
    details = ", ".join(f"{name} {_told(value)}" for name, value in act.details.items())
    return (str(act.number), when(act.at), act.actor, act.origin, act.name, act.subject or NONE, details or NONE)


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
