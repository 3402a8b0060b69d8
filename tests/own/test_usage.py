import json
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import NotUnderstood
from proxy.ledger import Sum, Wanted
from proxy.own.bounded import Bounded
from proxy.own.usage import GROUPS, OwnUsage, Period, asked, told
from proxy.vocabulary import Caller, Entry, Outcome, Plan, Usage
from tests.fakes.book import FakeBook
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 11, 25, 21, 0, tzinfo=UTC)
ALICE = Caller("alice", "k1", Plan("default"), team="red")


def entry(number: int, **told: Any) -> Entry:
    defaults: dict[str, Any] = {
        "id": f"e{number}",
        "at": NOW - timedelta(hours=number),
        "endpoint": "/api/chat",
        "outcome": Outcome.SERVED,
        "status": 200,
        "user": "alice",
        "key_id": "k1",
        "model": "gemma3:4b",
        "usage": Usage(10, 5),
        "cost": 0.1,
    }
    return Entry(**{**defaults, **told})


BOOK = FakeBook(
    entry(0),
    entry(1, cost=0.2),
    entry(2, outcome=Outcome.REFUSED, model=None, usage=Usage(), cost=None, endpoint="/v1/usage"),
    entry(3, key_id="k2", usage=Usage(1000, 1000)),
    entry(4, user="bob", key_id="k3", usage=Usage(1000, 1000)),
    entry(5, user=None, key_id=None, usage=Usage()),
    entry(600, at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC)),
)


async def ask(query: dict[str, str], caller: Caller = ALICE, time_zone: str = "UTC") -> Any:
    return json.loads(await OwnUsage(BOOK, Bounded(FakeClock()), lambda: NOW, time_zone)(caller, query))


async def test_without_a_word_it_is_all_of_this_months_calls_of_this_key() -> None:
    said = await ask({})

    assert ["object", "key_id", "user", "team", "since", "until", "time_zone", "total", "data"] == list(said)
    assert ("usage", "k1", "alice", "red") == (said["object"], said["key_id"], said["user"], said["team"])
    assert ("2026-11-01T00:00:00Z", None, "UTC", []) == (
        said["since"],
        said["until"],
        said["time_zone"],
        said["data"],
    )
    assert {
        "calls": 3,
        "refused": 1,
        "estimated": 0,
        "suspicious": 0,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "load_seconds": 0.0,
        "gpu_seconds": 0.0,
        "total_seconds": 0.0,
        "cost": 0.3,
        "elsewhere": 0.0,
        "watt_hours": 0.0,
    } == said["total"]


async def test_every_amount_of_a_sum_is_told() -> None:
    told_of = (await ask({}))["total"].keys()

    assert {one.name for one in fields(Sum)} - {"groups"} == told_of - {"total_tokens"}


async def test_it_is_told_by_groups_that_are_named_and_the_rows_amount_to_the_total() -> None:
    said = await ask({"by": "model,outcome"})

    assert [("gemma3:4b", "served", 2), (None, "refused", 1)] == [
        (row["model"], row["outcome"], row["calls"]) for row in said["data"]
    ]
    assert said["total"]["total_tokens"] == sum(row["total_tokens"] for row in said["data"])


async def test_the_month_begins_in_the_zone_of_the_gate_or_of_who_asks() -> None:
    berlin, asked_for = await ask({}, time_zone="Europe/Berlin"), await ask({"tz": "Europe/Berlin"})

    assert berlin == asked_for
    assert ("2026-10-31T23:00:00Z", 4) == (berlin["since"], berlin["total"]["calls"])


@given(
    st.sampled_from(["k1", "k2", "k3", "k4"]),
    st.fixed_dictionaries(
        {},
        optional={
            "since": st.sampled_from(["2026-01-01", "2026-11-25T20:00", "2026-11-01T00:00+01:00"]),
            "by": st.permutations(GROUPS).flatmap(
                lambda all_of: st.integers(1, len(all_of)).map(lambda count: ",".join(all_of[:count]))
            ),
            "tz": st.sampled_from(["UTC", "Asia/Kathmandu"]),
        },
    ),
)
async def test_whatever_is_asked_only_the_keys_own_calls_are_wanted(key: str, query: dict[str, str]) -> None:
    heard: list[Wanted] = []

    class Listening(FakeBook):
        async def sums(self, wanted: Wanted) -> list[Sum]:
            heard.append(wanted)
            return []

    own = OwnUsage(Listening(), Bounded(FakeClock()), lambda: NOW, "UTC")
    try:
        await own(Caller("u", key, Plan("default")), query)
    except NotUnderstood:
        return  # Too many days.
    (wanted,) = heard

    assert (key, None, None, None) == (wanted.key, wanted.user, wanted.team, wanted.model)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 10, 31, 23, tzinfo=UTC)),
        ("2026-11-01T14:00", datetime(2026, 11, 1, 13, tzinfo=UTC)),
        ("2026-11-01T14:00:30.5", datetime(2026, 11, 1, 13, 0, 30, 500_000, tzinfo=UTC)),
        ("2026-11-01T14:00Z", datetime(2026, 11, 1, 14, tzinfo=UTC)),
        ("2026-11-01T14:00-05:30", datetime(2026, 11, 1, 19, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_date_or_a_time_of_the_day_in_the_zone_or_with_its_offset(text: str, moment: datetime) -> None:
    assert moment == asked({"since": text, "tz": "Europe/Berlin"}, NOW, "UTC").since


def test_a_day_begins_when_it_does_even_where_midnight_was_skipped_or_came_twice() -> None:
    skipped = asked({"since": "2018-11-04", "tz": "America/Sao_Paulo"}, NOW, "UTC").since
    twice = asked({"since": "2025-11-02", "tz": "America/Havana"}, NOW, "UTC").since

    assert datetime(2018, 11, 4, 3, tzinfo=UTC) == skipped
    assert datetime(2025, 11, 2, 4, tzinfo=UTC) == twice


@pytest.mark.parametrize(
    "query",
    [
        {"by": "hour"},
        {"by": "hour", "since": "2026-10-01", "until": "2026-11-01"},
        {"by": "day", "since": "2027-10-30", "until": "2028-10-30"},
    ],
)
def test_a_month_in_which_the_clocks_are_put_back_is_no_longer_than_others(query: dict[str, str]) -> None:
    last_hour_of_october = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)

    assert tuple(query["by"].split(",")) == asked(query, last_hour_of_october, "Europe/Berlin").by


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ({"since": "yesterday"}, "since", "'since' should be like 2026-11-01,"),
        ({"since": "2026-11-01 14:00"}, "since", "should be like"),
        ({"until": "2026-02-30"}, "until", "'until' is on no calendar"),
        ({"since": "2026-11-01T25:00"}, "since", "on no calendar"),
        ({"since": "2026-11-01T00:00+99:99"}, "since", "on no calendar"),
        ({"since": "0001-01-01"}, "since", "in a year from 1970"),
        ({"until": "9999-12-31"}, "until", "in a year from 1970"),
        ({"since": "\u0662026-11-01"}, "since", "should be like"),
        ({"since": "2026-03-29T02:30", "tz": "Europe/Berlin"}, "since", "twice or never"),
        ({"since": "2026-10-25T02:30", "tz": "Europe/Berlin"}, "since", "twice or never"),
        ({"since": "2026-11-02", "until": "2026-11-02"}, "until", "ends before it begins"),
        ({"until": "2026-10-01"}, "until", "Without 'since' it begins with this month"),
        ({"by": "user"}, "by", "can be told by model, day, hour, endpoint, outcome"),
        ({"by": "key"}, "by", "can be told by"),
        ({"by": "model,,day"}, "by", "can be told by"),
        ({"by": "day,day"}, "by", "more than once"),
        ({"tz": "Moon/Far"}, "tz", "a time zone that this gate knows"),
        ({"tz": "Europe"}, "tz", "a time zone"),
        ({"tz": "localtime"}, "tz", "a time zone"),
        ({"tz": "right/Europe/Berlin"}, "tz", "a time zone"),
        ({"tz": "../../etc/passwd"}, "tz", "a time zone"),
        ({"tz": "x" * 5000}, "tz", "a time zone"),
        ({"by": "hour", "since": "2026-01-01"}, "since", "at most 31 days"),
        ({"by": "model,day", "since": "2025-01-01", "until": "2026-06-01"}, "since", "at most 366 days"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(query: dict[str, str], param: str, says: str) -> None:
    with pytest.raises(NotUnderstood, match=says) as refused:
        asked(query, NOW, "UTC")

    assert (400, param) == (refused.value.status, refused.value.param)


@given(
    st.dictionaries(
        st.sampled_from(["since", "until", "by", "tz"]),
        st.one_of(
            st.text(min_size=1), st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2})?", fullmatch=True)
        ),
    )
)
def test_whatever_is_asked_is_understood_or_refused(query: dict[str, str]) -> None:
    with suppress(NotUnderstood):
        asked(query, NOW, "UTC")


async def test_the_same_question_costs_one_query_and_another_one_another() -> None:
    class Counting(FakeBook):
        queries = 0

        async def sums(self, wanted: Wanted) -> list[Sum]:
            self.queries += 1
            return await super().sums(wanted)

    book, clock = Counting(), FakeClock()
    own = OwnUsage(book, Bounded(clock), lambda: NOW, "UTC")
    for query in ({}, {}, {"by": "day"}, {"by": "day"}, {}):
        await own(ALICE, query)

    assert 3 == book.queries


def test_what_is_added_up_loses_no_amount() -> None:
    one = Sum(("a",), *range(1, 7), *(0.5 for _ in range(6)))
    said = told(ALICE, Period(NOW, None, ("model",), "UTC"), [one, one])

    assert all(2 * value == said["total"][name] for name, value in asdict(one).items() if name != "groups")
