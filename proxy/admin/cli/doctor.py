"""``llamagate doctor``: what is wrong around the gate, and what cures it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import say, say_json
from proxy.admin.cli.tools import Tools
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.config import keys
from proxy.config.layers import Mistakes
from proxy.config.settings import Settings
from proxy.doctor import gate
from proxy.doctor.findings import Finding, Severity, exit_code, worst_first
from proxy.doctor.gate import Gate, Ledger, Mistake
from proxy.doctor.looking.everything import Means, inside, outside

_LONGEST_WAIT = 119
"""The gate's own bound, but for the event that follows."""
_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
    Severity.OK: "green",
}


def doctor(
    ctx: typer.Context,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Look from outside, at this address of the gate.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", envvar="LLAMAGATE_DOCTOR_KEY", help="Try streams with it; costs nothing."),
    ] = None,
    wait: Annotated[
        int,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            max=_LONGEST_WAIT,
            help="How long a silent answer must survive; 0: none.",
        ),
    ] = 70,
    private: Annotated[
        list[str] | None,
        typer.Option(
            "--private",
            metavar="HOST",
            envvar="LLAMAGATE_DOCTOR_PRIVATE",
            help="A host, as the settings name it, in a network where nobody else is: no TLS there is no warning.",
        ),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Tell what is wrong around the gate and what cures it; end with 1 after a warning, with 2 after worse."""
    tools: Tools = ctx.obj
    if url is None:
        found = _inside(tools, config, frozenset(private or ()))
    else:
        if key and wait and not as_json:
            say(f"This takes some {wait} seconds.", "dim", err=True)
        found = _outside(tools, url, key or None, wait)
    found = worst_first(found)
    if as_json:
        say_json({"findings": [asdict(one) for one in found], "exit_code": exit_code(found)})
    else:
        _say(found)
    raise typer.Exit(exit_code(found))


def _inside(tools: Tools, config: Config, private: frozenset[str]) -> list[Finding]:
    try:
        loaded = tools.load(config, {})
    except Mistakes as error:
        return list(gate.mistakes([Mistake(one.where, one.key, one.problem, one.cure) for one in error.mistakes]))
    return asyncio.run(inside(loaded, _means(tools, private)))


def _outside(tools: Tools, url: str, key: str | None, wait: int) -> list[Finding]:
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise typer.BadParameter("there are signs in it that no key has", param_hint="--key")
    try:
        return asyncio.run(outside(url, key, wait, _means(tools)))
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--url") from None


def _means(tools: Tools, private: frozenset[str] = frozenset()) -> Means:
    async def running(settings: Settings) -> Gate:
        return await _running(tools, settings)

    named = (os.environ.get(name) for name in keys.twins())
    return Means(tools.now, time.monotonic, running, tuple(filter(None, named)), private=private)


async def _running(tools: Tools, settings: Settings) -> Gate:
    ledger, failure, is_running = None, None, False
    try:
        told = await tools.ledger_status(settings)
    except GateNotRunning:
        pass
    except NotDone as error:
        failure = error.message
    else:
        is_running = True
        lost = told.lost_lines + told.torn_lines + told.unsure_calls + told.usage_log_lost
        ledger = Ledger(told.is_full, told.is_failing, told.behind_seconds, lost)
    return Gate(
        settings.address,
        settings.listen,
        settings.readable,
        settings.admin_listen,
        settings.admin_public,
        failure,
        is_running,
        ledger,
    )


def _say(found: Sequence[Finding]) -> None:
    for one in found:
        say(f"{one.severity:8}  {one.id:22}  {one.what}", _STYLES[one.severity])
        if one.why:
            say(f"{'':10}why   {one.why}")
        if one.cure:
            say(f"{'':10}cure  {one.cure}")
    counts = Counter(one.severity for one in found)
    say(", ".join(f"{counts[severity]} {severity}" for severity in reversed(Severity) if counts[severity]))
