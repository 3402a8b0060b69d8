"""How an answer tells what is left. Nothing in this module does I/O.

- ``x-ratelimit-*``: OpenAI's, which many clients know, on every answer; times as Go writes durations.
- ``anthropic-ratelimit-*``: Anthropic's, on its own route; times as RFC 3339 has them.
- ``RateLimit`` and ``RateLimit-Policy``: draft-ietf-httpapi-ratelimit-headers-11, every limit by its name.

What is left is told as it is once the call itself has been set aside, by its upper estimate.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from proxy.limits import Moment
from proxy.limits.verdict import Kind, Standing
from proxy.vocabulary import Tongue

SECOND = 1_000_000
TOKENS = (Kind.TOKENS, Kind.DAY_TOKENS, Kind.MONTH_TOKENS)
UNITS = {
    Kind.TOKENS: ';qu="tokens"',
    Kind.DAY_TOKENS: ';qu="tokens"',
    Kind.MONTH_TOKENS: ';qu="tokens"',
    Kind.DAY_GPU: ';qu="gpu-milliseconds"',
    Kind.CONCURRENT: ';qu="concurrent-requests"',
}
"""The draft's parameter; its default is requests."""


def fields(standings: Sequence[Standing], moment: Moment, tongue: Tongue) -> dict[str, str]:
    """Header fields for one answer; none where there are no limits."""
    told: dict[str, str] = {}
    requests = tokens = None
    named: dict[str, Standing] = {}
    for one in standings:
        if one.account.shadow:
            continue
        kind, name = one.kind, one.name
        if kind is Kind.REQUESTS:
            requests = one if requests is None or _is_tighter(one, requests) else requests
        elif kind in TOKENS:
            tokens = one if tokens is None or _is_tighter(one, tokens) else tokens
        # A limit by models has the name of the one without; of those that share a name the tightest is told.
        if (known := named.get(name)) is None or one.left < known.left:
            named[name] = one
    for what, tightest in (("requests", requests), ("tokens", tokens)):
        if tightest is None:
            continue
        told[f"x-ratelimit-limit-{what}"] = str(tightest.most)
        told[f"x-ratelimit-remaining-{what}"] = str(tightest.left)
        told[f"x-ratelimit-reset-{what}"] = duration(tightest.full)
        if tongue is Tongue.ANTHROPIC:
            told[f"anthropic-ratelimit-{what}-limit"] = str(tightest.most)
            told[f"anthropic-ratelimit-{what}-remaining"] = str(tightest.left)
            told[f"anthropic-ratelimit-{what}-reset"] = _rfc3339(moment.wall + tightest.full)
    if named:
        told["RateLimit-Policy"] = ", ".join([_policy(name, one) for name, one in named.items()])
        told["RateLimit"] = ", ".join([_limit(name, one) for name, one in named.items()])
    return told


def _is_tighter(one: Standing, other: Standing) -> bool:
    return one.left < other.left or (one.left == other.left and one.full > other.full)


def duration(micros: int) -> str:
    """Rounded up to milliseconds, as Go writes it: ``0s``, ``120ms``, ``1.5s``, ``6m0s``, ``25h0m0s``."""
    milliseconds = -(-micros // 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    whole, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    told = f"{seconds}.{rest:03d}".rstrip("0").rstrip(".") if rest else f"{seconds}"
    if hours:
        return f"{hours}h{minutes}m{told}s"
    return f"{minutes}m{told}s" if minutes else f"{told}s"


def _rfc3339(wall: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=-(-wall // SECOND))
    return at.isoformat().replace("+00:00", "Z")


def _policy(name: str, one: Standing) -> str:
    seconds = f";w={-(-one.window // SECOND)}" if one.window else ""
    return f'"{name}";q={one.most}{UNITS.get(one.kind, "")}{seconds}'


def _limit(name: str, one: Standing) -> str:
    again = f";t={-(-one.full // SECOND)}" if one.full else ""
    return f'"{name}";r={one.left}{again}'
