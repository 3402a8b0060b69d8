from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.ledger import Running
from proxy.ledger.facts import facts
from proxy.ledger.sql.rows import CALLS, RUNNING, entry_of, row_of, row_of_running, running_of
from proxy.ledger.sql.tables import calls, running
from proxy.vocabulary import Entry, Outcome, Usage

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
BARE = Entry("c1", NOON, "/api/chat", Outcome.SERVED, 200)
FULL = Entry(
    "c1", NOON, "/api/chat", Outcome.TRUNCATED, 502, "truncated", "alice", "lab", "k1", "default", "llama3.2:1b", True,
    Usage(7, 3, False, True, 0.5, 0.25, 1.5), 2.25, 0.125, 3.5, 10, 900, "127.0.0.1", ("num_ctx=4096", "shift=dropped"),
    True, 0.25, 1.25, 0.5,
)  # fmt: skip


def test_rows_have_the_columns_of_their_tables_in_their_order() -> None:
    assert [column.name for column in calls.c] == ["seq", *CALLS]
    assert [column.name for column in running.c] == list(RUNNING)


@pytest.mark.parametrize("entry", [BARE, FULL])
def test_a_row_holds_the_facts_of_an_entry_and_its_time_to_the_microsecond(entry: Entry) -> None:
    row = dict(zip(CALLS, row_of(entry), strict=True))

    assert {**facts(entry), "at": "2026-03-01T12:00:00.123456+00:00"} == row
    assert entry == entry_of(row)


def test_a_time_of_another_zone_is_kept_in_utc() -> None:
    there = replace(BARE, at=NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))

    assert row_of(BARE) == row_of(there)


@pytest.mark.parametrize("told", [None, BARE, replace(FULL, model="a\u2028b\n")])
def test_a_running_call_is_found_as_it_was_written(told: Entry | None) -> None:
    one = Running("c1", NOON, "/api/chat", "bob", None, "k2", "default", "m", True, "::1", 9, told)

    assert one == running_of(dict(zip(RUNNING, row_of_running(one, "j1"), strict=True)))
