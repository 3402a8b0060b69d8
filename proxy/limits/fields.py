"""How an answer tells what is left. Nothing in this module does I/O.

- ``x-ratelimit-*``: OpenAI's, which many clients know, on every answer; times as Go writes durations.
- ``anthropic-ratelimit-*``: Anthropic's, on its own route; times as RFC 3339 has them.
- ``RateLimit`` and ``RateLimit-Policy``: draft-ietf-httpapi-ratelimit-headers-11, every limit by its name.

What is left is told as it is once the call itself has been set aside, by its upper estimate.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from proxy.limits import Moment
from proxy.limits.verdict import Kind, Standing
from proxy.vocabulary import Tongue

SECOND = 1_000_000
TOKENS = (Kind.TOKENS, Kind.DAY_TOKENS, Kind.MONTH_TOKENS)
UNITS = {
    Kind.TOKENS: "tokens",
    Kind.DAY_TOKENS: "tokens",
    Kind.MONTH_TOKENS: "tokens",
    Kind.DAY_GPU: "gpu-milliseconds",
    Kind.CONCURRENT: "concurrent-requests",
}
"""The draft's ``qu``; its default is requests."""


def fields(standings: Sequence[Standing], moment: Moment, tongue: Tongue) -> dict[str, str]:
    """Header fields for one answer; none where there are no limits."""
    told: dict[str, str] = {}
    enforced = [one for one in standings if not one.account.shadow]
    for what, kinds in (("requests", (Kind.REQUESTS,)), ("tokens", TOKENS)):
        tightest = min(
            (one for one in enforced if one.kind in kinds),
            key=lambda one: (one.left, -one.full),
            default=None,
        )
        if tightest is None:
            continue
        told[f"x-ratelimit-limit-{what}"] = str(tightest.most)
        told[f"x-ratelimit-remaining-{what}"] = str(tightest.left)
        told[f"x-ratelimit-reset-{what}"] = duration(tightest.full)
        if tongue is Tongue.ANTHROPIC:
            told[f"anthropic-ratelimit-{what}-limit"] = str(tightest.most)
            told[f"anthropic-ratelimit-{what}-remaining"] = str(tightest.left)
            told[f"anthropic-ratelimit-{what}-reset"] = _rfc3339(moment.wall + tightest.full)
    if named := _named_once(enforced):
        told["RateLimit-Policy"] = ", ".join(_policy(name, one.kind, one.most, one.window) for name, one in named)
        told["RateLimit"] = ", ".join(_limit(name, one) for name, one in named)
    return told


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


def _named_once(standings: Iterable[Standing]) -> list[tuple[str, Standing]]:
    """A limit by models has the name of the one without; of those that share a name the tightest is told."""
    by_name: dict[str, Standing] = {}
    for one in standings:
        name = one.name
        known = by_name.get(name)
        if known is None or one.left < known.left:
            by_name[name] = one
    return list(by_name.items())


@lru_cache(1000)
def _policy(name: str, kind: Kind, most: int, window: int) -> str:
    unit = f';qu="{UNITS[kind]}"' if kind in UNITS else ""
    seconds = f";w={-(-window // SECOND)}" if window else ""
    return f'"{name}";q={most}{unit}{seconds}'


def _limit(name: str, one: Standing) -> str:
    again = f";t={-(-one.full // SECOND)}" if one.full else ""
    return f'"{name}";r={one.left}{again}'
