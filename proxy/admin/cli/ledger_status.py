"""``llamagate ledger status``: is everything written that shall be?"""

import asyncio
from dataclasses import asdict

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import say_json, say_table, told_plainly
from proxy.admin.cli.tools import Tools
from proxy.admin.watching import LedgerStatus


def status(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Tell how the ledger of the running gate fares, and whatever it has lost."""
    tools: Tools = ctx.obj
    with told_plainly():
        told = asyncio.run(tools.ledger_status(tools.load(config, {}).settings))
    if as_json:
        say_json({**asdict(told), "state": in_short(told)})
        return
    rows = (
        ("state", in_short(told)),
        ("bytes waiting for the book", str(told.waiting_bytes)),
        ("seconds the book is behind", f"{told.behind_seconds:.1f}"),
        ("lines lost", str(told.lost_lines)),
        ("lines torn", str(told.torn_lines)),
        ("calls refused for want of room", str(told.refused_calls)),
        ("calls let in without room", str(told.unsure_calls)),
        ("entries the usage log lost", str(told.usage_log_lost)),
    )
    say_table(("what", "value"), rows, right=())


def in_short(told: LedgerStatus) -> str:
    """The worst that there is to say, in a few words."""
    if told.is_failing:
        return "failing: the disk of the journal takes nothing"
    if told.is_full:
        return "full: there is no room for another line"
    if told.behind_seconds:
        return f"{told.behind_seconds:.0f} s behind: the database takes nothing"
    if told.lost_lines or told.torn_lines or told.unsure_calls or told.usage_log_lost:
        return "well, but something was lost"
    return "well"
