"""A typical caller, who is counted on four accounts, and never reaches any of their limits."""

from dataclasses import asdict
from typing import Any

from proxy.vocabulary import Allowance, Caller, Level, Limits, Plan

ALLOWED = {
    Level.KEY: Limits(requests_per_minute=10**8, tokens_per_minute=10**8, concurrent=10**6),
    Level.USER: Limits(tokens_per_day=10**12),
    Level.TEAM: Limits(tokens_per_month=10**12, gpu_seconds_per_day=366 * 86_400),
    Level.EVERYBODY: Limits(requests_per_minute=10**8, concurrent=10**6),
}
"""The first alone is what one account is measured with."""
TEAM = "bench"


def told() -> dict[str, Any]:
    """As settings of the gate."""
    at = {level: {name: value for name, value in asdict(limits).items() if value} for level, limits in ALLOWED.items()}
    plan = {**at[Level.KEY], "user": at[Level.USER], "team": at[Level.TEAM]}
    return {"plans": {"default": {"limits": plan}}, "limits": at[Level.EVERYBODY]}


def caller(number: int, accounts: int) -> Caller:
    """One of many: they have a key and a name of their own, and share the team."""
    allowances = tuple(Allowance(level, limits) for level, limits in ALLOWED.items())[:accounts]
    return Caller(f"user-{number}", f"key-{number}", Plan("bench", allowances=allowances), TEAM)
