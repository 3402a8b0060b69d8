"""What follows from the state of an account: who may pass, what is left, when to come back. No I/O."""

import enum
from collections.abc import Iterator
from typing import NamedTuple

from proxy.limits import Account, Claim, Moment, State, bucket
from proxy.limits.windows import Calendar, calendar


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
        return f"{self.account.level}-{self.kind}"

    @property
    def refuses(self) -> bool:
        return self.wait != 0 and not self.account.shadow


def request_burst(account: Account) -> int | None:
    """Requests that may come at once; None where there is no limit."""
    limits = account.limits
    return limits.requests_per_minute if limits.request_burst is None else limits.request_burst


def token_burst(account: Account) -> int | None:
    """Tokens that may be asked for at once; None where there is no limit."""
    limits = account.limits
    return limits.tokens_per_minute if limits.token_burst is None else limits.token_burst


def standings(account: Account, state: State, moment: Moment, claim: Claim | None = None) -> Iterator[Standing]:
    """How each limit of the account stands, before a claim or without any."""
    limits, tokens = account.limits, claim.most_tokens if claim else 0
    one = 1 if claim else 0
    if limits.requests_per_minute is not None:
        burst, rate = request_burst(account) or 0, limits.requests_per_minute
        yield _bucket(account, Kind.REQUESTS, state.requests, one, burst, rate)
    if limits.tokens_per_minute is not None:
        burst, rate = token_burst(account) or 0, limits.tokens_per_minute
        yield _bucket(account, Kind.TOKENS, state.tokens, tokens, burst, rate)
    if limits.concurrent is not None:
        left = max(0, limits.concurrent - state.concurrent)
        yield Standing(account, Kind.CONCURRENT, limits.concurrent, left, 0, 0, 0 if one <= left else None)
    today = calendar(account.time_zone, moment.wall)
    if limits.tokens_per_day is not None:
        yield _quota(account, Kind.DAY_TOKENS, limits.tokens_per_day, state.day_tokens, tokens, today, moment)
    if limits.tokens_per_month is not None:
        yield _quota(account, Kind.MONTH_TOKENS, limits.tokens_per_month, state.month_tokens, tokens, today, moment)
    if limits.gpu_seconds_per_day is not None:
        most = round(limits.gpu_seconds_per_day * 1000)
        # What it will take nobody knows before: who has any left may begin.
        yield _quota(account, Kind.DAY_GPU, most, state.day_gpu_ms, one, today, moment)


def _bucket(account: Account, kind: Kind, used: int, amount: int, burst: int, per_minute: int) -> Standing:
    wait = bucket.wait(used, amount, burst, per_minute)
    full, window = bucket.until_empty(used, per_minute), bucket.until_empty(burst * bucket.UNITS, per_minute)
    return Standing(account, kind, burst, bucket.left(used, burst), full, window, wait)


def _quota(
    account: Account, kind: Kind, most: int, used: int, amount: int, today: Calendar, moment: Moment
) -> Standing:
    window = today.month if kind is Kind.MONTH_TOKENS else today.day
    full = window.end - moment.wall
    return Standing(
        account, kind, most, max(0, most - used), full, window.end - window.start, 0 if used + amount <= most else full
    )


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
