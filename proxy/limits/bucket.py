"""Token buckets in whole numbers. Nothing in this module does I/O; ``redis/bucket.lua`` says the same in Lua.

A bucket is kept as what is *used* of it, which runs off with time, and not as what is left: so another limit
changes what is left at once, and what was used stays used. One unit is a sixty-millionth of a request or token: in
every microsecond as many units run off as a whole minute allows, so that nothing is ever rounded. All numbers stay
below 2**53, where Lua's are exact.
"""

UNITS = 60_000_000
"""Of one request or token; microseconds of a minute."""
MOST = 10**8
"""Requests or tokens: the largest rate and burst that there may be."""
MOST_USED = 9 * 10**15
"""Units. More than any burst, so that what is beyond makes no difference to who may pass."""


def run_off(used: int, since: int, now: int, per_minute: int) -> int:
    """What is still used, in units, of what was at ``since`` (microseconds). A clock set back lets nothing run off."""
    gone = max(0, now - since) * per_minute
    return used - gone if gone < used else 0


def fits(used: int, amount: int, burst: int) -> bool:
    return used + amount * UNITS <= burst * UNITS


def charged(used: int, amount: int) -> int:
    """``amount`` is below zero where something goes back; there is never less used than nothing."""
    used += amount * UNITS
    return 0 if used < 0 else min(MOST_USED, used)


def left(used: int, burst: int) -> int:
    """Whole requests or tokens."""
    room = burst * UNITS - used
    return room // UNITS if room > 0 else 0


def wait(used: int, amount: int, burst: int, per_minute: int) -> int:
    """Microseconds until ``amount`` fits, and not one too many; 0 where it does. It must fit an empty bucket."""
    missing = used + amount * UNITS - burst * UNITS
    return -(-missing // per_minute) if missing > 0 else 0


def until_empty(used: int, per_minute: int) -> int:
    """Microseconds until all of it has run off."""
    return -(-used // per_minute)
