"""``llamagate calls`` and ``llamagate usage``: what was asked, and what did it cost?"""

import asyncio
import enum
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from proxy.admin.cli.options import Config, Json, User, lifetime
from proxy.admin.cli.paper import NONE, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.ledger import Sum
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry

LOOK_EVERY_SECONDS = 0.5
_HEADS = ("at (UTC)", "user", "endpoint", "model", "outcome", "status", "in", "out", "seconds")
_WIDTHS = (19, 12, 24, 20, 14, 6, 8, 8, 8)
_NUMBERS = ("status", "in", "out", "seconds")


class By(enum.StrEnum):
    """``GROUPS`` as the command line knows choices; a test holds the two together."""

    user = "user"
    team = "team"
    key = "key"
    model = "model"
    day = "day"
    endpoint = "endpoint"


def calls(
    ctx: typer.Context,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, max=100_000, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with every further call.")] = False,
    user: User = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show the newest calls, oldest of them first."""
    tools: Tools = ctx.obj

    async def watch(desk: Desk) -> None:
        async for entry in desk.follow(user, lambda: asyncio.sleep(LOOK_EVERY_SECONDS), last):
            say_json(facts(entry)) if as_json else say(line(entry))

    with told_plainly():
        settings = tools.load(config, {}).settings
        if follow:
            if not as_json:
                say(_spaced(_HEADS), "bold")
            try:
                at_desk(tools, settings, watch)
            except KeyboardInterrupt:
                raise typer.Exit(130) from None
            return
        entries = at_desk(tools, settings, lambda desk: desk.calls(last, user))
    if as_json:
        for entry in entries:
            say_json(facts(entry))
    elif entries:
        say_table(_HEADS, [_cells(entry) for entry in entries], right=_NUMBERS)
    else:
        say("No calls yet.")


def usage(
    ctx: typer.Context,
    by: Annotated[By, typer.Option("--by", help="What to sum by.")] = By.user,
    since: Annotated[
        timedelta | None, typer.Option("--since", metavar="TIME", parser=lifetime, help="Only the last, like 7d.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Sum up what calls cost."""
    tools: Tools = ctx.obj
    with told_plainly():
        sums = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.usage(by.value, since))
    if as_json:
        say_json([{"by": by.value, **asdict(total)} for total in sums])
    elif sums:
        heads = (by.value, "calls", "refused", "in", "out", "busy seconds")
        say_table(heads, [_total(total) for total in sums], right=heads[1:])
        if any(total.floors for total in sums):
            say("≥ at least: some calls ended before they were counted.", "dim")
    else:
        say("No calls yet.")


def line(entry: Entry) -> str:
    """An entry on a line of its own, in columns, for who follows along."""
    return _spaced(_cells(entry))


def in_words(entry: Entry) -> str:
    """An entry for who sees only this one, and no heads of columns."""
    _, user, endpoint, model, outcome, status, prompt, completion, seconds = _cells(entry)
    tokens = f"{prompt} tokens in, {completion} out"
    return " · ".join((user, endpoint, model, f"{outcome} {status}", tokens, f"{seconds} s"))


def _cells(entry: Entry) -> tuple[str, ...]:
    floor = "" if entry.usage.exact else "≥"
    outcome = entry.reason if entry.outcome == "refused" and entry.reason else entry.outcome.value
    return (
        when(entry.at), entry.user or NONE, entry.endpoint or NONE, entry.model or NONE, outcome,
        NONE if entry.status is None else str(entry.status),
        f"{floor}{entry.usage.prompt_tokens}", f"{floor}{entry.usage.completion_tokens}", f"{entry.total_seconds:.2f}",
    )  # fmt: skip


def _spaced(cells: tuple[str, ...]) -> str:
    places = zip(cells, _WIDTHS, _HEADS, strict=True)
    return " ".join(f"{cell:>{width}}" if head in _NUMBERS else f"{cell:<{width}}" for cell, width, head in places)


def _total(total: Sum) -> tuple[str, ...]:
    floor = "≥" if total.floors else ""
    tokens = (f"{floor}{total.prompt_tokens}", f"{floor}{total.completion_tokens}")
    return (total.group or NONE, str(total.calls), str(total.refused), *tokens, f"{total.busy_seconds:.1f}")
