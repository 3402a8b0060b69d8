"""``llamagate keys``: who may come in with a key of ours."""

import shlex
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from proxy.admin.amounts import NO_LIMITS, in_words
from proxy.admin.cli.facts import HEADS_OF_KEYS, of_key, of_rotation, rotation_in_words, row_of_key, say_facts
from proxy.admin.cli.held import Held
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    Expires,
    GpuPerDay,
    Json,
    KeyId,
    Models,
    Note,
    Plan,
    Rpm,
    Team,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    Whose,
    changes,
    lifetime,
    patterns,
)
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.admin.desk.keys import OVERLAP, Issued


def create(
    ctx: typer.Context,
    user: Whose,
    team: Team = None,
    plan: Plan = None,
    models: Models = None,
    expires: Expires = None,
    note: Note = None,
    rpm: Rpm = None,
    burst: Burst = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    tokens_per_day: TokensPerDay = None,
    tokens_per_month: TokensPerMonth = None,
    gpu_seconds_per_day: GpuPerDay = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Issue a key, and show it this once."""
    tools: Tools = ctx.obj
    only = None if models is None else patterns(models)
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        settings = tools.load(config, {}).settings
        issued = at_desk(tools, settings, lambda desk: desk.create_key(user, team, plan, only, expires, note, limits))
    key = issued.key
    title = f"A key for {key.user}, plan {key.plan}, id {key.id}. It is shown this once:"
    _say_issued(tools, issued, f"{settings.address}/v1", title, as_json=as_json)


def listed(
    ctx: typer.Context,
    expiring: Annotated[
        timedelta | None,
        typer.Option(
            "--expiring", metavar="TIME", parser=lifetime, help="Only live ones that end within it, soonest first: 14d."
        ),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List the keys, oldest first."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        keys = at_desk(tools, settings, lambda desk: desk.keys() if expiring is None else desk.expiring_keys(expiring))
    now = tools.now()
    if as_json:
        say_json([of_key(key, now) for key in keys])
    elif keys:
        say_table(HEADS_OF_KEYS, [row_of_key(key, now) for key in keys])
    elif expiring is not None:
        say("No key expires within that time.")
    else:
        say(HELD.none_yet)


def show(ctx: typer.Context, key_id: KeyId, as_json: Json = False, config: Config = None) -> None:
    """Show what is known of a key."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.key(key_id))
    now = tools.now()
    facts = of_key(key, now)
    if as_json:
        say_json({**facts, **of_rotation(key, now)})
    else:
        rest = {name: value for name, value in facts.items() if name != "limits"}
        say_facts({**rest, "rotation": rotation_in_words(key, now), "limits": in_words(key.limits) or None})


def rotate(
    ctx: typer.Context,
    key_id: KeyId,
    overlap: Annotated[
        timedelta | None,
        typer.Option("--overlap", metavar="TIME", parser=lifetime, help="How long the old secret works too, or 24h."),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--now", help="Even while a rotation is under way: end the older secret at once.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Give a key another secret, and show it this once; id, plan, limits and ledger stay as they are."""
    tools: Tools = ctx.obj
    both = OVERLAP if overlap is None else overlap
    with told_plainly():
        settings = tools.load(config, {}).settings
        issued = at_desk(tools, settings, lambda desk: desk.rotate_key(key_id, both, at_once=at_once))
    key, now = issued.key, tools.now()
    ends = f"works until {when(key.former_until)} UTC" if of_rotation(key, now)["former_until"] else "works no more"
    title = f"Key {key.id} of {key.user} has another secret, shown this once; the old one {ends}:"
    _say_issued(tools, issued, f"{settings.address}/v1", title, as_json=as_json)
    if key.state(now) != "live":
        say(f"The key itself is {key.state(now)}: it is refused as before.", "yellow", err=True)


def _say_issued(tools: Tools, issued: Issued, base_url: str, title: str, *, as_json: bool) -> None:
    if as_json:
        now = tools.now()
        facts = {**of_key(issued.key, now), **of_rotation(issued.key, now)}
        say_json({"key": issued.secret, "base_url": base_url, **facts})
        return
    say(title)
    say()
    say(f"export OPENAI_BASE_URL={shlex.quote(base_url)}")
    say(f"export OPENAI_API_KEY={shlex.quote(issued.secret)}")
    say()
    say("Try it:")
    say()
    say('curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"')


HELD = Held(
    "key",
    "There are no keys yet. The first one: llamagate keys create --user alice",
    Desk.keys,
    Desk.key,
    Desk.update_key,
    Desk.suspend_key,
    Desk.resume_key,
    Desk.revoke,
)
"""For the commands that keys have in common with identities and certificates."""
