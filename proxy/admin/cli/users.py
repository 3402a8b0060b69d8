"""``llamagate users``: whose keys, identities and tokens those are, and what they may use together."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from proxy.admin.amounts import NO_LIMITS, in_words
from proxy.admin.cli.facts import HEADS_OF_USERS, of_key, of_user, row_of_user, say_facts
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    GpuPerDay,
    Json,
    NewNote,
    NewTeam,
    Note,
    Rpm,
    Said,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    UserName,
    changes,
    new_terms,
    said,
)
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.admin.desk.people import Person

TeamOf = Annotated[
    str | None, typer.Option("--team", metavar="TEAM", help="Of new keys, and of tokens that name none.")
]
PlanOf = Annotated[
    str | None, typer.Option("--plan", metavar="PLAN", help="Of new keys, and of tokens that name none.")
]
NewPlanOf = Annotated[
    Said | None,
    typer.Option("--plan", metavar="PLAN", parser=said, help="Of new keys, and of tokens that name none; or none."),
]


def create(
    ctx: typer.Context,
    user: UserName,
    team: TeamOf = None,
    plan: PlanOf = None,
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
    """Put a user on record; limits are those of all that they come with, together."""
    tools: Tools = ctx.obj
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        settings = tools.load(config, {}).settings
        made = at_desk(tools, settings, lambda desk: desk.create_user(user, team, plan, note, limits))
    if as_json:
        say_json(of_user(made))
    else:
        say(f"User {made.name} is on record. A key for them: llamagate keys create --user {shlex.quote(made.name)}")


def listed(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """List the users by name."""
    tools: Tools = ctx.obj
    with told_plainly():
        users = at_desk(tools, tools.load(config, {}).settings, Desk.users)
    if as_json:
        say_json([of_user(user) for user in users])
    elif users:
        say_table(HEADS_OF_USERS, [row_of_user(user) for user in users])
    else:
        say("There are no users yet. The first one comes with a key: llamagate keys create --user alice")


def show(ctx: typer.Context, user: UserName, as_json: Json = False, config: Config = None) -> None:
    """Show what is known of a user, with their keys, identities and certificates."""
    tools: Tools = ctx.obj
    with told_plainly():
        person = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.user(user))
    now = tools.now()
    facts = of_user(person.user)
    if as_json:
        held = {"keys": person.keys, "identities": person.identities, "certificates": person.certificates}
        say_json({**facts, **{name: [of_key(key, now) for key in keys] for name, keys in held.items()}})
    else:
        say_facts({**facts, "limits": in_words(person.user.limits) or None, **_proofs(person, now)})


def update(
    ctx: typer.Context,
    user: UserName,
    team: NewTeam = None,
    plan: NewPlanOf = None,
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
    """Change what is said of a user; the word none takes a team, a plan, a note or a limit of their own away."""
    tools: Tools = ctx.obj
    told: Mapping[str, Any] = {
        **new_terms(team, None, None, None, note),
        **({} if plan is None else {"plan": plan.text}),
        **changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day),
    }
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.update_user(user, told))
    if as_json:
        say_json(of_user(changed))
    else:
        say(f"User {changed.name}: {in_words(changed.limits) or 'no limits of their own'}.")


def suspend(ctx: typer.Context, user: UserName, as_json: Json = False, config: Config = None) -> None:
    """Refuse a user until they are resumed, whatever they come with."""
    tools: Tools = ctx.obj
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.suspend_user(user))
    if as_json:
        say_json(of_user(changed))
    else:
        say(f"User {changed.name} is suspended since {when(changed.suspended_at)} UTC.")


def resume(ctx: typer.Context, user: UserName, as_json: Json = False, config: Config = None) -> None:
    """Let a suspended user in again."""
    tools: Tools = ctx.obj
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.resume_user(user))
    if as_json:
        say_json(of_user(changed))
    else:
        say(f"User {changed.name} is not suspended.")


def _proofs(person: Person, now: datetime) -> Mapping[str, Any]:
    return {
        "keys": [f"{key.id} ({key.state(now)})" for key in person.keys],
        "identities": [f"{key.id} ({key.state(now)})" for key in person.identities],
        "certificates": [f"{key.id} ({key.state(now)})" for key in person.certificates],
    }
