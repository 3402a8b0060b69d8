"""The real clocks, and what makes names that are never made twice."""

import secrets
import time
from datetime import UTC, datetime

from proxy.limits import Moment


def now() -> datetime:
    return datetime.now(UTC)


def steady_micros() -> int:
    return time.monotonic_ns() // 1000


def moment() -> Moment:
    return Moment(steady_micros(), time.time_ns() // 1000)


def new_call_id() -> str:
    """Later ones sort behind earlier ones, so that a large ledger has the place for a new line beside the last."""
    return f"req_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
