"""Times and sizes as people write them: parsed, and printed so that parsing gives the same again. No I/O."""

import re
from decimal import Decimal

_STEPS = {
    "w": Decimal(604_800),
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_LONGEST = 100 * 365 * 86_400
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ms|w|d|h|m|s))+")
_PART = re.compile(r"([0-9.]+)(ms|w|d|h|m|s)")

_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})")


def seconds(text: str) -> float:
    """``1h30m`` is 5400.0, and a number alone is seconds. ValueError says what would be right."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        total = Decimal(text)
    elif _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        order = [list(_STEPS).index(unit) for _, unit in parts]
        if sorted(set(order)) != order:
            raise ValueError(f"{text[:40]!r} should name each unit once, the longest first, like 1h30m")
        total = sum((Decimal(amount) * _STEPS[unit] for amount, unit in parts), Decimal(0))
    else:
        raise ValueError(f"{text[:40]!r} is not a duration: write it like 500ms, 30s, 10m, 1h30m, 90d or 2w")
    if total > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years")
    if total * 1000 % 1:
        raise ValueError(f"{text[:40]!r} is finer than a millisecond")
    return float(total)


def as_duration(amount: float) -> str:
    """5400.0 is ``1h30m``; weeks are told in days, as in ``90d``."""
    left = round(amount * 1000)
    told = ""
    for unit in ("d", "h", "m", "s", "ms"):
        whole, left = divmod(left, int(_STEPS[unit] * 1000))
        told += f"{whole}{unit}" if whole else ""
    return told or "0s"


def size(text: str) -> int:
    """``32MiB`` is 33554432, and a number alone is bytes. ValueError says what would be right."""
    text = text.strip()
    match = _SIZE.fullmatch(text)
    step = _SIZES.get(match[2].lower() or "b") if match else None
    if match is None or step is None:
        # A bare "M" means 10^6 to some tools and 2^20 to others, so nobody has to guess here.
        raise ValueError(f"{text[:40]!r} is not a size: write it like 4096, 64KiB, 32MiB or 10MB")
    total = Decimal(match[1]) * step
    if total % 1:
        raise ValueError(f"{text[:40]!r} is not a whole number of bytes")
    return int(total)


def as_size(amount: int) -> str:
    """33554432 is ``32MiB``; what no binary unit divides stays a number."""
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount and amount % step == 0:
            return f"{amount // step}{unit}"
    return str(amount)
