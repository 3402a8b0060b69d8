import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.ledger import GROUPS, Book, Spent, Sum
from proxy.ledger.sql import SqlBook
from proxy.vocabulary import Entry, Level, Outcome, Usage
from tests.fakes.book import FakeBook
from tests.fakes.databases import KINDS, NewEngine

NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
FULL = Entry(
    id="full",
    at=NOON,
    endpoint="/api/chat",
    outcome=Outcome.TRUNCATED,
    status=200,
    reason="truncated",
    user="alice",
    team="lab",
    key_id="k1",
    plan="default",
    model="hf.co/käse/gemma3:latest",
    stream=True,
    usage=Usage(10**9, 3, exact=False, load_seconds=0.1, prompt_seconds=0.2, completion_seconds=1 / 3),
    gpu_seconds=0.1 + 0.2 + 1 / 3,
    first_byte_seconds=0.7,
    total_seconds=1.1,
    bytes_in=2**40,
    bytes_out=20,
    peer="127.0.0.1",
    changes=("num_ctx=dropped", "keep_alive=300"),
    prompt_cut=True,
)
BARE = Entry(id="bare", at=NOON, endpoint="unknown", outcome=Outcome.REFUSED, status=None)


def served(entry_id: str, user: str | None = "alice", tokens: int = 1, at: datetime = NOON) -> Entry:
    return replace(BARE, id=entry_id, user=user, usage=Usage(tokens, tokens), at=at, outcome=Outcome.SERVED, status=200)


@pytest.fixture(params=["fake", *KINDS])
async def book(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[Book]:
    if request.param == "fake":
        yield FakeBook()
        return
    async with new_engine(request.param) as engine:
        yield SqlBook(engine)


async def test_entries_are_read_as_they_were_written(book: Book) -> None:
    await book.write([FULL, BARE])

    assert [FULL, BARE] == await book.last(10)


@pytest.mark.parametrize("outcome", Outcome)
async def test_every_outcome_can_be_kept(book: Book, outcome: Outcome) -> None:
    await book.write([replace(FULL, outcome=outcome)])

    assert [outcome] == [entry.outcome for entry in await book.last(1)]


async def test_an_entry_that_is_there_is_left_as_it_is(book: Book) -> None:
    await book.write([FULL])
    await book.write([replace(FULL, user="mallory"), BARE])
    await book.write([replace(BARE, user="mallory")])

    assert [FULL, BARE] == await book.last(10)


async def test_an_entry_twice_in_one_group_is_kept_once(book: Book) -> None:
    await book.write([BARE, BARE])

    assert [BARE] == await book.last(10)


async def test_writing_nothing_writes_nothing(book: Book) -> None:
    await book.write([])

    assert [] == await book.last(10)


async def test_two_who_write_at_once_lose_nothing(book: Book) -> None:
    groups = [[served(f"{writer}-{n}") for n in range(20)] for writer in range(4)]
    await asyncio.gather(*(book.write(group) for group in groups))

    assert {entry.id for group in groups for entry in group} == {entry.id for entry in await book.last(100)}


@pytest.mark.parametrize(
    ("count", "user", "ids"),
    [(2, None, "c d"), (9, None, "a b c d"), (0, None, ""), (1, "alice", "c"), (9, "alice", "a c"), (9, "eve", "")],
)
async def test_the_last_entries_are_told_oldest_first(book: Book, count: int, user: str | None, ids: str) -> None:
    await book.write([served("a"), served("b", "bob")])
    await book.write([served("c"), served("d", None)])

    assert ids.split() == [entry.id for entry in await book.last(count, user=user)]


async def test_who_goes_on_from_a_mark_hears_everything_once(book: Book) -> None:
    assert 0 == await book.mark()
    await book.write([served("a")])
    mark = await book.mark()
    heard = []
    for group in ([], [served("b"), served("c")], [served("d", at=NOON - timedelta(days=1))]):
        await book.write(group)
        entries, mark = await book.since(mark)
        heard.append([entry.id for entry in entries])

    assert [[], ["b", "c"], ["d"]] == heard
    assert ([], mark) == await book.since(mark)


async def test_who_follows_one_user_hears_of_that_user_once(book: Book) -> None:
    mark = await book.mark()
    heard = []
    for group in ([served("a"), served("b", "bob")], [served("c", "bob")], [served("d")]):
        await book.write(group)
        entries, mark = await book.since(mark, user="alice")
        heard.append([entry.id for entry in entries])

    assert [["a"], [], ["d"]] == heard


async def test_a_mark_of_zero_is_before_everything(book: Book) -> None:
    await book.write([served("a"), served("b")])
    entries, _ = await book.since(0)

    assert ["a", "b"] == [entry.id for entry in entries]


async def test_a_sum_counts_calls_refusals_floors_tokens_and_time(book: Book) -> None:
    one = replace(FULL, usage=Usage(7, 3, exact=False), total_seconds=0.5)
    two = replace(FULL, id="two", usage=Usage(1, 1), total_seconds=1.25)
    no = replace(BARE, id="no", user="alice", total_seconds=0.25)
    await book.write([one, two, no])

    assert [Sum("alice", 3, refused=1, floors=1, prompt_tokens=8, completion_tokens=4, busy_seconds=2.0)] == (
        await book.sums("user")
    )


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("user", "alice"),
        ("team", "lab"),
        ("key", "k1"),
        ("model", "hf.co/käse/gemma3:latest"),
        ("day", "2026-03-01"),
        ("endpoint", "/api/chat"),
    ],
)
async def test_sums_are_told_by_every_group(book: Book, by: str, group: str) -> None:
    await book.write([FULL])

    assert [group] == [total.group for total in await book.sums(by)]


def test_every_group_is_tried_above() -> None:
    assert ("user", "team", "key", "model", "day", "endpoint") == GROUPS


@pytest.mark.parametrize("by", ["user", "team", "key", "model"])
async def test_calls_without_a_group_are_summed_under_the_empty_name(book: Book, by: str) -> None:
    await book.write([BARE, replace(BARE, id="other")])

    assert [("", 2)] == [(total.group, total.calls) for total in await book.sums(by)]


async def test_an_empty_book_has_no_sums(book: Book) -> None:
    assert [] == await book.sums("user")


async def test_the_most_tokens_come_first_and_equals_by_name(book: Book) -> None:
    spent = {"alice": 2, "bob": 9, "carol": 5, "dave": 2}
    await book.write([served(user, user, tokens) for user, tokens in reversed(spent.items())])

    assert ["bob", "carol", "alice", "dave"] == [total.group for total in await book.sums("user")]


async def test_days_are_those_of_utc_and_come_in_order(book: Book) -> None:
    zone = timezone(timedelta(hours=2))
    times = [
        datetime(2026, 3, 2, 1, 59, 59, 999_999, zone),
        datetime(2026, 3, 2, 2, tzinfo=zone),
        datetime(2026, 3, 1, tzinfo=UTC),
    ]
    await book.write([served(str(number), tokens=number, at=at) for number, at in enumerate(times)])

    assert [("2026-03-01", 2), ("2026-03-02", 1)] == [(day.group, day.calls) for day in await book.sums("day")]


async def test_sums_can_begin_at_a_time_in_any_zone_and_include_it(book: Book) -> None:
    await book.write([served("before", at=NOON - timedelta(microseconds=1)), served("then"), served("later")])
    since = NOON.astimezone(timezone(timedelta(hours=-5)))

    assert [2] == [total.calls for total in await book.sums("user", since)]


@pytest.mark.parametrize(
    ("level", "subject", "team", "spent"),
    [
        (Level.KEY, "k1", "lab", {"gemma3": Spent(30, 1.5), None: Spent(4, 0.0)}),
        (Level.USER, "alice", "lab", {"gemma3": Spent(30, 1.5), "qwen3": Spent(100, 8.0)}),
        (Level.USER, "alice", None, {None: Spent(4, 0.0)}),
        (Level.USER, "alice", "club", {}),
        (Level.TEAM, "lab", "lab", {"gemma3": Spent(30, 1.5), "qwen3": Spent(1100, 24.0)}),
        (Level.EVERYBODY, "", None, {"gemma3": Spent(30, 1.5), "qwen3": Spent(1100, 24.0), None: Spent(14, 0.0)}),
        (Level.KEY, "alice", None, {}),
        (Level.USER, "%", None, {}),
        (Level.TEAM, "", None, {}),
    ],
)
async def test_what_was_spent_is_told_by_model_and_of_a_user_by_team(
    book: Book, level: Level, subject: str, team: str | None, spent: dict[str | None, Spent]
) -> None:
    mine = replace(FULL, key_id="k1", user="alice", team="lab", model="gemma3")
    theirs = replace(FULL, key_id="k2", user="bob", model="qwen3")
    await book.write(
        [
            replace(mine, id="a", usage=Usage(7, 3), gpu_seconds=0.5),
            replace(mine, id="b", usage=Usage(15, 5, exact=False), gpu_seconds=1.0),
            replace(mine, id="c", team=None, model=None, usage=Usage(2, 2), gpu_seconds=0.0),
            replace(theirs, id="d", user="alice", usage=Usage(60, 40), gpu_seconds=8.0),
            replace(theirs, id="e", usage=Usage(600, 400), gpu_seconds=16.0),
            replace(BARE, id="f", usage=Usage(10, 0)),
        ]
    )

    assert spent == await book.spent(level, subject, NOON, team=team)


async def test_what_was_spent_is_counted_from_a_time_in_any_zone_and_includes_it(book: Book) -> None:
    await book.write([served("before", at=NOON - timedelta(microseconds=1)), served("then"), served("later")])
    since = NOON.astimezone(timezone(timedelta(hours=-5)))

    assert {None: Spent(4, 0.0)} == await book.spent(Level.USER, "alice", since)
    assert {} == await book.spent(Level.EVERYBODY, "", NOON + timedelta(microseconds=1))
