import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from proxy.ledger import Mark, Part, Running
from proxy.ledger.sql.writing import writing
from proxy.vocabulary import Entry, Outcome

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SQLITE, POSTGRESQL = sqlite.dialect(), asyncpg.dialect()  # type: ignore[no-untyped-call]


def entry(call: str) -> Entry:
    return Entry(call, NOON, "/api/chat", Outcome.SERVED, 200)


def asked(dialect: Dialect, entries: list[Entry], part: Part | None, new: list[str]) -> list[tuple[str, Any]]:
    """What a database is asked that finds these entries new: the first words of each statement, and its values."""
    steps, found = writing(dialect, entries, part), []
    answer: list[tuple[Any, ...]] = []
    text, values = next(steps)
    while True:
        found.append((" ".join(text.split()[:3]), values))
        answer = []
        if "FROM about" in text:
            answer = [("UTC",)]
        elif "max(seq)" in text:
            answer = [(7,)]
        elif "seq >" in text or text.endswith("RETURNING id"):
            answer = [(one,) for one in new]
        try:
            text, values = steps.send(answer)
        except StopIteration:
            return found


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
def test_what_is_there_already_is_added_to_no_sum(dialect: Dialect) -> None:
    said = dict(asked(dialect, [entry("a"), entry("b"), entry("a")], None, ["b"]))
    none = dict(asked(dialect, [entry("a")], None, []))
    rows = said["INSERT INTO quarters"]
    summed = [row[7] for row in rows] if dialect is SQLITE else rows[7]

    assert {"INSERT INTO calls", "INSERT INTO quarters", "INSERT INTO days"} <= set(said)
    assert [1] == summed
    assert "INSERT INTO quarters" not in none


def test_a_call_that_ends_is_not_written_as_one_that_goes_on() -> None:
    part = Part("j1", Mark(1, 9), [Running("a", NOON, "/api/chat"), Running("b", NOON, "/api/chat")])
    said = dict(asked(SQLITE, [entry("a")], part, ["a"]))

    assert ["b"] == [row[0] for row in said["INSERT INTO running"]]
    assert ["a"] == json.loads(said["DELETE FROM running"][0])
    assert [("j1", 1, 9)] == said["INSERT INTO journals"]


def test_where_no_call_goes_on_none_is_written() -> None:
    said = asked(SQLITE, [entry("a")], Part("j1", Mark(1, 9)), ["a"])

    assert "INSERT INTO running" not in dict(said)


def test_a_part_that_ends_nothing_only_moves_the_mark() -> None:
    said = asked(POSTGRESQL, [], Part("j1", Mark(1, 9)), [])

    assert ["SELECT value FROM", "INSERT INTO journals"] == [text for text, _ in said]
