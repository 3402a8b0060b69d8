"""What is kept of one account in this process, and what time and calls make of it. Nothing in this module does I/O.

``redis/account.lua`` says the same in Lua.
"""

from dataclasses import dataclass, field

from proxy.limits import Account, Claim, Cost, Moment, State, bucket
from proxy.limits.windows import ASTRAY, Calendar, Window, calendar


@dataclass(slots=True)
class Lease:
    """One call under way, and what it has been charged."""

    claim: Claim
    tokens: bool
    """Whether the bucket of tokens was charged."""
    day: int | None
    """The end of the window that was charged; None where there is no such quota."""
    month: int | None
    gpu_day: int | None


@dataclass(slots=True)
class Quota:
    """What is used of a calendar window; which one is told by its end."""

    end: int = 0
    used: int = 0

    def at(self, wall: int, window: Window) -> "Quota":
        """Itself while its window lasts, and then the next, whatever zone the first was of: no window comes twice.

        One that lasts for longer than zones can differ was begun while the clock was astray.
        """
        return self if wall < self.end <= window.end + ASTRAY else Quota(window.end)

    def settle(self, end: int | None, amount: int) -> None:
        """Add to it, unless another window has begun since it was charged."""
        if end == self.end:
            self.used = max(0, self.used + amount)

    def told(self, end: int, used: int) -> "Quota":
        """As others know the window, but never less than is known here: what ended just now may not be told yet."""
        return Quota(end, max(used, self.used) if end == self.end else used)


@dataclass(slots=True)
class Kept:
    """What is used of one account."""

    requests: int = 0
    requests_at: int = 0
    tokens: int = 0
    tokens_at: int = 0
    day: Quota = field(default_factory=Quota)
    month: Quota = field(default_factory=Quota)
    gpu_day: Quota = field(default_factory=Quota)
    leases: dict[str, Lease] = field(default_factory=dict)
    account: Account | None = None
    """Who asked last, with the limits of that time."""
    seen: int = 0
    heard: frozenset[str] = frozenset()
    """The quotas of which the ledger has told what had been spent before."""
    reset_until: int = 0
    """By the wall clock: until then the ledger would tell again what was reset, so this is not forgotten."""

    def pass_time(self, account: Account, moment: Moment) -> None:
        """Let run off what has by now, and begin the windows that have begun."""
        limits, now = account.limits, moment.steady
        if limits.requests_per_minute is not None:
            self.requests = bucket.run_off(self.requests, self.requests_at, now, limits.requests_per_minute)
            self.requests_at = now
        if limits.tokens_per_minute is not None:
            self.tokens = bucket.run_off(self.tokens, self.tokens_at, now, limits.tokens_per_minute)
            self.tokens_at = now
        quotas = account.quotas
        if self.heard != quotas:
            self.heard &= quotas  # While a quota is away nobody counts for it.
        if quotas:
            today = calendar(account.time_zone, moment.wall)
            if limits.tokens_per_day is not None:
                self.day = self.day.at(moment.wall, today.day)
            if limits.tokens_per_month is not None:
                self.month = self.month.at(moment.wall, today.month)
            if limits.gpu_seconds_per_day is not None:
                self.gpu_day = self.gpu_day.at(moment.wall, today.day)
        self.account, self.seen = account, now

    @property
    def state(self) -> State:
        return State(self.requests, self.tokens, len(self.leases), self.day.used, self.month.used, self.gpu_day.used)

    def set_aside(self, day: int, month: int) -> tuple[int, int, int]:
        """Tokens that calls under way hold of the bucket, and of the day and the month that end then."""
        claims = [(lease, lease.claim.most_tokens) for lease in self.leases.values()]
        return (
            sum(most for lease, most in claims if lease.tokens),
            sum(most for lease, most in claims if lease.day == day),
            sum(most for lease, most in claims if lease.month == month),
        )

    def reset(self) -> None:
        """What calls under way have set aside stays used, else they would give back what others took meanwhile."""
        tokens, day, month = self.set_aside(self.day.end, self.month.end)
        self.requests, self.gpu_day.used = 0, 0
        self.tokens = min(self.tokens, tokens * bucket.UNITS)
        self.day.used, self.month.used = min(self.day.used, day), min(self.month.used, month)
        self.reset_until = max(self.day.end, self.month.end, self.gpu_day.end)

    def hear(self, quotas: frozenset[str], today: Calendar, day: Cost, month: Cost) -> None:
        """What the ledger tells of those it has not told of yet; of calls under way it knows nothing."""
        new = quotas - self.heard
        _, of_day, of_month = self.set_aside(today.day.end, today.month.end)
        if "tokens_per_day" in new:
            self.day = self.day.told(today.day.end, day.tokens + of_day)
        if "tokens_per_month" in new:
            self.month = self.month.told(today.month.end, month.tokens + of_month)
        if "gpu_seconds_per_day" in new:
            self.gpu_day = self.gpu_day.told(today.day.end, day.gpu_ms)
        self.heard |= quotas

    def charge(self, account: Account, claim: Claim) -> None:
        limits = account.limits
        lease = Lease(
            claim,
            limits.tokens_per_minute is not None,
            None if limits.tokens_per_day is None else self.day.end,
            None if limits.tokens_per_month is None else self.month.end,
            None if limits.gpu_seconds_per_day is None else self.gpu_day.end,
        )
        if limits.requests_per_minute is not None:
            self.requests = bucket.charged(self.requests, 1)
        if lease.tokens:
            self.tokens = bucket.charged(self.tokens, claim.most_tokens)
        self.day.settle(lease.day, claim.most_tokens)
        self.month.settle(lease.month, claim.most_tokens)
        self.leases[claim.id] = lease

    def settle(self, claim_id: str, cost: Cost) -> None:
        lease = self.leases.pop(claim_id, None)
        if lease is None:
            return
        more = cost.tokens - lease.claim.most_tokens
        if lease.tokens:
            self.tokens = bucket.charged(self.tokens, more)
        self.day.settle(lease.day, more)
        self.month.settle(lease.month, more)
        self.gpu_day.settle(lease.gpu_day, cost.gpu_ms)
