from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger import Running
from proxy.ledger.steps import Done, Step, Told, call_of, ended_as_told, read, written
from proxy.vocabulary import Entry, Outcome, Usage

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
BARE = Entry("c1", NOON, "/api/chat", Outcome.SERVED, 200)
FULL = Entry(
    "c1", NOON, "/api/chat", Outcome.TRUNCATED, 502, "truncated", "alice", "lab", "k1", "default", "llama3.2:1b", True,
    Usage(7, 3, False, True, 0.5, 0.25, 1.5), 2.25, 0.125, 3.5, 10, 900, "127.0.0.1", ("num_ctx=4096", "shift=dropped"),
    True, 0.25, 1.25, 0.5,
)  # fmt: skip
RUNNING = Running("c2", NOON, "/api/chat", "bob", None, "k2", "default", "m", True, "::1", 9, FULL)


def test_the_full_entry_has_something_in_every_place() -> None:
    differing = [one.name for one in fields(Entry) if getattr(FULL, one.name) == getattr(BARE, one.name)]

    assert ["id", "at", "endpoint"] == differing


@pytest.mark.parametrize(
    "step",
    [BARE, FULL, Told(FULL), RUNNING, Running("c3", NOON, "/"), Done("c1", 900, None, 3.5), Done("c", 1, 0.5, 1)],
)
def test_a_step_is_read_as_it_was_written(step: Step) -> None:
    line = written(step)

    assert (b"\n", 1) == (line[-1:], line.count(b"\n"))
    assert step == read(line[:-1])


@given(st.text(), st.text())
def test_whatever_is_in_a_name_stays_on_one_line(model: str, user: str) -> None:
    model, user = (name.encode("utf-8", "replace").decode() for name in (model, user))
    entry = replace(FULL, model=model, user=user)

    assert 1 == written(entry).count(b"\n")
    assert entry == read(written(entry)[:-1])


@given(st.binary(max_size=200))
def test_what_is_no_step_is_none(line: bytes) -> None:
    read(line)


@given(st.integers(0, len(written(FULL)) - 2))
def test_half_a_step_is_none(at: int) -> None:
    assert read(written(FULL)[:at]) is None


def test_a_time_is_kept_in_any_zone() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert replace(BARE, at=there) == read(written(replace(BARE, at=there))[:-1])


@pytest.mark.parametrize("step", [BARE, Told(FULL), RUNNING, Done("c1", 900, None, 3.5)])
@pytest.mark.parametrize("call", ["c1", "", 'a"b', "a\\", "\n", "é\u2028"])
def test_whose_a_line_is_can_be_told_without_reading_it(step: Step, call: str) -> None:
    step = Told(replace(FULL, id=call)) if isinstance(step, Told) else replace(step, id=call)

    assert call == call_of(written(step)[:-1])


@pytest.mark.parametrize(
    "line", [b"", b"E", b"junk", b'E{"id":', b'E{"id":"c1', b'E{"id":"\xff"', b'X{"id":"\\', b"E{}"]
)
def test_a_line_that_does_not_begin_as_one_is_nobodys(line: bytes) -> None:
    assert call_of(line) is None


@pytest.mark.parametrize("told", [BARE, FULL])
@pytest.mark.parametrize("first_byte", [None, 0.5])
def test_what_was_told_and_that_it_is_done_are_one_entry(told: Entry, first_byte: float | None) -> None:
    done = Done(told.id, 901, first_byte, 7.5)
    ended = replace(told, bytes_out=901, first_byte_seconds=first_byte, total_seconds=7.5)

    assert ended == ended_as_told(written(Told(told))[:-1], written(done)[:-1])


@given(st.integers(0, len(written(Told(FULL))) - 2), st.integers(0, len(written(Done("c1", 1, None, 2.0))) - 2))
def test_half_of_either_is_no_entry(some: int, others: int) -> None:
    told, done = written(Told(FULL))[:-1], written(Done("c1", 1, None, 2.0))[:-1]

    assert ended_as_told(told[:some], done) is None
    assert ended_as_told(told, done[:others]) is None
