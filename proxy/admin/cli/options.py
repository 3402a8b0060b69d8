"""Options that several commands share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.config import written

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Read this file, not llamagate.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
User = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this user's.")]


def lifetime(text: str) -> timedelta:
    """A duration as people write it, for the command line."""
    try:
        return timedelta(seconds=written.seconds(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class Told:
    """How much, as it was told; None takes the limit away."""

    amount: float | None


def count(text: str) -> Told:
    """A number of things, or ``none``; what is too many is the desk's to say."""
    if text == "none":
        return Told(None)
    if not re.fullmatch("[0-9]{1,18}", text):
        raise typer.BadParameter("it should be a whole number, or none")
    return Told(int(text))


def time(text: str) -> Told:
    """A duration as people write it, or ``none``."""
    return Told(None if text == "none" else lifetime(text).total_seconds())


@dataclass(frozen=True, slots=True)
class Said:
    """A word or words, as they were told; None takes them away."""

    text: str | None


def said(text: str) -> Said:
    """Anything, or ``none``."""
    return Said(None if text == "none" else text)


@dataclass(frozen=True, slots=True)
class Until:
    """How long from now on, as it was told; None is for ever."""

    lifetime: timedelta | None


def until(text: str) -> Until:
    """A duration as people write it, or ``never``."""
    return Until(None if text == "never" else lifetime(text))


def patterns(text: str) -> tuple[str, ...]:
    """Names of models with commas between; whether they will do, the desk says."""
    return tuple(name.strip() for name in text.split(","))


KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id; a whole key will do too.")]
HeldId = Annotated[str, typer.Argument(metavar="ID", help="Its id; what was added will do too.")]
UserName = Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]
TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="The team's name.")]

Whose = Annotated[str, typer.Option("--user", metavar="USER", help="Who will use it.")]
Team = Annotated[
    str | None, typer.Option("--team", metavar="TEAM", help="The team they belong to; else that of the user's record.")
]
Plan = Annotated[
    str | None,
    typer.Option("--plan", metavar="PLAN", help="What it may do; else what the user's record says."),
]
Models = Annotated[
    str | None, typer.Option("--models", metavar="LIST", help="Only these models, like 'llama3.2:*,gemma3'.")
]
Expires = Annotated[
    timedelta | None, typer.Option("--expires", metavar="TIME", parser=lifetime, help="How long, like 90d.")
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="What it is for.")]

NewTeam = Annotated[
    Said | None, typer.Option("--team", metavar="TEAM", parser=said, help="The team they belong to, or none.")
]
NewPlan = Annotated[str | None, typer.Option("--plan", metavar="PLAN", help="What it may do.")]
NewModels = Annotated[
    Said | None,
    typer.Option("--models", metavar="LIST", parser=said, help="Only these models, or none to allow all."),
]
NewExpires = Annotated[
    Until | None,
    typer.Option("--expires", metavar="TIME", parser=until, help="How long from now on: 90d, or never."),
]
NewNote = Annotated[Said | None, typer.Option("--note", metavar="TEXT", parser=said, help="What it is for, or none.")]


def _amount(flag: str, help: str) -> Any:
    return typer.Option(flag, metavar="N", parser=count, help=help)


Rpm = Annotated[Told | None, _amount("--rpm", "Requests in a minute.")]
Burst = Annotated[Told | None, _amount("--burst", "Requests that may come at once, where it is not as many.")]
Tpm = Annotated[Told | None, _amount("--tpm", "Tokens in a minute.")]
Concurrent = Annotated[Told | None, _amount("--concurrent", "Calls under way at the same time.")]
TokensPerDay = Annotated[Told | None, _amount("--tokens-per-day", "Tokens from midnight to midnight.")]
TokensPerMonth = Annotated[Told | None, _amount("--tokens-per-month", "Tokens in a month of the calendar.")]
GpuPerDay = Annotated[
    Told | None,
    typer.Option("--gpu-seconds-per-day", metavar="TIME", parser=time, help="Of the GPU from midnight to midnight."),
]


def changes(
    rpm: Told | None,
    burst: Told | None,
    tpm: Told | None,
    concurrent: Told | None,
    tokens_per_day: Told | None,
    tokens_per_month: Told | None,
    gpu_seconds_per_day: Told | None,
) -> Mapping[str, Any]:
    """What was told of limits of somebody's own, by their names; what was not is not there."""
    told = {
        "requests_per_minute": rpm,
        "request_burst": burst,
        "tokens_per_minute": tpm,
        "concurrent": concurrent,
        "tokens_per_day": tokens_per_day,
        "tokens_per_month": tokens_per_month,
        "gpu_seconds_per_day": gpu_seconds_per_day,
    }
    return {name: one.amount for name, one in told.items() if one is not None}


def new_terms(
    team: Said | None, plan: str | None, models: Said | None, expires: Until | None, note: Said | None
) -> Mapping[str, Any]:
    """What was told of a key or an identity beside its limits, by the desk's names; what was not is not there."""
    told: dict[str, Any] = {}
    if team is not None:
        told["team"] = team.text
    if plan is not None:
        told["plan"] = plan
    if models is not None:
        told["models"] = None if models.text is None else patterns(models.text)
    if expires is not None:
        told["lifetime"] = expires.lifetime
    if note is not None:
        told["note"] = note.text
    return told
