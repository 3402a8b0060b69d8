"""``llamagate tokens``: what is made of the tokens of others, and which of them are refused."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxy.admin.cli.facts import say_facts
from proxy.admin.cli.options import Config, Json, Note
from proxy.admin.cli.paper import NONE, iso, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.auth import Denial

LONGEST_TOKEN = 65_536
"""Characters that are read of one. What is too long for the gate is still explained."""

Issuer = Annotated[str, typer.Option("--issuer", metavar="NAME", help="As it is named in the configuration.")]
Jti = Annotated[str | None, typer.Option("--jti", metavar="ID", help="The token with this jti.")]
Sub = Annotated[str | None, typer.Option("--sub", metavar="SUBJECT", help="Every token of this subject.")]


def deny(
    ctx: typer.Context,
    issuer: Issuer,
    jti: Jti = None,
    sub: Sub = None,
    note: Note = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Refuse one token, or every token of a subject, from now on."""
    tools: Tools = ctx.obj
    claim, value = _claim(jti, sub)
    with told_plainly():
        denial = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.deny(issuer, claim, value, note))
    if as_json:
        say_json(_facts(denial))
    else:
        say(f"Tokens of {denial.issuer} with {denial.claim} {denial.value} are refused.")


def allow(
    ctx: typer.Context,
    issuer: Issuer,
    jti: Jti = None,
    sub: Sub = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take a token or a subject off that list again."""
    tools: Tools = ctx.obj
    claim, value = _claim(jti, sub)
    with told_plainly():
        at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.allow(issuer, claim, value))
    if as_json:
        say_json({"issuer": issuer, "claim": claim, "value": value})
    else:
        say(f"Tokens of {issuer} with {claim} {value} are refused no more.")


def denied(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """List what is refused, oldest first."""
    tools: Tools = ctx.obj
    with told_plainly():
        denials = at_desk(tools, tools.load(config, {}).settings, Desk.denials)
    if as_json:
        say_json([_facts(one) for one in denials])
    elif denials:
        heads = ("issuer", "claim", "value", "since (UTC)", "note")
        say_table(heads, [(one.issuer, one.claim, one.value, when(one.at), one.note or NONE) for one in denials])
    else:
        say("Nothing is denied.")


def explain(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Read a token from standard input and tell what the gate makes of it; ends with 1 where it is refused.

    Never pass a token on the command line, where every user of the machine sees it.
    """
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        facts = asyncio.run(tools.explain(settings, _token()))
    if as_json:
        say_json(dict(facts))
    else:
        say_facts(facts)
    if facts.get("refused") is not None:
        raise typer.Exit(1)


def _token() -> str:
    if sys.stdin.isatty():
        text = str(typer.prompt("Token", hide_input=True, err=True))
    else:
        text = sys.stdin.read(LONGEST_TOKEN)
    text = text.strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text


def _claim(jti: str | None, sub: str | None) -> tuple[str, str]:
    match jti, sub:
        case str(value), None:
            return "jti", value
        case None, str(value):
            return "sub", value
    raise typer.BadParameter("Say which: --jti or --sub.")


def _facts(denial: Denial) -> Mapping[str, Any]:
    return {
        "issuer": denial.issuer,
        "claim": denial.claim,
        "value": denial.value,
        "at": iso(denial.at),
        "note": denial.note,
    }
