"""``llamagate teams``: who shares, and what they may use together."""

from dataclasses import replace

import typer

from proxy.admin.amounts import NO_LIMITS, in_words
from proxy.admin.cli.facts import HEADS_OF_TEAMS, of_team, row_of_team, say_facts
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    GpuPerDay,
    Json,
    NewNote,
    Note,
    Rpm,
    TeamName,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    changes,
    new_terms,
)
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk


def create(
    ctx: typer.Context,
    team: TeamName,
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
    """Put a team on record; limits are those of all who are in it, together."""
    tools: Tools = ctx.obj
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        made = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.create_team(team, note, limits))
    if as_json:
        say_json(of_team(made))
    else:
        say(f"Team {made.name} is on record.")


def listed(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """List the teams by name."""
    tools: Tools = ctx.obj
    with told_plainly():
        teams = at_desk(tools, tools.load(config, {}).settings, Desk.teams)
    if as_json:
        say_json([of_team(team) for team in teams])
    elif teams:
        say_table(HEADS_OF_TEAMS, [row_of_team(team) for team in teams])
    else:
        say("There are no teams yet. The first one: llamagate teams create lab")


def show(ctx: typer.Context, team: TeamName, as_json: Json = False, config: Config = None) -> None:
    """Show what is known of a team, with its users."""
    tools: Tools = ctx.obj
    with told_plainly():
        party = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.team(team))
    facts = {**of_team(party.team), "users": list(party.users)}
    if as_json:
        say_json(facts)
    else:
        say_facts({**facts, "limits": in_words(party.team.limits) or None})


def update(
    ctx: typer.Context,
    team: TeamName,
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
    """Change what is said of a team; the word none takes a note or a limit of its own away."""
    tools: Tools = ctx.obj
    told = {
        **new_terms(None, None, None, None, note),
        **changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day),
    }
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.update_team(team, told))
    if as_json:
        say_json(of_team(changed))
    else:
        say(f"Team {changed.name}: {in_words(changed.limits) or 'no limits of its own'}.")


def suspend(ctx: typer.Context, team: TeamName, as_json: Json = False, config: Config = None) -> None:
    """Refuse everybody of a team until it is resumed."""
    tools: Tools = ctx.obj
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.suspend_team(team))
    if as_json:
        say_json(of_team(changed))
    else:
        say(f"Team {changed.name} is suspended since {when(changed.suspended_at)} UTC.")


def resume(ctx: typer.Context, team: TeamName, as_json: Json = False, config: Config = None) -> None:
    """Let a suspended team in again."""
    tools: Tools = ctx.obj
    with told_plainly():
        changed = at_desk(tools, tools.load(config, {}).settings, lambda desk: desk.resume_team(team))
    if as_json:
        say_json(of_team(changed))
    else:
        say(f"Team {changed.name} is not suspended.")
