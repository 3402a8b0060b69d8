"""Limits that a key, a user or a team has of its own: what they may be, and how they are told.

Nothing in this module does I/O.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proxy.admin.refusals import NotDone
from proxy.config import written
from proxy.limits import bucket
from proxy.vocabulary import Limits

NO_LIMITS = Limits()
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Amount:
    """One of the things that somebody can have a limit of their own on."""

    name: str
    """In a sentence."""
    most: int
    short: str
    """How it is told, with the amount in place of ``{}``."""
    comes_back_by: str = ""
    """The amount without which it makes no sense."""


AMOUNTS: Mapping[str, Amount] = {
    "requests_per_minute": Amount("requests per minute", bucket.MOST, "{} rpm"),
    "request_burst": Amount("burst of requests", bucket.MOST, "bursts of {}", "requests_per_minute"),
    "tokens_per_minute": Amount("tokens per minute", bucket.MOST, "{} tpm"),
    "token_burst": Amount("burst of tokens", bucket.MOST, "bursts of {} tokens", "tokens_per_minute"),
    "concurrent": Amount("calls at once", 10**6, "{} at once"),
    "tokens_per_day": Amount("tokens per day", 10**12, "{} tokens a day"),
    "tokens_per_month": Amount("tokens per month", 10**12, "{} tokens a month"),
    "gpu_seconds_per_day": Amount("GPU seconds per day", 366 * DAY_SECONDS, "{} of GPU a day"),
}

SHORT: Mapping[str, str] = {
    "rpm": "requests_per_minute",
    "burst": "request_burst",
    "tpm": "tokens_per_minute",
    "concurrent": "concurrent",
    "tokens_per_day": "tokens_per_day",
    "tokens_per_month": "tokens_per_month",
    "gpu_seconds_per_day": "gpu_seconds_per_day",
}
"""The limits as they are written at a terminal and in a table, by those words."""

_COUNT = re.compile("[0-9]{1,18}")


def read(field: str, text: str) -> float:
    """How much of it somebody wrote; whether that will do, ``checked`` says. Raises ValueError with what would be."""
    if field == "gpu_seconds_per_day":
        return written.seconds(text)
    if not _COUNT.fullmatch(text):
        raise ValueError("it should be a whole number")
    return int(text)


def checked(limits: Limits) -> Limits:
    """The same limits. Raises NotDone where one is too small or too large, or a burst has no rate."""
    told = told_of(limits)
    for field, value in told.items():
        amount = AMOUNTS[field]
        if not 0 < value <= amount.most:
            least = "more than 0s" if field == "gpu_seconds_per_day" else "at least 1"
            raise NotDone(f"The {amount.name} have to be {least} and at most {_written(field, amount.most)}.")
        if amount.comes_back_by and amount.comes_back_by not in told:
            raise NotDone(f"A {amount.name} needs {AMOUNTS[amount.comes_back_by].name}, at which it comes back.")
    return limits


def told_of(limits: Limits) -> Mapping[str, Any]:
    """Only the limits that there are."""
    return {name: value for name, value in asdict(limits).items() if value is not None}


def in_words(limits: Limits) -> str:
    """``30 rpm, 20000 tpm, 2 at once``; empty where there are none."""
    told = told_of(limits).items()
    return ", ".join(AMOUNTS[name].short.format(_written(name, value)) for name, value in told)


def used_up(limits: Limits) -> tuple[str, ...]:
    """The names of those that calls use up: not of calls under way, nor of a burst, which is its rate's."""
    told = (AMOUNTS[name] for name in told_of(limits) if name != "concurrent")
    return tuple(amount.name for amount in told if not amount.comes_back_by)


def _written(field: str, value: Any) -> str:
    return written.as_duration(value) if field == "gpu_seconds_per_day" else str(value)
