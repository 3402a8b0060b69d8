"""``llamagate top``: who runs what right now?"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from proxy.admin.cli.ledger_status import in_short
from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import NONE, paper, plain, say, say_json, say_table, told_plainly
from proxy.admin.cli.tools import Tools
from proxy.admin.watching import Look
from proxy.config.settings import Settings
from proxy.ledger.under_way import Stage, UnderWay

OVER_SECONDS = 2.0
"""The time over which tokens per second are told."""

_HEADS = ("user", "key", "model", "endpoint", "state", "age", "tokens", "tokens/s", "bytes out")
_NUMBERS = ("age", "tokens", "tokens/s", "bytes out")
_STAGES = {Stage.ARRIVING: "arriving", Stage.WAITING: "waiting for the model", Stage.ANSWERING: "answering"}


@dataclass(frozen=True, slots=True)
class Pace:
    """A call, and how fast its answer grows; None where it has been seen only once."""

    call: UnderWay
    tokens_per_second: float | None


def top(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Print what runs now, and end.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show who runs what right now."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        try:
            if once or as_json or not paper().is_terminal:
                asyncio.run(_once(tools, settings, as_json=as_json))
            else:
                asyncio.run(_live(tools, settings))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


async def _once(tools: Tools, settings: Settings, *, as_json: bool) -> None:
    """Two looks, for how fast it goes."""
    seen: list[Look] = []
    async with aclosing(tools.looks(settings)) as looks:
        async for look in looks:
            seen.append(look)
            if len(seen) == 2:
                break
    now, calls = seen[-1], paces(seen)
    if as_json:
        say_json(facts(now, calls))
        return
    say(head(now, calls))
    if calls:
        say_table(_HEADS, [_cells(one) for one in calls], right=_NUMBERS)


async def _live(tools: Tools, settings: Settings) -> None:
    seen: list[Look] = []
    async with aclosing(tools.looks(settings)) as looks:
        with Live(console=paper(), auto_refresh=False, screen=True) as screen:
            async for look in looks:
                seen = [one for one in seen if look.at - one.at <= OVER_SECONDS] + [look]
                calls = paces(seen)
                screen.update(Group(Text(plain(head(look, calls)), style="bold"), _table(calls)), refresh=True)


def paces(seen: Sequence[Look]) -> list[Pace]:
    """The calls of the newest look, each with how fast it went since it was first seen in any of these."""
    return [Pace(call, _pace(call, seen)) for call in seen[-1].calls]


def _pace(call: UnderWay, seen: Sequence[Look]) -> float | None:
    now = seen[-1]
    for look in seen[:-1]:
        seconds = now.at - look.at
        before = next((one.completion_tokens for one in look.calls if one.id == call.id), None)
        if before is None and call.seconds <= seconds:
            before = 0  # It began since.
        if before is not None and seconds > 0:
            return max(0, call.completion_tokens - before) / seconds
    return None


def in_all(calls: Iterable[Pace]) -> float:
    """Tokens per second of all of them together."""
    return sum((one.tokens_per_second or 0.0 for one in calls), 0.0)


def head(look: Look, calls: Sequence[Pace]) -> str:
    """What there is to say of all calls together."""
    count = len(look.calls) + look.others
    left_out = f" ({look.others} more than are shown)" if look.others else ""
    words = f"{count} call{'s' * (count != 1)} under way{left_out}"
    return f"{words} · {in_all(calls):.1f} tokens/s · ledger {in_short(look.ledger)}"


def facts(look: Look, calls: Sequence[Pace]) -> Mapping[str, Any]:
    return {
        "under_way": len(look.calls) + look.others,
        "tokens_per_second": round(in_all(calls), 3),
        "calls": [
            {
                **asdict(one.call),
                "seconds": round(one.call.seconds, 3),
                "tokens_per_second": None if one.tokens_per_second is None else round(one.tokens_per_second, 3),
            }
            for one in calls
        ],
        "ledger": asdict(look.ledger),
    }


def _table(calls: Sequence[Pace]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in _HEADS:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for one in calls:
        table.add_row(*(Text(plain(cell)) for cell in _cells(one)))
    return table


def _cells(one: Pace) -> tuple[str, ...]:
    call, speed = one.call, one.tokens_per_second
    return (
        call.user, call.key_id, call.model or NONE, call.endpoint, _STAGES[call.stage], f"{call.seconds:.1f} s",
        str(call.completion_tokens), NONE if speed is None else f"{speed:.1f}", str(call.bytes_out),
    )  # fmt: skip
