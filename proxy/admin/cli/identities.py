"""``llamagate identities``: who may come in with the key pair of their Ollama client."""

from dataclasses import replace
from typing import Annotated

import typer

from proxy.admin.amounts import NO_LIMITS
from proxy.admin.cli.facts import of_key
from proxy.admin.cli.held import Held
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    Expires,
    GpuPerDay,
    Json,
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
    patterns,
)
from proxy.admin.cli.paper import say, say_json, told_plainly
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


HELD = Held(
    "identity",
    'There are no identities yet. The first one: llamagate identities add --user alice "ssh-ed25519 AAAA…"',
    Desk.identities,
    Desk.identity,
    Desk.update_identity,
    Desk.suspend_identity,
    Desk.resume_identity,
    Desk.revoke_identity,
)
