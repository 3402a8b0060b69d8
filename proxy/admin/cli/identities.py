"""``llamagate identities``: who may come in with the key pair of their Ollama client."""

from dataclasses import replace
from typing import Annotated

import typer

from proxy.admin.amounts import NO_LIMITS, in_words
from proxy.admin.cli.facts import HEADS_OF_KEYS, of_key, row_of_key, say_facts
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    Expires,
    GpuPerDay,
    IdentityId,
    Json,
    Models,
    NewExpires,
    NewModels,
    NewNote,
    NewPlan,
    NewTeam,
    Note,
    Plan,
    Rpm,
    Team,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    Whose,
    changes,
    new_terms,
    patterns,
)
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk

PublicKey = Annotated[
    str,
    typer.Argument(metavar="PUBLIC_KEY", help="The line in ~/.ollama/id_ed25519.pub, in quotes."),
]


def add(
    ctx: typer.Context,
    public_key: PublicKey,
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
    """Let in an Ollama client by its public key."""
    tools: Tools = ctx.obj
    only = None if models is None else patterns(models)
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        settings = tools.load(config, {}).settings
        key = at_desk(
            tools,
            settings,
            lambda desk: desk.add_identity(public_key, user, team, plan, only, expires, note, limits),
        )
    if as_json:
        say_json({**of_key(key, tools.now()), "address": settings.address})
        return
    say(f"Identity {key.id} of {key.user}, plan {key.plan}. Where the private key is:")
    say()
    say(f"OLLAMA_AUTH=1 OLLAMA_HOST={settings.address} ollama list")


def listed(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """List the identities, oldest first."""
    tools: Tools = ctx.obj
    with told_plainly():
        keys = at_desk(tools, tools.load(config, {}).settings, Desk.identities)
    now = tools.now()
    if as_json:
        say_json([of_key(key, now) for key in keys])
    elif keys:
        say_table(HEADS_OF_KEYS, [row_of_key(key, now) for key in keys])
    else:
        say('There are no identities yet. The first one: llamagate identities add --user alice "ssh-ed25519 AAAA…"')


def show(ctx: typer.Context, identity_id: IdentityId, as_json: Json = False, config: Config = None) -> None:
    """Show what is known of an identity."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.identity(identity_id))
    facts = of_key(key, tools.now())
    if as_json:
        say_json(facts)
    else:
        say_facts({**facts, "limits": in_words(key.limits) or None})


def update(
    ctx: typer.Context,
    identity_id: IdentityId,
    team: NewTeam = None,
    plan: NewPlan = None,
    models: NewModels = None,
    expires: NewExpires = None,
    note: NewNote = None,
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
    """Change what is said of an identity; the word none takes a team, models, a note or a limit of its own away."""
    tools: Tools = ctx.obj
    told = {
        **new_terms(team, plan, models, expires, note),
        **changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day),
    }
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.update_identity(identity_id, told))
    if as_json:
        say_json(of_key(key, tools.now()))
    else:
        say(f"Identity {key.id} of {key.user}, plan {key.plan}: {in_words(key.limits) or 'no limits of its own'}.")


def suspend(ctx: typer.Context, identity_id: IdentityId, as_json: Json = False, config: Config = None) -> None:
    """Refuse an identity until it is resumed."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.suspend_identity(identity_id))
    if as_json:
        say_json(of_key(key, tools.now()))
    else:
        say(f"Identity {key.id} of {key.user} is suspended since {when(key.suspended_at)} UTC.")


def resume(ctx: typer.Context, identity_id: IdentityId, as_json: Json = False, config: Config = None) -> None:
    """Let a suspended identity in again."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.resume_identity(identity_id))
    if as_json:
        say_json(of_key(key, tools.now()))
    else:
        say(f"Identity {key.id} of {key.user} is {key.state(tools.now())}.")


def revoke(ctx: typer.Context, identity_id: IdentityId, as_json: Json = False, config: Config = None) -> None:
    """Refuse an identity from now on, for good: its public key cannot be added again."""
    tools: Tools = ctx.obj
    with told_plainly():
        key = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.revoke_identity(identity_id))
    if as_json:
        say_json(of_key(key, tools.now()))
    else:
        say(f"Identity {key.id} of {key.user} is revoked since {when(key.revoked_at)} UTC.")
