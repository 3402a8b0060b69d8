"""``llamagate keys``: who may come in."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from proxy.admin.amounts import NO_LIMITS, in_words, told_of
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    GpuPerDay,
    Json,
    Rpm,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    changes,
    lifetime,
)
from proxy.admin.cli.paper import NONE, iso, say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.auth import Key

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id; a whole key will do too.")]


def create(
    ctx: typer.Context,
    user: Annotated[str, typer.Option("--user", metavar="USER", help="Who will use it.")],
    team: Annotated[str | None, typer.Option("--team", metavar="TEAM", help="The team they belong to.")] = None,
    plan: Annotated[str, typer.Option("--plan", metavar="PLAN", help="What it may do.")] = "default",
    models: Annotated[
        str | None, typer.Option("--models", metavar="LIST", help="Only these models, like 'llama3.2:*,gemma3'.")
    ] = None,
    expires: Annotated[
        timedelta | None, typer.Option("--expires", metavar="TIME", parser=lifetime, help="How long, like 90d.")
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="What it is for.")] = None,
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
    patterns = None if models is None else tuple(name.strip() for name in models.split(","))
    told: Mapping[str, Any] = changes(
        rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day
    )
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        settings = tools.load(config, {}).settings
        issued = at_desk(
            tools, settings, lambda desk: desk.create_key(user, team, plan, patterns, expires, note, limits)
        )
    base_url = f"{settings.address}/v1"
    if as_json:
        say_json({"key": issued.secret, "base_url": base_url, **_facts(issued.key, tools.now())})
        return
    say(f"A key for {issued.key.user}, plan {issued.key.plan}, id {issued.key.id}. It is shown this once:")
    say()
    say(f"export OPENAI_BASE_URL={shlex.quote(base_url)}")
    say(f"export OPENAI_API_KEY={shlex.quote(issued.secret)}")
    say()
    say("Try it:")
    say()
    say('curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"')


def listed(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """List the keys, oldest first."""
    tools: Tools = ctx.obj
    with told_plainly():
        keys = at_desk(tools, tools.load(config, {}).settings, Desk.keys)
    now = tools.now()
    if as_json:
        say_json([_facts(key, now) for key in keys])
    elif not keys:
        say("There are no keys yet. The first one: llamagate keys create --user alice")
    else:
        heads = ("id", "user", "team", "plan", "models", "limits", "state", "created (UTC)", "expires (UTC)", "note")
        say_table(heads, [_row(key, now) for key in keys])


def show(ctx: typer.Context, key_id: KeyId, as_json: Json = False, config: Config = None) -> None:
    """Show what is known of a key."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.key(key_id))
    facts = _facts(key, tools.now())
    if as_json:
        say_json(facts)
    else:
        told = {**facts, "limits": in_words(key.limits) or None}
        say_table(("what", "value"), [(name.replace("_", " "), _cell(value)) for name, value in told.items()])


def update(
    ctx: typer.Context,
    key_id: KeyId,
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
    """Change a key's own limits; the word none takes one away, so that the plan's holds again."""
    tools: Tools = ctx.obj
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.update_key(key_id, told))
    if as_json:
        say_json(_facts(key, tools.now()))
    else:
        say(f"Key {key.id} of {key.user}: {in_words(key.limits) or 'no limits of its own'}.")


def revoke(ctx: typer.Context, key_id: KeyId, as_json: Json = False, config: Config = None) -> None:
    """Refuse a key from now on."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.revoke(key_id))
    if as_json:
        say_json(_facts(key, tools.now()))
    else:
        say(f"Key {key.id} of {key.user} is revoked since {when(key.revoked_at)} UTC.")


def _facts(key: Key, now: datetime) -> Mapping[str, Any]:
    return {
        "id": key.id,
        "user": key.user,
        "team": key.team,
        "plan": key.plan,
        "models": None if key.models is None else list(key.models),
        "state": key.state(now),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "note": key.note,
        "limits": told_of(key.limits),
    }


def _row(key: Key, now: datetime) -> tuple[str, ...]:
    expires = "never" if key.expires_at is None else when(key.expires_at)
    models = "as the plan" if key.models is None else ", ".join(key.models)
    return (
        key.id, key.user, key.team or NONE, key.plan, models, in_words(key.limits) or "as the plan", key.state(now),
        when(key.created_at), expires, key.note or NONE,
    )  # fmt: skip


def _cell(value: Any) -> str:
    return NONE if value is None else ", ".join(value) if isinstance(value, list) else str(value)
