import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from proxy.errors import StorageFailed
from proxy.limits import Account, Claim, Cost, Decision, State
from proxy.limits.bucket import UNITS
from proxy.limits.memory import IDLE, MemoryStore
from proxy.limits.windows import EPOCH, Window
from proxy.vocabulary import Level, Limits
from tests.fakes.moments import NOON, FakeMoments, micros

SECOND = 1_000_000
DAY = 86_400
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
"""The one after noon."""
numbers = count()

T = TypeVar("T")


def account(
    subject: str = "k1", *, level: Level = Level.KEY, shadow: bool = False, zone: str = "UTC", **limits: Any
) -> Account:
    return Account(level, subject, Limits(**limits), "user alice", shadow=shadow, time_zone=zone)


def claim(*accounts: Account, tokens: int = 0) -> Claim:
    return Claim(f"c{next(numbers)}", accounts, tokens)


def at_once(waiting: Coroutine[Any, Any, T]) -> T:
    """What comes of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as done:
        waiting.send(None)
    answer: T = done.value.value
    return answer


def admitted(store: MemoryStore, *accounts: Account, tokens: int = 0) -> Claim | None:
    """The claim, if there was room for it."""
    asked = claim(*accounts, tokens=tokens)
    return asked if at_once(store.reserve(asked)).admitted else None


def taken(store: MemoryStore, *accounts: Account, tokens: int = 0) -> Claim:
    asked = admitted(store, *accounts, tokens=tokens)
    assert asked is not None
    return asked


def state(store: MemoryStore, of: Account) -> State:
    _, (found,) = at_once(store.look([of]))
    return found


BUSY = account(
    requests_per_minute=60, tokens_per_minute=600, concurrent=9, tokens_per_day=10_000, tokens_per_month=10_000,
    gpu_seconds_per_day=60,
)  # fmt: skip
"""With a limit of each kind."""


def test_a_claim_is_set_aside_and_afterwards_the_truth_is_charged() -> None:
    store = MemoryStore(FakeMoments())
    call = taken(store, BUSY, tokens=100)

    assert State(UNITS, 100 * UNITS, 1, 100, 100, 0) == state(store, BUSY)
    store.settle(call, Cost(30, 1500))

    assert State(UNITS, 30 * UNITS, 0, 30, 30, 1500) == state(store, BUSY)


def test_a_call_that_cost_more_than_was_thought_is_charged_all_of_it() -> None:
    store = MemoryStore(FakeMoments())
    store.settle(taken(store, BUSY, tokens=100), Cost(900, 99_000))

    assert State(UNITS, 900 * UNITS, 0, 900, 900, 99_000) == state(store, BUSY)
    assert admitted(store, BUSY) is None


def test_a_decision_tells_how_things_stood_before_it() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    taken(store, BUSY, tokens=100)
    asked = claim(BUSY, tokens=50)
    decision = at_once(store.reserve(asked))

    assert (True, clock(), (BUSY,)) == (decision.admitted, decision.moment, decision.claim.accounts)
    assert (State(UNITS, 100 * UNITS, 1, 100, 100, 0),) == decision.states


def test_a_call_is_settled_once_only() -> None:
    store = MemoryStore(FakeMoments())
    call, other = taken(store, BUSY, tokens=100), taken(store, BUSY, tokens=100)
    for _ in range(3):
        store.settle(call, Cost(30, 1500))

    assert State(2 * UNITS, 130 * UNITS, 1, 130, 130, 1500) == state(store, BUSY)
    store.settle(other, Cost())

    assert State(2 * UNITS, 30 * UNITS, 0, 30, 30, 1500) == state(store, BUSY)


def test_what_was_never_reserved_is_not_settled() -> None:
    store = MemoryStore(FakeMoments())
    taken(store, BUSY, tokens=100)
    store.settle(claim(BUSY, tokens=100), Cost(7, 7))

    assert State(UNITS, 100 * UNITS, 1, 100, 100, 0) == state(store, BUSY)


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_minute": 1},
        {"tokens_per_minute": 100},
        {"concurrent": 1},
        {"tokens_per_day": 100},
        {"tokens_per_month": 100},
    ],
)
def test_where_one_refuses_nothing_is_charged_anywhere(limits: dict[str, Any]) -> None:
    store = MemoryStore(FakeMoments())
    free, full = account("alice", level=Level.USER, tokens_per_day=1000, concurrent=9), account(**limits)
    taken(store, full, tokens=100)
    before = state(store, full)
    for order in ((free, full), (full, free)):
        assert admitted(store, *order, tokens=1) is None

    assert (State(), before) == (state(store, free), state(store, full))
    assert 1 == store.under_way


def test_a_claim_that_was_refused_has_nothing_to_settle() -> None:
    store = MemoryStore(FakeMoments())
    full = account(tokens_per_day=100)
    taken(store, full, tokens=90)
    refused = claim(full, tokens=20)
    at_once(store.reserve(refused))
    store.settle(refused, Cost())

    assert 90 == state(store, full).day_tokens


def test_who_is_in_shadow_and_would_refuse_takes_no_part() -> None:
    store = MemoryStore(FakeMoments())
    dark, plain = account("alice", level=Level.USER, shadow=True, concurrent=1), account(concurrent=9)
    first, second = taken(store, dark, plain), taken(store, dark, plain)

    assert (1, 2) == (state(store, dark).concurrent, state(store, plain).concurrent)
    store.settle(second, Cost())

    assert (1, 1) == (state(store, dark).concurrent, state(store, plain).concurrent)
    store.settle(first, Cost())

    assert (0, 0) == (state(store, dark).concurrent, state(store, plain).concurrent)


def test_who_is_in_shadow_and_would_not_refuse_counts_only_what_passes() -> None:
    store = MemoryStore(FakeMoments())
    dark, full = account("alice", level=Level.USER, shadow=True, concurrent=9), account(concurrent=1)
    taken(store, full)

    assert admitted(store, dark, full) is None
    assert State() == state(store, dark)


def test_a_place_is_given_back_exactly_once() -> None:
    store = MemoryStore(FakeMoments())
    one = account(concurrent=2)
    first, second = taken(store, one), taken(store, one)

    assert admitted(store, one) is None
    for _ in range(2):
        store.settle(first, Cost())
    third = admitted(store, one)

    assert third is not None
    assert admitted(store, one) is None
    for call in (first, second, third):
        store.settle(call, Cost())

    assert 0 == state(store, one).concurrent == store.under_way


def test_accounts_are_told_apart_by_all_that_tells_them_apart() -> None:
    store = MemoryStore(FakeMoments())
    one = account(concurrent=1)
    others = [
        replace(one, level=Level.USER),
        replace(one, subject="k2"),
        replace(one, place="team lab"),
        replace(one, models="llama3.2"),
    ]
    taken(store, one)

    assert [State()] * 4 == [state(store, other) for other in others]
    assert None not in [admitted(store, other) for other in others]


def test_a_minute_gives_back_what_a_minute_allows() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    one = account(requests_per_minute=2, tokens_per_minute=100)
    taken(store, one, tokens=100)
    clock.move(30)

    assert (0, 50 * UNITS) == (state(store, one).requests, state(store, one).tokens)
    assert admitted(store, one, tokens=51) is None
    taken(store, one, tokens=50)


def test_looking_changes_nothing() -> None:
    clock = FakeMoments()
    one, two = MemoryStore(clock), MemoryStore(clock)
    for store in (one, two):
        taken(store, BUSY, tokens=100)
    for _ in range(100):
        clock.move(0.0123)
        state(one, BUSY)

    assert state(two, BUSY) == state(one, BUSY)


def test_another_day_begins_at_midnight_and_another_month_does_not() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    store.settle(taken(store, BUSY, tokens=100), Cost(100, 9))
    clock.move_to(MIDNIGHT - timedelta(microseconds=1))

    assert (100, 100, 9) == state(store, BUSY)[3:]
    clock.move(0.000_001)

    assert (0, 100, 0) == state(store, BUSY)[3:]
    clock.move_to(datetime(2026, 4, 1, tzinfo=UTC))

    assert (0, 0, 0) == state(store, BUSY)[3:]


def test_a_call_that_ends_on_another_day_changes_nothing_of_that_day() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    first = taken(store, BUSY, tokens=100)
    clock.move_to(MIDNIGHT)
    taken(store, BUSY, tokens=50)

    assert (50, 150, 0) == state(store, BUSY)[3:]
    store.settle(first, Cost(10, 1000))

    assert (50, 60, 0) == state(store, BUSY)[3:]
    clock.move(DAY)

    assert (0, 60, 0) == state(store, BUSY)[3:]


def test_a_day_that_has_begun_is_not_begun_again_in_another_zone() -> None:
    clock = FakeMoments(datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    store = MemoryStore(clock)
    west, east = account(zone="America/New_York", tokens_per_day=100), account(zone="Asia/Tokyo", tokens_per_day=100)
    taken(store, east, tokens=100)

    assert [100, 100] == [state(store, west).day_tokens, state(store, east).day_tokens]
    clock.move_to(datetime(2026, 3, 2, 15, 0, tzinfo=UTC))  # Midnight in Tokyo, where it was begun.

    assert [0, 0] == [state(store, west).day_tokens, state(store, east).day_tokens]
    taken(store, west, tokens=100)
    clock.move_to(datetime(2026, 3, 3, 4, 59, tzinfo=UTC))  # A minute to midnight in New York.

    assert admitted(store, east, tokens=1) is None


def test_a_wall_clock_that_is_set_back_gives_nobody_another_day() -> None:
    clock = FakeMoments(MIDNIGHT + timedelta(minutes=1))
    store = MemoryStore(clock)
    taken(store, BUSY, tokens=100)
    clock.wall = micros(MIDNIGHT - timedelta(minutes=1))

    assert 100 == state(store, BUSY).day_tokens
    clock.wall = micros(MIDNIGHT + timedelta(minutes=1))

    assert 100 == state(store, BUSY).day_tokens


def test_a_limit_that_is_lowered_or_raised_neither_forgives_nor_doubles() -> None:
    store = MemoryStore(FakeMoments())
    plenty = account(tokens_per_minute=100, tokens_per_day=100, concurrent=3)
    few = account(tokens_per_minute=50, tokens_per_day=50, concurrent=1)
    call = taken(store, plenty, tokens=80)

    assert state(store, plenty) == state(store, few) == State(0, 80 * UNITS, 1, 80, 0, 0)
    assert admitted(store, few) is None
    again = taken(store, plenty, tokens=20)
    for ended in (call, again):
        store.settle(ended, Cost(10))

    assert state(store, few) == State(0, 20 * UNITS, 0, 20, 0, 0)
    assert admitted(store, few, tokens=31) is None
    taken(store, few, tokens=30)


def test_a_limit_that_is_new_begins_with_what_comes_then() -> None:
    store = MemoryStore(FakeMoments())
    before = account(concurrent=9)
    call = taken(store, before, tokens=100)

    assert State(0, 0, 1, 0, 0, 0) == state(store, BUSY)
    other = taken(store, BUSY, tokens=50)
    store.settle(call, Cost(10, 1000))

    assert State(UNITS, 50 * UNITS, 1, 50, 50, 0) == state(store, BUSY)
    store.settle(other, Cost(20, 1000))

    assert State(UNITS, 20 * UNITS, 0, 20, 20, 1000) == state(store, BUSY)


def test_a_limit_that_is_taken_away_and_comes_back_remembers_what_was_used() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    without = account(concurrent=9)
    call = taken(store, BUSY, tokens=100)
    store.settle(taken(store, without, tokens=1000), Cost(1000))

    assert State(UNITS, 100 * UNITS, 1, 100, 100, 0) == state(store, BUSY)
    state(store, without)
    clock.move(5)

    assert State(0, 50 * UNITS, 1, 100, 100, 0) == state(store, BUSY)
    state(store, without)
    store.settle(call, Cost(60))

    assert State(0, 10 * UNITS, 0, 60, 60, 0) == state(store, BUSY)


def test_what_is_reset_is_as_new() -> None:
    store = MemoryStore(FakeMoments())
    store.settle(taken(store, BUSY, tokens=100), Cost(70, 1000))
    at_once(store.reset([BUSY]))

    assert State() == state(store, BUSY)


def test_calls_under_way_outlive_a_reset_with_what_they_have_set_aside() -> None:
    store = MemoryStore(FakeMoments())
    store.settle(taken(store, BUSY, tokens=500), Cost(500, 1000))
    call = taken(store, BUSY, tokens=100)
    at_once(store.reset([BUSY]))

    assert State(0, 100 * UNITS, 1, 100, 100, 0) == state(store, BUSY)
    taken(store, BUSY, tokens=50)
    store.settle(call, Cost(10, 1000))

    assert State(UNITS, 60 * UNITS, 1, 60, 60, 1000) == state(store, BUSY)


def test_a_reset_brings_back_nothing_that_has_run_off() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    taken(store, BUSY, tokens=100)
    clock.move(5)
    at_once(store.reset([BUSY]))

    assert 50 * UNITS == state(store, BUSY).tokens
    clock.move_to(MIDNIGHT)
    at_once(store.reset([BUSY]))

    assert State(0, 0, 1, 0, 100, 0) == state(store, BUSY)


def test_only_who_is_named_is_reset() -> None:
    store = MemoryStore(FakeMoments())
    one, other = account(tokens_per_day=100), account("k2", tokens_per_day=100)
    store.settle(taken(store, one, other, tokens=100), Cost(100))
    at_once(store.reset([one]))

    assert (0, 100) == (state(store, one).day_tokens, state(store, other).day_tokens)


class Records:
    """A ledger that is asked, and answers when it may."""

    def __init__(self, day: Cost | None = None, month: Cost | None = None) -> None:
        self.day, self.month = day or Cost(40, 400), month or Cost(70, 700)
        self.asked: list[tuple[Account, Window]] = []
        self.fails = 0
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()

    async def spent(self, account: Account, window: Window) -> Cost:
        self.asked.append((account, window))
        self.is_asked.set()
        await self.may_answer.wait()
        if self.fails > 0:
            self.fails -= 1
            raise StorageFailed
        return self.day if window.end - window.start == DAY * SECOND else self.month


async def look(store: MemoryStore, of: Account) -> State:
    _, (found,) = await store.look([of])
    return found


DAILY = account(tokens_per_day=1000, tokens_per_month=1000, gpu_seconds_per_day=60)


async def test_a_restart_gives_nobody_a_new_day() -> None:
    records = Records()
    store = MemoryStore(FakeMoments(), records.spent)
    decision = await store.reserve(claim(DAILY, tokens=10))

    assert (State(0, 0, 0, 40, 70, 400),) == decision.states
    assert State(0, 0, 1, 50, 80, 400) == await look(store, DAILY)
    assert [
        (DAILY, Window(micros(datetime(2026, 3, 1, tzinfo=UTC)), micros(MIDNIGHT))),
        (DAILY, Window(micros(datetime(2026, 3, 1, tzinfo=UTC)), micros(datetime(2026, 4, 1, tzinfo=UTC)))),
    ] == records.asked


async def test_what_was_spent_before_refuses_too() -> None:
    store = MemoryStore(FakeMoments(), Records(month=Cost(995)).spent)

    assert not (await store.reserve(claim(DAILY, tokens=6))).admitted
    assert (await store.reserve(claim(DAILY, tokens=5))).admitted


async def test_who_wants_to_hear_of_more_while_the_ledger_has_just_answered_asks_anew() -> None:
    records, others = Records(), list[asyncio.Task[Decision]]()

    async def spent(of: Account, window: Window) -> Cost:
        told = await records.spent(of, window)
        if len(records.asked) == 2:  # It comes right after the answer, before anybody who has waited for that.
            others.append(asyncio.create_task(store.reserve(claim(DAILY, tokens=10))))
        return told

    store = MemoryStore(FakeMoments(), spent)
    await store.reserve(claim(account(tokens_per_day=1000), tokens=10))
    decision = await others[0]

    assert (True, State(0, 0, 1, 50, 70, 400)) == (decision.admitted, decision.states[0])


async def test_the_ledger_is_not_asked_for_what_begins_anew_anyway() -> None:
    records = Records()
    store = MemoryStore(FakeMoments(), records.spent)
    await store.reserve(claim(account(requests_per_minute=9, tokens_per_minute=9, concurrent=9)))

    assert [] == records.asked


async def test_the_ledger_is_asked_once_however_many_wait() -> None:
    records = Records()
    records.may_answer.clear()
    store = MemoryStore(FakeMoments(), records.spent)
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(store.reserve(claim(DAILY, tokens=1))) for _ in range(20)]
        await records.is_asked.wait()
        records.may_answer.set()
    await store.reserve(claim(DAILY, tokens=1))

    assert 2 == len(records.asked)
    assert list(range(40, 60)) == sorted(call.result().states[0].day_tokens for call in calls)


async def test_a_call_that_is_given_up_does_not_take_the_answer_from_the_others() -> None:
    records = Records()
    records.may_answer.clear()
    store = MemoryStore(FakeMoments(), records.spent)
    first = asyncio.create_task(store.reserve(claim(DAILY, tokens=1)))
    await records.is_asked.wait()
    second = asyncio.create_task(store.reserve(claim(DAILY, tokens=1)))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    records.may_answer.set()

    assert (await second).admitted
    assert first.cancelled()
    assert (2, 1) == (len(records.asked), store.under_way)
    assert 41 == (await look(store, DAILY)).day_tokens


async def test_a_ledger_that_fails_is_asked_again_and_nothing_is_set_aside() -> None:
    records = Records()
    records.fails = 1
    store = MemoryStore(FakeMoments(), records.spent)
    other = account("k2", concurrent=1)
    with pytest.raises(StorageFailed):
        await store.reserve(claim(other, DAILY))

    assert 0 == (await look(store, other)).concurrent == store.under_way
    assert State(0, 0, 0, 40, 70, 400) == await look(store, DAILY)


async def test_all_who_wait_hear_of_a_failure() -> None:
    records = Records()
    records.fails = 1
    records.may_answer.clear()
    store = MemoryStore(FakeMoments(), records.spent)
    calls = [asyncio.create_task(store.reserve(claim(DAILY))) for _ in range(3)]
    await records.is_asked.wait()
    records.may_answer.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)

    assert [StorageFailed] * 3 == [type(end) for end in ended]


async def test_a_failure_that_nobody_waits_for_any_more_does_no_harm() -> None:
    records = Records()
    records.fails = 1
    records.may_answer.clear()
    store = MemoryStore(FakeMoments(), records.spent)
    call = asyncio.create_task(store.reserve(claim(DAILY)))
    await records.is_asked.wait()
    call.cancel()
    await asyncio.wait([call])
    records.may_answer.set()

    # Whoever comes next hears of it; then it is asked again.
    with pytest.raises(StorageFailed):
        await look(store, DAILY)
    assert 40 == (await look(store, DAILY)).day_tokens


async def test_a_day_that_ends_while_the_ledger_is_asked_is_not_counted_in_the_next() -> None:
    clock, records = FakeMoments(MIDNIGHT - timedelta(seconds=1)), Records()
    records.may_answer.clear()
    store = MemoryStore(clock, records.spent)
    call = asyncio.create_task(store.reserve(claim(DAILY, tokens=5)))
    await records.is_asked.wait()
    clock.move(1)
    records.may_answer.set()
    await call

    assert State(0, 0, 1, 5, 75, 0) == await look(store, DAILY)


async def test_the_ledger_can_be_asked_again_for_what_others_have_counted_meanwhile() -> None:
    records = Records()
    store = MemoryStore(FakeMoments(), records.spent)
    call = claim(DAILY, tokens=10)
    await store.reserve(call)
    store.settle(call, Cost(10))
    records.day, records.month = Cost(300, 3000), Cost(500, 5000)
    store.ask_again()

    assert State(0, 0, 0, 300, 500, 3000) == await look(store, DAILY)
    assert 4 == len(records.asked)


async def test_a_quota_that_comes_later_knows_what_was_spent_before_and_leaves_the_others_alone() -> None:
    records = Records()
    store = MemoryStore(FakeMoments(), records.spent)
    daily = account(tokens_per_day=1000)
    assert 40 == (await look(store, daily)).day_tokens
    await store.reset([daily])

    assert State(0, 0, 0, 0, 70, 400) == await look(store, DAILY)


async def test_a_quota_that_was_away_is_asked_about_again() -> None:
    records = Records()
    store = MemoryStore(FakeMoments(), records.spent)
    await look(store, DAILY)
    call = claim(account(tokens_per_day=1000), tokens=5)
    await store.reserve(call)
    store.settle(call, Cost(5))
    records.month = Cost(75, 700)

    assert State(0, 0, 0, 45, 75, 400) == await look(store, DAILY)


async def test_one_that_waits_for_an_answer_about_fewer_quotas_asks_for_the_rest() -> None:
    records = Records()
    records.may_answer.clear()
    store = MemoryStore(FakeMoments(), records.spent)
    first = asyncio.create_task(look(store, account(tokens_per_day=1000)))
    await records.is_asked.wait()
    second = asyncio.create_task(look(store, DAILY))
    await asyncio.sleep(0)
    records.may_answer.set()

    assert State(0, 0, 0, 40, 70, 400) == await second
    await first


async def test_what_the_ledger_tells_again_leaves_calls_under_way_what_they_have_set_aside() -> None:
    records = Records(Cost(), Cost())
    store = MemoryStore(FakeMoments(), records.spent)
    call = claim(DAILY, tokens=100)
    await store.reserve(call)
    records.day = records.month = Cost(50, 500)
    store.ask_again()

    assert State(0, 0, 1, 150, 150, 500) == await look(store, DAILY)
    store.settle(call, Cost(30, 100))

    assert State(0, 0, 0, 80, 80, 600) == await look(store, DAILY)


async def test_what_the_ledger_does_not_know_yet_is_not_forgotten_when_it_is_asked_again() -> None:
    records = Records(Cost(), Cost())
    store = MemoryStore(FakeMoments(), records.spent)
    call = claim(DAILY, tokens=100)
    await store.reserve(call)
    store.settle(call, Cost(30, 100))
    store.ask_again()

    assert State(0, 0, 0, 30, 30, 100) == await look(store, DAILY)


async def test_a_reset_holds_against_what_the_ledger_tells() -> None:
    store = MemoryStore(FakeMoments(), Records().spent)
    await store.reset([DAILY])

    assert State() == await look(store, DAILY)


def swept(store: MemoryStore, clock: FakeMoments) -> None:
    """Somebody else comes an hour later, and after another."""
    for _ in range(2):
        clock.move(IDLE / SECOND)
        store.settle(taken(store, account("somebody else", concurrent=1)), Cost())


async def asked_after(store: MemoryStore, records: Records, of: Account) -> int:
    """How often the ledger is asked for this account: only for one that was forgotten."""
    records.asked.clear()
    await look(store, of)
    return len([asked for asked, _ in records.asked if asked == of])


MINUTELY = account(requests_per_minute=60, tokens_per_minute=60)


async def test_who_has_used_nothing_is_forgotten_after_a_while() -> None:
    clock, records = FakeMoments(), Records(Cost(), Cost())
    store = MemoryStore(clock, records.spent)
    call = claim(DAILY, tokens=10)
    await store.reserve(call)
    store.settle(call, Cost())

    assert 0 == await asked_after(store, records, DAILY)
    swept(store, clock)

    assert 2 == await asked_after(store, records, DAILY)


async def test_who_has_used_anything_is_remembered_while_it_counts() -> None:
    clock, records = FakeMoments(), Records(Cost(), Cost())
    store = MemoryStore(clock, records.spent)
    call = claim(DAILY, tokens=10)
    await store.reserve(call)
    store.settle(call, Cost(1))
    clock.move_to(MIDNIGHT)
    swept(store, clock)

    assert 0 == await asked_after(store, records, DAILY)
    assert 1 == (await look(store, DAILY)).month_tokens
    clock.move_to(datetime(2026, 4, 1, tzinfo=UTC))
    swept(store, clock)

    assert 2 == await asked_after(store, records, DAILY)


async def test_what_was_reset_does_not_come_back_when_nobody_asks_for_a_while() -> None:
    clock, records = FakeMoments(), Records()
    store = MemoryStore(clock, records.spent)
    await store.reset([DAILY])
    swept(store, clock)

    assert State() == await look(store, DAILY)
    clock.move_to(datetime(2026, 4, 1, tzinfo=UTC))
    swept(store, clock)

    assert 2 == await asked_after(store, records, DAILY)


def test_a_bucket_is_remembered_until_it_is_empty() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    store.settle(taken(store, MINUTELY, tokens=1), Cost(60 * 60 * 3))
    swept(store, clock)

    assert 60 * 60 * UNITS == state(store, MINUTELY).tokens


async def test_a_call_under_way_is_never_forgotten() -> None:
    clock = FakeMoments()
    store = MemoryStore(clock)
    one = account(concurrent=1)
    call = taken(store, one)
    for _ in range(3):
        swept(store, clock)

    assert admitted(store, one) is None
    store.settle(call, Cost())

    assert admitted(store, one) is not None


async def test_nobody_is_forgotten_before_the_while_is_over() -> None:
    clock, records = FakeMoments(), Records(Cost(), Cost())
    store = MemoryStore(clock, records.spent)
    clock.move(1)
    await look(store, DAILY)
    clock.move(IDLE / SECOND - 1)
    taken(store, account("somebody else", concurrent=1))

    assert 0 == await asked_after(store, records, DAILY)


@dataclass
class CountedCall:
    """What one call has been charged until now."""

    id: str
    wall: int
    charged: int
    gpu_ms: int = 0
    ended: bool = False


class Counted:
    """What one account has used, told from its whole history each time it is asked."""

    def __init__(self, of: Account) -> None:
        self.of = of
        self.requests: list[tuple[int, int]] = []
        self.tokens: list[tuple[int, int]] = []
        """When, and how many were charged then or given back."""
        self.calls: list[CountedCall] = []

    def reserved(self, steady: int, wall: int, asked: Claim) -> None:
        self.requests.append((steady, 1))
        self.tokens.append((steady, asked.most_tokens))
        self.calls.append(CountedCall(asked.id, wall, asked.most_tokens))

    def settled(self, steady: int, claim_id: str, cost: Cost) -> None:
        for call in self.calls:
            if call.id == claim_id and not call.ended:
                self.tokens.append((steady, cost.tokens - call.charged))
                call.charged, call.gpu_ms, call.ended = cost.tokens, cost.gpu_ms, True

    def state(self, steady: int, wall: int) -> State:
        today = self._local(wall).date()
        of_day = [call for call in self.calls if self._local(call.wall).date() == today]
        of_month = [call for call in self.calls if self._local(call.wall).date().replace(day=1) == today.replace(day=1)]
        return State(
            self._bucket(self.requests, self.of.limits.requests_per_minute or 0, steady),
            self._bucket(self.tokens, self.of.limits.tokens_per_minute or 0, steady),
            len([call for call in self.calls if not call.ended]),
            sum(call.charged for call in of_day),
            sum(call.charged for call in of_month),
            sum(call.gpu_ms for call in of_day),
        )

    def fits(self, now: State, tokens: int) -> bool:
        limits = self.of.limits
        return (
            now.requests <= ((limits.requests_per_minute or 0) - 1) * UNITS
            and now.tokens <= ((limits.tokens_per_minute or 0) - tokens) * UNITS
            and now.concurrent < (limits.concurrent or 0)
            and now.day_tokens + tokens <= (limits.tokens_per_day or 0)
            and now.month_tokens + tokens <= (limits.tokens_per_month or 0)
            and now.day_gpu_ms < 1000 * (limits.gpu_seconds_per_day or 0)
        )

    def _local(self, wall: int) -> datetime:
        return (EPOCH + timedelta(microseconds=wall)).astimezone(ZoneInfo(self.of.time_zone))

    def _bucket(self, history: list[tuple[int, int]], per_minute: int, now: int) -> int:
        used, before = 0, 0
        for at, amount in [*history, (now, 0)]:
            used = max(0, max(0, used - (at - before) * per_minute) + amount * UNITS)
            before = at
        return used


EVERY_KIND: dict[str, Any] = {
    "requests_per_minute": 6,
    "tokens_per_minute": 100,
    "concurrent": 3,
    "tokens_per_day": 300,
    "tokens_per_month": 900,
    "gpu_seconds_per_day": 5,
}
ACCOUNTS = (
    account("k1", **EVERY_KIND),
    account("k2", zone="Europe/Berlin", **EVERY_KIND),
    account(
        "alice", level=Level.USER, zone="America/New_York", **{**EVERY_KIND, "concurrent": 4, "tokens_per_day": 400}
    ),
    account("lab", level=Level.TEAM, shadow=True, **{**EVERY_KIND, "concurrent": 2, "tokens_per_day": 200}),
)


class MemoryMachine(RuleBasedStateMachine):
    """Whatever is done to it, the store agrees with a count of everything that was ever done."""

    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeMoments(NOON)
        self.store = MemoryStore(self.clock)
        self.counted = [Counted(of) for of in ACCOUNTS]
        self.numbers = count()

    @rule(
        target=claims,
        which=st.sets(st.sampled_from(range(len(ACCOUNTS))), min_size=1),
        tokens=st.sampled_from([0, 1, 30, 50, 100]),
    )
    def reserve(self, which: set[int], tokens: int) -> Claim:
        moment = self.clock()
        mine = [self.counted[place] for place in sorted(which)]
        asked = Claim(f"c{next(self.numbers)}", tuple(one.of for one in mine), tokens)
        states = [one.state(moment.steady, moment.wall) for one in mine]
        fits = [one.fits(state, tokens) for one, state in zip(mine, states, strict=True)]
        passes = all(fit or one.of.shadow for fit, one in zip(fits, mine, strict=True))
        decision = at_once(self.store.reserve(asked))

        assert (passes, tuple(states)) == (decision.admitted, decision.states)
        for fit, one in zip(fits, mine, strict=True):
            if passes and fit:
                one.reserved(moment.steady, moment.wall, asked)
        return asked

    @rule(asked=claims, tokens=st.sampled_from([0, 1, 25, 60, 150]), gpu_ms=st.sampled_from([0, 1, 900, 3000]))
    def settle(self, asked: Claim, tokens: int, gpu_ms: int) -> None:
        """Also what was refused, or settled before."""
        self.store.settle(asked, Cost(tokens, gpu_ms))
        for one in self.counted:
            one.settled(self.clock.steady, asked.id, Cost(tokens, gpu_ms))

    @rule(seconds=st.sampled_from([0.000_001, 0.5, 7, 61, 3600, 12 * 3600, DAY, 20 * DAY]))
    def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)

    @invariant()
    def agrees(self) -> None:
        moment, states = at_once(self.store.look(ACCOUNTS))

        assert [one.state(moment.steady, moment.wall) for one in self.counted] == list(states)
        assert min(min(state) for state in states) >= 0
        under_way = {call.id for one in self.counted for call in one.calls if not call.ended}
        assert len(under_way) == self.store.under_way


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40)
