"""Comma-separated values (RFC 4180) that a spreadsheet may open: nobody's name is a formula there.

OWASP's rule against CSV injection: text that begins as a formula does gets an apostrophe before it. Whatever is
invisible is spelled out, so that nothing steers a terminal either.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from proxy.admin.cli.paper import plain
from proxy.ledger.facts import Fact

_BEGIN_FORMULAS = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - the wide ones are formulas too, where they are typed.
_AMID = re.compile(r"([;|])(\s*[=+@＝＋＠-])")  # noqa: RUF001
"""A formula after what some programs take for the end of a cell."""


def rows(told: Iterable[Sequence[Fact]]) -> str:
    """The rows as lines, each with its end."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([cell(fact) for fact in row] for row in told)
    return text.getvalue()


def cell(fact: Fact) -> str | int | float:
    """What stands in the cell; nothing where nothing is known."""
    match fact:
        case None:
            return ""
        case bool():
            return "true" if fact else "false"
        case str():
            shown = _AMID.sub(r"\1'\2", fact if fact.isprintable() else plain(fact))
            return f"'{shown}" if fact[:1] in _BEGIN_FORMULAS else shown
        case _:
            return fact
