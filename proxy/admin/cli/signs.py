"""Signs that are no letters, and what stands for them where the output is not in UTF-8."""

import codecs
import sys

BAR = 10
"""The cells of a whole bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def are_shown() -> bool:
    """Whether standard output takes every sign."""
    return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"


def at_least(amount: str, *, fine: bool) -> str:
    return f"≥{amount}" if fine else f">={amount}"


def bar(share: float, *, fine: bool) -> str:
    """A share from 0 to 1 to look at, as long as it is large; what is not nothing is never shown as nothing."""
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    if not fine:
        return "#" * -(-eighths // 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
