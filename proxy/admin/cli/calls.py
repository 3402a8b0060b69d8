"""``llamagate calls``: what was asked, and how did it end?"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer

from proxy.admin.cli import signs
from proxy.admin.cli.options import Config, Json, User
from proxy.admin.cli.paper import NONE, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.times import At, Calendar
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.ledger import Running
from proxy.ledger.facts import Fact, facts
from proxy.vocabulary import Entry

LOOK_EVERY_SECONDS = 0.5
NEWEST = 20
RUNNING = "running"
"""How a call ended that has not."""

_HEADS = ("at (UTC)", "user", "endpoint", "model", "outcome", "status", "in", "out", "seconds")
_WIDTHS = (19, 12, 24, 20, 14, 6, 8, 8, 8)
_NUMBERS = ("status", "in", "out", "seconds")


def calls(
    ctx: typer.Context,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, max=100_000, help=f"How many; {NEWEST} if not told.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with every further call.")] = False,
    at: At = None,
    running: Annotated[bool, typer.Option("--running", help="What runs now.")] = False,
    user: User = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show the newest calls, oldest of them first, or those that ran at some time."""
    tools: Tools = ctx.obj
    if (at is not None) + running + (follow or last is not None) > 1:
        raise typer.BadParameter("Say one of --at, --running, and --last or --follow.")
    newest = NEWEST if last is None else last

    async def watch(desk: Desk) -> None:
        async for entry in desk.follow(user, lambda: asyncio.sleep(LOOK_EVERY_SECONDS), newest):
            say_json(facts(entry)) if as_json else say(line(entry))

    async def look(desk: Desk) -> tuple[list[Entry], list[Running]]:
        if moment is not None:
            return await desk.at(moment, user)
        return ([], await desk.running(user)) if running else (await desk.calls(newest, user), [])

    with told_plainly():
        settings = tools.load(config, {}).settings
        now = tools.now()
        moment = Calendar.of(settings, now).moment(at)
        if follow:
            if not as_json:
                say(_spaced(_HEADS), "bold")
            try:
                at_desk(tools, settings, watch)
            except KeyboardInterrupt:
                raise typer.Exit(130) from None
            return
        ended, going_on = at_desk(tools, settings, look)
    if as_json:
        for one in _in_order(ended, going_on):
            say_json(facts(one) if isinstance(one, Entry) else facts_so_far(one, now))
    elif ended or going_on:
        rows = [
            _cells(one) if isinstance(one, Entry) else _cells_so_far(one, now) for one in _in_order(ended, going_on)
        ]
        say_table(_HEADS, rows, right=_NUMBERS)
    elif running:
        say("No call runs.")
    else:
        say("No calls yet." if moment is None else f"No call ran at {when(moment)} UTC.")


def line(entry: Entry) -> str:
    """An entry on a line of its own, in columns, for who follows along."""
    return _spaced(_cells(entry))


def in_words(entry: Entry) -> str:
    """An entry for who sees only this one, and no heads of columns."""
    _, user, endpoint, model, outcome, status, prompt, completion, seconds = _cells(entry)
    tokens = f"{prompt} tokens in, {completion} out"
    return " · ".join((user, endpoint, model, f"{outcome} {status}", tokens, f"{seconds} s"))


def facts_so_far(call: Running, now: datetime) -> Mapping[str, Fact]:
    """A call that goes on under the same names as one that has ended, with what is known of it by now."""
    return {**facts(_so_far(call, now)), "outcome": RUNNING}


def _in_order(ended: Sequence[Entry], going_on: Sequence[Running]) -> list[Entry | Running]:
    """Where some go on, by when they began; else as they were written."""
    calls: list[Entry | Running] = [*ended, *going_on]
    return sorted(calls, key=lambda call: call.at) if going_on else calls


def _so_far(call: Running, now: datetime) -> Entry:
    """As if it ended now. How it ends, nobody knows."""
    return call.told or replace(call.so_far, reason=None, total_seconds=max(0.0, (now - call.at).total_seconds()))


def _cells_so_far(call: Running, now: datetime) -> tuple[str, ...]:
    at, user, endpoint, model, _, *numbers = _cells(_so_far(call, now))
    return (at, user, endpoint, model, RUNNING, *numbers)


def _cells(entry: Entry) -> tuple[str, ...]:
    usage, fine = entry.usage, signs.are_shown()
    counts = (str(usage.prompt_tokens), str(usage.completion_tokens))
    tokens = counts if usage.exact else [signs.at_least(count, fine=fine) for count in counts]
    outcome = entry.reason if entry.outcome == "refused" and entry.reason else entry.outcome.value
    status = NONE if entry.status is None else str(entry.status)
    return (
        when(entry.at), entry.user or NONE, entry.endpoint or NONE, entry.model or NONE, outcome,
        status, *tokens, f"{entry.total_seconds:.2f}",
    )  # fmt: skip


def _spaced(cells: tuple[str, ...]) -> str:
    places = zip(cells, _WIDTHS, _HEADS, strict=True)
    return " ".join(f"{cell:>{width}}" if head in _NUMBERS else f"{cell:<{width}}" for cell, width, head in places)
