"""What follows from the state of an account: who may pass, what is left, when to come back. No I/O."""

import enum
from functools import cache
from typing import NamedTuple

from proxy.limits import Account, Claim, Moment, State, bucket
from proxy.limits.windows import Window, calendar
from proxy.vocabulary import Level


class Kind(enum.StrEnum):
    """What one limit counts, and over which time."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    DAY_TOKENS = "tokens-day"
    MONTH_TOKENS = "tokens-month"
    DAY_GPU = "gpu-day"


class Standing(NamedTuple):
    """How one limit of one account stands. Requests, tokens, calls, or milliseconds of the GPU."""

    account: Account
    kind: Kind
    most: int
    """What can be had at once."""
    left: int
    full: int
    """Microseconds until all of it can be had again; 0 for calls under way, of which nobody knows when they end."""
    window: int
    """Microseconds in which ``most`` comes back; 0 for calls under way."""
    wait: int | None = None
    """Microseconds until the claim fits; 0 where it does; None where nobody knows."""

    @property
    def name(self) -> str:
        """``key-requests``, ``user-tokens-day``: in headers, logs and the ledger."""
        return _name(self.account.level, self.kind)

    @property
    def refuses(self) -> bool:
        return self.wait != 0 and not self.account.shadow


@cache
def _name(level: Level, kind: Kind) -> str:
    return f"{level}-{kind}"


def request_burst(account: Account) -> int | None:
    """Requests that may come at once; None where there is no limit."""
    limits = account.limits
    return limits.requests_per_minute if limits.request_burst is None else limits.request_burst


def token_burst(account: Account) -> int | None:
    """Tokens that may be asked for at once; None where there is no limit."""
    limits = account.limits
    return limits.tokens_per_minute if limits.token_burst is None else limits.token_burst


def gpu_ms(account: Account) -> int | None:
    """Milliseconds of the GPU in a day; None where there is no limit."""
    seconds = account.limits.gpu_seconds_per_day
    return None if seconds is None else round(seconds * 1000)


def fits(account: Account, state: State, claim: Claim) -> bool:
    """Whether every limit of the account has room for the claim: what ``standings`` say at length."""
    limits, tokens = account.limits, claim.most_tokens
    if limits.requests_per_minute is not None and not bucket.fits(state.requests, 1, request_burst(account) or 0):
        return False
    if limits.tokens_per_minute is not None and not bucket.fits(state.tokens, tokens, token_burst(account) or 0):
        return False
    if limits.concurrent is not None and state.concurrent >= limits.concurrent:
        return False
    if limits.tokens_per_day is not None and state.day_tokens + tokens > limits.tokens_per_day:
        return False
    if limits.tokens_per_month is not None and state.month_tokens + tokens > limits.tokens_per_month:
        return False
    most = gpu_ms(account)
    return most is None or state.day_gpu_ms < most


def standings(account: Account, state: State, moment: Moment, claim: Claim | None = None) -> list[Standing]:
    """How each limit of the account stands, before a claim or without any."""
    limits, tokens = account.limits, claim.most_tokens if claim else 0
    one = 1 if claim else 0
    found: list[Standing] = []
    if (rate := limits.requests_per_minute) is not None:
        found.append(_bucket(account, Kind.REQUESTS, state.requests, one, request_burst(account) or 0, rate))
    if (rate := limits.tokens_per_minute) is not None:
        found.append(_bucket(account, Kind.TOKENS, state.tokens, tokens, token_burst(account) or 0, rate))
    if (most := limits.concurrent) is not None:
        left = max(0, most - state.concurrent)
        found.append(Standing(account, Kind.CONCURRENT, most, left, 0, 0, 0 if one <= left else None))
    if not account.quotas:
        return found
    today, wall = calendar(account.time_zone, moment.wall), moment.wall
    if (most := limits.tokens_per_day) is not None:
        found.append(_quota(account, Kind.DAY_TOKENS, most, state.day_tokens, tokens, today.day, wall))
    if (most := limits.tokens_per_month) is not None:
        found.append(_quota(account, Kind.MONTH_TOKENS, most, state.month_tokens, tokens, today.month, wall))
    if (most := gpu_ms(account)) is not None:
        # What it will take nobody knows before: who has any left may begin.
        found.append(_quota(account, Kind.DAY_GPU, most, state.day_gpu_ms, one, today.day, wall))
    return found


def _bucket(account: Account, kind: Kind, used: int, amount: int, burst: int, per_minute: int) -> Standing:
    wait = bucket.wait(used, amount, burst, per_minute)
    full, window = bucket.until_empty(used, per_minute), bucket.until_empty(burst * bucket.UNITS, per_minute)
    return Standing(account, kind, burst, bucket.left(used, burst), full, window, wait)


def _quota(account: Account, kind: Kind, most: int, used: int, amount: int, window: Window, wall: int) -> Standing:
    full = window.end - wall
    wait = 0 if used + amount <= most else full
    return Standing(account, kind, most, max(0, most - used), full, window.end - window.start, wait)


def after(state: State, claim: Claim) -> State:
    """The state once the claim is set aside."""
    return State(
        bucket.charged(state.requests, 1),
        bucket.charged(state.tokens, claim.most_tokens),
        state.concurrent + 1,
        state.day_tokens + claim.most_tokens,
        state.month_tokens + claim.most_tokens,
        state.day_gpu_ms,
    )
