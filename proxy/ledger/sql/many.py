"""Statements that write many rows at once, in the database's own words.

SQLAlchemy handles each value of each row by itself, which costs more than both databases take to write them. SQLite is
given the rows one by one by its driver, in one call; PostgreSQL gets a statement with an array for each column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from proxy.late import late

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Table

_DIALECTS = {"sqlite": late("sqlalchemy.dialects.sqlite"), "postgresql": late("sqlalchemy.dialects.postgresql")}
"""Either is large, and only one is in use."""
_VALUES = re.compile(r"VALUES \(([^()]*(?:\(\d+\)[^()]*)*)\)")
_TYPE, _ARRAY = re.compile(r"(\$\d+::[A-Z ]+)(?:\(\d+\))?"), r"\1[]"


class Known(Enum):
    """What becomes of a row whose key is there already."""

    STAYS = auto()
    IS_REPLACED = auto()
    GROWS = auto()
    """By every value that is not of the key."""


@lru_cache(maxsize=32)
def inserting(dialect: Dialect, table: Table, known: Known) -> str:
    """The statement that writes rows of all columns of a table, in their order, but for the number that it gives."""
    columns = [column.name for column in table.c if column is not table.autoincrement_column]
    text = str(_inserting(dialect.name, table, known).compile(dialect=dialect, column_keys=columns))
    return _VALUES.sub(_of_arrays, text, count=1) if dialect.name == "postgresql" else text


def given(dialect: Dialect, rows: Sequence[tuple[Any, ...]]) -> Any:
    """The rows as that statement takes them."""
    return tuple(map(list, zip(*rows, strict=True))) if dialect.name == "postgresql" else rows


def _of_arrays(values: re.Match[str]) -> str:
    return f"SELECT * FROM unnest({_TYPE.sub(_ARRAY, values[1])})"  # noqa: S608  # Of placeholders.


def _inserting(dialect: str, table: Table, known: Known) -> Any:
    added = _DIALECTS[dialect].insert(table).inline()
    keys = list(table.primary_key)
    rest = [column.name for column in table.c if column not in keys]
    if known is Known.STAYS:
        return added.on_conflict_do_nothing()
    grows = known is Known.GROWS
    changed = {name: table.c[name] + added.excluded[name] if grows else added.excluded[name] for name in rest}
    return added.on_conflict_do_update(index_elements=keys, set_=changed)
