"""A table of users as CSV (RFC 4180), read into what a desk can put on record. Nothing in this module does I/O."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from proxy.admin.amounts import NO_LIMITS, SHORT, read
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms
from proxy.config import written

MOST_ROWS = 10_000
MOST_BYTES = 10_000_000
COLUMNS = ("user", "team", "plan", "models", "expires", "note", *SHORT)
"""What the head may name, in any order; only ``user`` has to be there. An empty cell says nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One user, and on which line of the file they begin."""

    line: int
    terms: Terms


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one line, from 1 on."""

    line: int
    problem: str


class Mistaken(NotDone):
    """The table will not do. ``mistakes`` are all of it, in the order of the lines."""

    code = "mistaken_table"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda one: one.line))
        count = len(mistakes)
        first = self.mistakes[0]
        more = f", and {count - 1} more" if count > 1 else ""
        super().__init__(f"Nothing was done. Line {first.line}: {first.problem.rstrip('.')}{more}.")


def rows(raw: bytes) -> list[Row]:
    """Every row, in order. Raises Mistaken with all that cannot be read; whether it will do, the desk says."""
    if len(raw) > MOST_BYTES:
        raise NotDone(f"The table is larger than {MOST_BYTES // 10**6} MB. Nothing was done.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistaken([Mistake(raw.count(b"\n", 0, error.start) + 1, "This is not UTF-8.")]) from None
    lines = _lines(text)
    head_line, head = next(lines, (1, []))
    names = _names(head_line, head)
    found: list[Row] = []
    wrong: list[Mistake] = []
    for line, cells in lines:
        if len(found) + len(wrong) >= MOST_ROWS:
            raise NotDone(f"The table has more than {MOST_ROWS} rows. Nothing was done.")
        if len(cells) != len(names):
            wrong.append(Mistake(line, f"There are {len(cells)} cells, and {len(names)} in the head."))
            continue
        try:
            found.append(Row(line, _terms(dict(zip(names, cells, strict=True)))))
        except ValueError as error:
            wrong.append(Mistake(line, str(error)))
    if wrong:
        raise Mistaken(wrong)
    if not found:
        raise Mistaken([Mistake(head_line, "There is nobody below the head.")])
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Cells with the line on which they begin; a quoted cell may go on over several. Empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Mistaken([Mistake(line, f"This is not CSV: {error}.")]) from None
        if cells:
            yield line, [cell.strip() for cell in cells]


def _names(line: int, head: Sequence[str]) -> Sequence[str]:
    strange = [name for name in head if name not in COLUMNS]
    if strange:
        raise Mistaken([Mistake(line, f"The head names a column that there is not. There are: {', '.join(COLUMNS)}.")])
    if "user" not in head:
        raise Mistaken([Mistake(line, "The head has to name the column user.")])
    if len(set(head)) < len(head):
        raise Mistaken([Mistake(line, "The head names a column twice.")])
    return head


def _terms(cells: Mapping[str, str]) -> Terms:
    """Raises ValueError."""
    told: dict[str, Any] = {name: cells.get(name) or None for name in ("team", "plan", "note")}
    models = cells.get("models")
    expires = cells.get("expires")
    limits: dict[str, Any] = {}
    for word, field in SHORT.items():
        if text := cells.get(word):
            try:
                limits[field] = read(field, text)
            except ValueError as error:
                raise ValueError(f"{word}: {error}.") from None
    try:
        lifetime = timedelta(seconds=written.seconds(expires)) if expires else None
    except ValueError as error:
        raise ValueError(f"expires: {error}.") from None
    return Terms(
        user=cells["user"],
        models=tuple(one.strip() for one in models.split(",")) if models else None,
        lifetime=lifetime,
        limits=replace(NO_LIMITS, **limits),
        **told,
    )
