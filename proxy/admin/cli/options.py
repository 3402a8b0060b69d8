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
) -> Mapping[str, float | None]:
    """What was told of a key's own limits, by their names; what was not is not there."""
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
