import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from proxy.ledger import GROUPS, Book, Mark, Part, Running, Spent, Sum, Wanted
from proxy.ledger.sql import SqlBook, metadata
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
    usage=Usage(10**9, 3, exact=False, suspicious=True, load_seconds=0.1, prompt_seconds=0.2, completion_seconds=1 / 3),
    gpu_seconds=0.1 + 0.2 + 1 / 3,
    first_byte_seconds=0.7,
    total_seconds=1.1,
    bytes_in=2**40,
    bytes_out=20,
    peer="127.0.0.1",
    changes=("num_ctx=dropped", "keep_alive=300"),
    prompt_cut=True,
    cost=0.1 + 0.2,
    elsewhere=1 / 3,
    watt_hours=1 / 7,
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


async def test_a_sum_counts_calls_and_what_they_cost(book: Book) -> None:
    usage = Usage(7, 3, exact=False, suspicious=True, load_seconds=0.5)
    one = replace(FULL, usage=usage, gpu_seconds=2.0, total_seconds=0.5, cost=1.0, elsewhere=4.0, watt_hours=8.0)
    two = replace(FULL, id="two", usage=Usage(1, 1), gpu_seconds=0.25, total_seconds=1.25, cost=None, watt_hours=0.5)
    no = replace(BARE, id="no", user="alice", total_seconds=0.25)
    await book.write([one, replace(two, elsewhere=None), no])

    assert [
        Sum(
            ("alice",),
            calls=3,
            refused=1,
            estimated=1,
            suspicious=1,
            prompt_tokens=8,
            completion_tokens=4,
            load_seconds=0.5,
            gpu_seconds=2.25,
            total_seconds=2.0,
            cost=1.0,
            elsewhere=4.0,
            watt_hours=8.5,
        )
    ] == await book.sums(Wanted(("user",)))


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("user", "alice"),
        ("team", "lab"),
        ("key", "k1"),
        ("model", "hf.co/käse/gemma3:latest"),
        ("day", "2026-03-01"),
        ("hour", "2026-03-01 12:00"),
        ("endpoint", "/api/chat"),
        ("outcome", "truncated"),
    ],
)
async def test_sums_are_told_by_every_group(book: Book, by: str, group: str) -> None:
    await book.write([FULL])

    assert [(group,)] == [total.groups for total in await book.sums(Wanted((by,)))]


def test_every_group_is_tried_above() -> None:
    assert ("user", "team", "key", "model", "day", "hour", "endpoint", "outcome") == GROUPS


async def test_sums_are_told_by_all_groups_at_once_in_the_order_asked_for(book: Book) -> None:
    await book.write([FULL])
    groups = ("truncated", "2026-03-01 12:00", "2026-03-01", "alice", "lab")

    assert [groups] == [one.groups for one in await book.sums(Wanted(("outcome", "hour", "day", "user", "team")))]


async def test_without_groups_there_is_one_sum_of_all(book: Book) -> None:
    await book.write([served("a"), served("b", "bob", 4)])

    assert [Sum((), 2, prompt_tokens=5, completion_tokens=5)] == await book.sums(Wanted())


@pytest.mark.parametrize("by", ["user", "team", "key", "model"])
async def test_calls_without_a_group_are_summed_under_the_empty_name(book: Book, by: str) -> None:
    await book.write([BARE, replace(BARE, id="other")])

    assert [(("",), 2)] == [(total.groups, total.calls) for total in await book.sums(Wanted((by,)))]


@pytest.mark.parametrize("by", [(), ("user",), ("hour",), ("day",)])
async def test_an_empty_book_has_no_sums(book: Book, by: tuple[str, ...]) -> None:
    assert [] == await book.sums(Wanted(by))
    assert [] == await book.sums(Wanted(by, NOON, NOON + timedelta(days=3)))


async def test_the_most_tokens_come_first_and_equals_by_name(book: Book) -> None:
    spent = {"alice": 2, "bob": 9, "carol": 5, "dave": 2}
    await book.write([served(user, user, tokens) for user, tokens in reversed(spent.items())])

    assert ["bob", "carol", "alice", "dave"] == [total.groups[0] for total in await book.sums(Wanted(("user",)))]


async def test_days_come_in_order_and_within_each_the_most_tokens(book: Book) -> None:
    tomorrow = NOON + timedelta(days=1)
    await book.write([served("a", "bob", 9, tomorrow), served("b", "bob", 1), served("c", "alice", 5)])
    found = await book.sums(Wanted(("user", "day")))

    assert [("alice", "2026-03-01"), ("bob", "2026-03-01"), ("bob", "2026-03-02")] == [one.groups for one in found]


async def test_days_are_those_of_the_zone_and_come_in_order(book: Book) -> None:
    zone = timezone(timedelta(hours=2))
    times = [
        datetime(2026, 3, 2, 1, 59, 59, 999_999, zone),
        datetime(2026, 3, 2, 2, tzinfo=zone),
        datetime(2026, 3, 1, tzinfo=UTC),
    ]
    await book.write([served(str(number), tokens=number, at=at) for number, at in enumerate(times)])

    async def told(zone: str) -> list[tuple[str, int]]:
        return [(one.groups[0], one.calls) for one in await book.sums(Wanted(("day",), time_zone=zone))]

    assert [("2026-03-01", 2), ("2026-03-02", 1)] == await told("UTC")
    assert [("2026-03-01", 1), ("2026-03-02", 2)] == await told("Europe/Berlin")


async def test_an_hour_that_comes_twice_is_summed_as_one(book: Book) -> None:
    hour = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    await book.write([served("a", at=hour), served("b", at=hour + timedelta(hours=1))])
    found = await book.sums(Wanted(("hour",), time_zone="Europe/Berlin"))

    assert [("2026-10-25 02:00", 2)] == [(one.groups[0], one.calls) for one in found]


async def test_sums_can_begin_at_a_time_in_any_zone_and_include_it(book: Book) -> None:
    await book.write([served("before", at=NOON - timedelta(microseconds=1)), served("then"), served("later")])
    since = NOON.astimezone(timezone(timedelta(hours=-5)))

    assert [2] == [total.calls for total in await book.sums(Wanted(("user",), since))]


async def test_sums_end_before_the_time_they_are_asked_until(book: Book) -> None:
    await book.write([served("before", at=NOON - timedelta(microseconds=1)), served("then")])

    assert [1] == [one.calls for one in await book.sums(Wanted(until=NOON))]
    assert [] == await book.sums(Wanted(since=NOON, until=NOON))


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [
        (Wanted(user="alice"), 1),
        (Wanted(team="lab"), 2),
        (Wanted(key="k1"), 2),
        (Wanted(model="qwen3"), 1),
        (Wanted(user="alice", model="qwen3"), 0),
        (Wanted(user=""), 1),
    ],
)
async def test_sums_can_be_of_some_calls_only(book: Book, wanted: Wanted, calls: int) -> None:
    await book.write([FULL, replace(FULL, id="b", user="bob", model="qwen3"), BARE])
    for since in (None, NOON):
        assert calls == sum(one.calls for one in await book.sums(replace(wanted, since=since)))


async def test_an_entry_that_is_written_again_is_summed_up_once(book: Book) -> None:
    await book.write([FULL])
    await book.write([FULL, BARE, replace(FULL, user="mallory")])

    assert [2] == [one.calls for one in await book.sums(Wanted())]
    assert [2] == [one.calls for one in await book.sums(Wanted(("day",)))]


async def test_sums_outlive_the_entries(book: Book) -> None:
    await book.write([served("old", at=NOON - timedelta(days=2)), served("older", at=NOON - timedelta(days=3)), FULL])
    before = [await book.sums(Wanted((by,))) for by in GROUPS]

    assert 1 == await book.forget(NOON, 1)
    assert ["old", "full"] == [entry.id for entry in await book.last(10)]
    assert 1 == await book.forget(NOON, 9)
    assert 0 == await book.forget(NOON, 9)
    assert [FULL] == await book.last(10)
    assert before == [await book.sums(Wanted((by,))) for by in GROUPS]


async def test_the_whole_quarter_counts_where_its_entries_are_gone(book: Book) -> None:
    await book.write([served("a", at=NOON), served("b", at=NOON + timedelta(minutes=10)), served("c")])
    wanted = Wanted(since=NOON + timedelta(minutes=5), until=NOON + timedelta(minutes=6))

    assert [] == await book.sums(wanted)
    await book.forget(NOON + timedelta(minutes=1), 1)
    assert [3] == [one.calls for one in await book.sums(wanted)]


async def test_no_mark_is_given_twice_though_everything_is_forgotten(book: Book) -> None:
    await book.write([served("a"), served("b")])
    mark = await book.mark()
    await book.forget(NOON + timedelta(days=1), 9)
    await book.write([served("c")])
    entries, _ = await book.since(mark)

    assert ["c"] == [entry.id for entry in entries]


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


# What goes on


def going_on(call: str, at: datetime = NOON, told: Entry | None = None) -> Running:
    return Running(
        call, at, "/api/chat", "alice", "lab", "k1", "default", "gemma3", stream=True, prompt_floor=7, told=told
    )


async def test_a_journal_that_nobody_knows_has_come_nowhere(book: Book) -> None:
    assert (Mark(), []) == await book.begun("j1")


async def test_what_a_part_tells_is_read_as_it_was_written(book: Book) -> None:
    bare = Running("r2", NOON + timedelta(seconds=1), "/api/tags", peer="::1")
    running = [going_on("r1", told=replace(FULL, id="r1")), bare]
    await book.write([], Part("j1", Mark(3, 2**40), running))
    await book.write([], Part("j2", Mark(1, 5), [going_on("r3")]))

    assert (Mark(3, 2**40), running) == await book.begun("j1")
    assert (Mark(1, 5), [going_on("r3")]) == await book.begun("j2")
    assert [] == await book.last(9)


async def test_news_of_a_call_stand_in_the_place_of_what_was_known(book: Book) -> None:
    await book.write([], Part("j1", Mark(1, 1), [going_on("r1"), going_on("r2")]))
    news = replace(going_on("r1"), model="qwen3", prompt_floor=9, told=replace(FULL, id="r1", changes=()))
    await book.write([], Part("j1", Mark(1, 2), [news]))

    assert (Mark(1, 2), [news, going_on("r2")]) == await book.begun("j1")


async def test_a_call_that_ended_goes_on_no_more_even_if_it_was_there(book: Book) -> None:
    await book.write([], Part("j1", Mark(1, 1), [going_on("r1"), going_on("r2"), going_on("r3")]))
    await book.write([replace(FULL, id="r1")])
    await book.write([replace(FULL, id="r1"), replace(FULL, id="r2")], Part("j2", Mark(1, 1)))

    assert (Mark(1, 1), [going_on("r3")]) == await book.begun("j1")
    assert [2] == [one.calls for one in await book.sums(Wanted())]


async def test_a_part_that_comes_twice_changes_nothing(book: Book) -> None:
    part = Part("j1", Mark(2, 9), [going_on("r1")])
    for _ in range(2):
        await book.write([FULL, BARE], part)

    assert [FULL, BARE] == await book.last(9)
    assert [2] == [one.calls for one in await book.sums(Wanted())]
    assert (Mark(2, 9), [going_on("r1")]) == await book.begun("j1")


async def test_what_ran_at_a_moment_began_by_then_and_ended_later(book: Book) -> None:
    tick = 0.000001
    cases = [(0.0, tick, True), (0.0, 0.0, False), (1.0, 1.0, False), (1.0, 1.0 + tick, True), (-tick, 9.0, False)]
    for minutes in (1, 2, 3, 4, 60, 512, 1024, 1439):
        ago = 60.0 * minutes
        cases += [(ago, ago + tick, True), (ago, ago, False), (ago + tick, ago, False), (ago - tick, ago, True)]
    await book.write(
        [
            replace(BARE, id=str(number), at=NOON - timedelta(seconds=ago), total_seconds=took)
            for number, (ago, took, _) in enumerate(cases)
        ]
    )
    ended, there = await book.at(NOON)

    assert {str(number) for number, (*_, ran) in enumerate(cases) if ran} == {entry.id for entry in ended}
    assert [] == there


async def test_what_ran_at_a_moment_is_told_by_when_it_began_and_by_user(book: Book) -> None:
    early = NOON - timedelta(hours=3)
    entries = [replace(FULL, id=str(n), at=NOON - timedelta(minutes=n), total_seconds=1e4) for n in (1, 7, 3)]
    running = [going_on("r1"), replace(going_on("r2"), user="bob"), going_on("r3", early)]
    await book.write([*entries, replace(BARE, total_seconds=1.0)], Part("j1", Mark(1, 1), running))
    ended, there = await book.at(NOON)

    assert ["7", "3", "1", "bare"] == [entry.id for entry in ended]
    assert ["r3", "r1", "r2"] == [one.id for one in there]
    ended, there = await book.at(NOON, user="alice")
    assert ["7", "3", "1"] == [entry.id for entry in ended]
    assert ["r3", "r1"] == [one.id for one in there]
    assert ["r3"] == [one.id for one in (await book.at(NOON - timedelta(seconds=1)))[1]]


async def test_all_entries_are_told_in_order_of_writing_however_many(book: Book) -> None:
    many = [served(str(n), at=NOON + timedelta(seconds=(n * 7919) % 2500)) for n in range(2500)]
    await book.write(many)

    async def told(since: datetime | None = None, until: datetime | None = None) -> list[Entry]:
        pages = [page async for page in book.all(since, until)]
        assert all(0 < len(page) <= 1000 for page in pages)
        return [entry for page in pages for entry in page]

    begin, end = NOON + timedelta(seconds=100), NOON + timedelta(seconds=2000)
    assert many == await told()
    assert [entry for entry in many if begin <= entry.at < end] == await told(begin, end)
    assert [entry for entry in many if begin <= entry.at] == await told(begin)
    assert [] == await told(end, begin)


async def test_an_empty_book_tells_of_no_entries(book: Book) -> None:
    assert [] == [page async for page in book.all(None, None)]


# Sums are what one gets by adding up, whatever is asked.

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # Changes its clocks by half an hour.
    "America/Havana",  # And this one at midnight.
    "America/St_Johns",
    "Pacific/Kiritimati",
)
FIRST_DAYS = tuple(datetime(2026, *day, tzinfo=UTC) for day in ((3, 6), (3, 27), (4, 3), (10, 2), (10, 23), (10, 30)))
"""Shortly before one of them changes its clocks."""

EIGHTHS = st.integers(0, 80).map(lambda number: number / 8)
"""Numbers that give the same in whatever order they are added."""


def moments(first: datetime) -> st.SearchStrategy[datetime]:
    """In four days, and more often than not near a quarter of an hour."""
    near = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1), timedelta(minutes=7)])
    quarters = st.integers(0, 24).map(lambda number: first + number * timedelta(hours=3, minutes=45))
    return st.builds(lambda quarter, apart: quarter + apart, quarters, near)


def entries_at(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        id=st.integers(0, 10**6).map(str),
        at=times,
        endpoint=st.sampled_from(["/api/chat", "/v1/messages"]),
        outcome=st.sampled_from([Outcome.SERVED, Outcome.REFUSED, Outcome.LOST]),
        status=st.none(),
        user=st.sampled_from([None, "alice", "bob"]),
        team=st.sampled_from([None, "lab"]),
        key_id=st.sampled_from([None, "k1", "k2"]),
        model=st.sampled_from([None, "gemma3", "qwen3"]),
        usage=st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.booleans(), st.booleans(), st.none() | EIGHTHS),
        gpu_seconds=EIGHTHS,
        total_seconds=EIGHTHS,
        cost=st.none() | EIGHTHS,
        elsewhere=st.none() | EIGHTHS,
        watt_hours=st.none() | EIGHTHS,
    )


def wanted_of(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[Wanted]:
    zones = st.sampled_from(ZONES)
    return st.builds(
        Wanted,
        by=st.lists(st.sampled_from(GROUPS), unique=True, max_size=3).map(tuple),
        since=st.none() | times,
        until=st.none() | times,
        time_zone=zones,
        user=st.sampled_from([None, None, "alice", ""]),
        team=st.sampled_from([None, None, "lab"]),
        key=st.sampled_from([None, None, "k1"]),
        model=st.sampled_from([None, None, "gemma3"]),
    )


@dataclass(frozen=True, slots=True)
class Life:
    """What becomes of a book, and what it is asked then."""

    groups: Sequence[Sequence[Entry]]
    """One after another; after each the days are of the next zone."""
    zones: Sequence[str]
    forgotten: tuple[datetime, int]
    """After the second group."""
    wanted: Sequence[Wanted]
    since: datetime


def lives() -> st.SearchStrategy[Life]:
    def of(first: datetime) -> st.SearchStrategy[Life]:
        times = moments(first)
        return st.builds(
            Life,
            groups=st.lists(st.lists(entries_at(times), max_size=12), min_size=3, max_size=3),
            zones=st.lists(st.sampled_from(ZONES), min_size=3, max_size=3),
            forgotten=st.tuples(times, st.integers(0, 12)),
            wanted=st.lists(wanted_of(times), min_size=4, max_size=8),
            since=times,
        )

    return st.sampled_from(FIRST_DAYS).flatmap(of)


Emptied = Callable[[], Awaitable[Book]]


@pytest.fixture(params=KINDS)
async def emptied(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[Emptied]:
    """A book of each kind with nothing in it, as often as it is asked for."""
    async with new_engine(request.param) as engine:

        async def empty() -> Book:
            async with engine.begin() as connection:
                for table in metadata.sorted_tables:
                    if table.name != "about":
                        await connection.execute(delete(table))
            return SqlBook(engine)

        yield empty


@given(life=lives())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_sums_are_what_one_gets_by_adding_up(emptied: Emptied, life: Life) -> None:
    book, plain = await emptied(), FakeBook()
    for number, (group, zone) in enumerate(zip(life.groups, life.zones, strict=True)):
        for one in (book, plain):
            await one.write(group)
            await one.days_of(zone)
            if number == 1:
                await one.forget(*life.forgotten)

    for wanted in life.wanted:
        assert await plain.sums(wanted) == await book.sums(wanted)
    for level, subject in ((Level.KEY, "k1"), (Level.USER, "alice"), (Level.TEAM, "lab"), (Level.EVERYBODY, "")):
        for team in (None, "lab"):
            assert await plain.spent(level, subject, life.since, team=team) == (
                await book.spent(level, subject, life.since, team=team)
            )
