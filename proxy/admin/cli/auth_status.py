"""``llamagate auth status``: who was let in, and why were others not?"""

import asyncio
from dataclasses import asdict

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import NONE, say, say_json, say_table, told_plainly
from proxy.admin.cli.tools import Tools
from proxy.admin.proofs import AuthStatus, IssuerStatus


def status(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Tell who was let in by the running gate, why others were not, and how it fares with issuers' keys."""
    tools: Tools = ctx.obj
    with told_plainly():
        told = asyncio.run(tools.auth_status(tools.load(config, {}).settings))
    if as_json:
        say_json(asdict(told))
        return
    say_table(("what", "value"), [("what is on record", records(told)), *_counted(told)], right=())
    if told.issuers:
        say()
        heads = ("issuer", "keys", "fetched", "fetches", "failures", "why the last one failed")
        say_table(heads, [_row(one) for one in told.issuers])


def records(told: AuthStatus) -> str:
    """Whether the gate can look at it."""
    if told.away_seconds is None:
        return "well"
    return f"away for {told.away_seconds:.0f} s: who is known goes on for a while"


def _counted(told: AuthStatus) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(count)) for name, count in sorted(told.counts.items())]


def _row(one: IssuerStatus) -> tuple[str, ...]:
    fetched = NONE if one.age_seconds is None else f"{one.age_seconds:.0f} s ago"
    return (one.name, str(one.keys), fetched, str(one.fetches), str(one.failures), one.reason or NONE)
