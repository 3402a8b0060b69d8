import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.auth import Act, Denial, Holder, Key, Team, User
from proxy.auth import remembered as module
from proxy.auth.remembered import (
    FRESH_SECONDS,
    LOOK_SECONDS,
    MOST_ACTS,
    MOST_AT_ONCE,
    PATIENCE_SECONDS,
    TELL_SECONDS,
    Remembered,
)
from proxy.errors import StorageFailed
from proxy.vocabulary import Limits
from tests.fakes.clock import FakeClock
from tests.fakes.keys import FakeRegistry

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = Key(id="k1", user="alice", plan="default", team="lab", created_at=NOON, digest=bytes(32))
ALICE, LAB = User("alice", NOON, team="lab"), Team("lab", NOON)
OUTAGE = 900.0


def act(name: str, subject: str) -> Act:
    return Act(NOON, "owner", "here", name, subject)


class Store(FakeRegistry):
    """Counts what it is asked, and can be away, or hang."""

    def __init__(self, *keys: Key, users: tuple[User, ...] = (ALICE,), teams: tuple[Team, ...] = (LAB,)) -> None:
        super().__init__(*keys, users=users, teams=teams)
        self.asked: list[str] = []
        self.is_away = False
        self.hangs: asyncio.Event | None = None

    async def _meet(self, what: str) -> None:
        self.asked.append(what)
        if self.is_away:
            raise StorageFailed
        if self.hangs is not None:
            await self.hangs.wait()

    async def find(self, key_id: str) -> Holder | None:
        found = await super().find(key_id)
        await self._meet(f"find {key_id}")
        return found

    async def belonging(self, user: str, team: str | None) -> tuple[User | None, Team | None]:
        found = await super().belonging(user, team)
        await self._meet(f"belonging {user} {team}")
        return found

    async def denials(self) -> list[Denial]:
        await self._meet("denials")
        return await super().denials()

    async def newest_act(self) -> int:
        await self._meet("newest act")
        return await super().newest_act()

    async def acts(self, after: int = 0, *, last: int | None = None) -> list[Act]:
        await self._meet("acts")
        return await super().acts(after, last=last)

    def begin_anew(self) -> None:
        """As after a restore of a backup from before the first act."""
        self._acts.clear()

    async def used(self, at: Mapping[tuple[str, bool], datetime]) -> None:
        await self._meet("used")
        await super().used(at)


class World:
    """A store, what is remembered of it, and the time."""

    def __init__(self, store: Store, outage: float = OUTAGE) -> None:
        self.store = store
        self.clock = FakeClock()
        self.remembered = Remembered(store, clock=self.clock, outage_seconds=outage)

    async def passes(self, seconds: float) -> None:
        """Time, with a look as often as there should be one."""
        while seconds > 0:
            step = min(seconds, LOOK_SECONDS)
            self.clock.seconds += step
            seconds -= step
            await self.remembered.look()

    async def limits(self) -> Limits | None:
        holder = await self.remembered.holder("k1")
        return holder.key.limits if holder else None

    @property
    def asked(self) -> list[str]:
        asked, self.store.asked = [one for one in self.store.asked if not one.endswith(("act", "acts"))], []
        return asked


async def world(*keys: Key, outage: float = OUTAGE) -> World:
    made = World(Store(*keys), outage)
    await made.remembered.begin()
    assert ["denials"] == made.asked
    return made


async def test_who_is_known_costs_no_look_up() -> None:
    here = await world(KEY)
    for _ in range(3):
        assert Holder(KEY, ALICE, LAB) == await here.remembered.holder("k1")
        await here.passes(60)

    assert ["find k1"] == here.asked


async def test_an_id_that_nobody_has_costs_one_look_up() -> None:
    here = await world(KEY)
    for _ in range(3):
        assert await here.remembered.holder("k2") is None
        await here.passes(60)

    assert ["find k2"] == here.asked


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("key:k1", "key.update"),
        ("identity:k1", "identity.suspend"),
        ("certificate:k1", "certificate.suspend"),
        ("user:alice", "user.suspend"),
        ("team:lab", "team.update"),
    ],
)
async def test_whatever_is_changed_of_a_key_its_user_or_its_team_is_learnt_at_the_next_look(
    subject: str, name: str
) -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act(name, subject))
    await here.passes(LOOK_SECONDS)

    assert Limits(7) == await here.limits()
    assert ["find k1", "find k1"] == here.asked


async def test_what_is_changed_of_others_changes_nothing() -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    for subject in ("key:k2", "user:bob", "team:class", "token:sso", "gate:", ""):
        await here.store.record(act("anything.update", subject))
    await here.passes(LOOK_SECONDS)
    await here.remembered.holder("k1")

    assert ["find k1", "denials"] == here.asked


async def test_a_new_key_works_from_the_next_look_on_though_it_was_tried_before() -> None:
    here = await world()
    assert await here.remembered.holder("k1") is None
    await here.store.add([act("key.create", "key:k1")], keys=[KEY])
    await here.passes(LOOK_SECONDS)

    assert await here.remembered.holder("k1") is not None


async def test_what_is_remembered_is_asked_for_again_where_no_look_succeeds_in_time() -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act("key.update", "key:k1"))
    here.clock.seconds += FRESH_SECONDS + 0.01  # The loop was busy with something else.

    assert Limits(7) == await here.limits()
    assert FRESH_SECONDS + LOOK_SECONDS < 1


async def test_a_change_during_a_look_up_is_not_missed() -> None:
    here = await world(KEY)
    here.store.hangs = asyncio.Event()
    first = asyncio.create_task(here.remembered.holder("k1"))
    await asyncio.sleep(0)  # It has read the key, and not told it yet.
    hanging, here.store.hangs = here.store.hangs, None
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act("key.update", "key:k1"))
    await here.passes(LOOK_SECONDS)
    hanging.set()
    found = await first

    assert found is not None
    assert Limits(7) == found.key.limits == await here.limits()


async def test_callers_that_come_together_share_a_look_up() -> None:
    here = await world(KEY)
    await asyncio.gather(*(here.remembered.holder("k1") for _ in range(20)))

    assert ["find k1"] == here.asked


async def test_who_waits_for_a_look_up_is_served_though_the_first_who_asked_leaves() -> None:
    here = await world(KEY)
    here.store.hangs = asyncio.Event()
    first, second = (asyncio.create_task(here.remembered.holder("k1")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    here.store.hangs.set()

    assert Holder(KEY, ALICE, LAB) == await second


async def test_who_is_known_goes_on_while_the_database_is_away_and_no_longer_than_that() -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    await here.remembered.belonging("carol", None)
    here.store.is_away = True
    await here.passes(OUTAGE - 1)

    assert Holder(KEY, ALICE, LAB) == await here.remembered.holder("k1")
    assert (None, None) == await here.remembered.belonging("carol", None)
    assert not here.remembered.is_denied("sso", jti=None, sub="carol")
    await here.passes(1.5)
    with pytest.raises(StorageFailed):
        await here.remembered.holder("k1")
    with pytest.raises(StorageFailed):
        await here.remembered.belonging("carol", None)
    with pytest.raises(StorageFailed):
        here.remembered.is_denied("sso", jti=None, sub="carol")


async def test_who_is_not_known_is_not_let_in_while_the_database_is_away() -> None:
    here = await world(KEY)
    here.store.is_away = True
    await here.passes(1)
    with pytest.raises(StorageFailed):
        await here.remembered.holder("k1")


async def test_an_owner_who_wants_no_outage_survived_gets_none() -> None:
    here = await world(KEY, outage=0)
    await here.remembered.holder("k1")
    here.store.is_away = True
    await here.passes(1)
    with pytest.raises(StorageFailed):
        await here.remembered.holder("k1")


async def test_an_outage_costs_no_call_a_look_up() -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    here.store.is_away = True
    await here.passes(2)
    assert ["find k1"] == here.asked
    for _ in range(10):
        await here.remembered.holder("k1")

    assert [] == here.asked


async def test_what_was_changed_just_before_an_outage_is_not_believed() -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    await here.store.revoke("k1", NOON, act("key.revoke", "key:k1"))
    await here.passes(LOOK_SECONDS)
    here.store.is_away = True
    await here.passes(1)
    with pytest.raises(StorageFailed):
        await here.remembered.holder("k1")


async def test_after_an_outage_everything_that_was_changed_meanwhile_is_learnt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = await world(KEY)
    await here.remembered.holder("k1")
    here.store.is_away = True
    await here.passes(10)
    here.store.is_away = False
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act("key.update", "key:k1"))
    await here.passes(LOOK_SECONDS)

    assert Limits(7) == await here.limits()
    assert ["records_away", "records_back"] == [one.message for one in caplog.records if one.name == "proxy.auth"]


async def test_a_database_that_hangs_holds_nobody_up_for_long_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    here = await world(KEY)
    await here.remembered.holder("k1")
    here.store.hangs = asyncio.Event()
    here.clock.seconds += FRESH_SECONDS + 0.01

    assert Holder(KEY, ALICE, LAB) == await here.remembered.holder("k1")
    await here.remembered.look()  # It notices, too, the second time: the first may have been a busy loop's fault.
    await here.remembered.look()
    here.store.asked.clear()
    assert Holder(KEY, ALICE, LAB) == await here.remembered.holder("k1")
    assert [] == here.asked
    assert PATIENCE_SECONDS <= 1.0
    here.store.hangs.set()


async def test_a_look_up_that_is_never_answered_is_given_up_and_the_next_one_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    here = await world(KEY)
    here.store.hangs = asyncio.Event()  # That nobody ever sets: a connection is half open.
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(StorageFailed):
                await here.remembered.holder("k1")
        here.store.hangs = None

        assert Holder(KEY, ALICE, LAB) == await here.remembered.holder("k1")
    assert ["find k1"] * 3 == here.asked


async def test_a_denial_holds_from_the_next_look_on_until_it_is_taken_back() -> None:
    here = await world()
    denied = here.remembered.is_denied
    await here.store.deny(Denial("sso", "jti", "t1", NOON), act("token.deny", "token:sso"))
    await here.store.deny(Denial("sso", "sub", "carol", NOON), act("token.deny", "token:sso"))
    await here.passes(LOOK_SECONDS)

    assert denied("sso", jti="t1", sub="alice")
    assert denied("sso", jti=None, sub="carol")
    assert not denied("sso", jti="carol", sub="t1")
    assert not denied("other", jti="t1", sub="carol")
    await here.store.allow("sso", "sub", "carol", act("token.allow", "token:sso"))
    await here.passes(LOOK_SECONDS)
    assert not denied("sso", jti=None, sub="carol")


async def test_a_denial_that_could_not_be_read_is_read_at_the_next_look() -> None:
    here = await world()
    await here.store.deny(Denial("sso", "jti", "t1", NOON), act("token.deny", "token:sso"))
    readable = here.store.denials

    async def away() -> list[Denial]:
        raise StorageFailed

    here.store.denials = away  # type: ignore[method-assign]
    await here.passes(LOOK_SECONDS)
    here.store.denials = readable  # type: ignore[method-assign]
    await here.passes(LOOK_SECONDS)

    assert here.remembered.is_denied("sso", jti="t1", sub="alice")


async def test_after_more_acts_than_are_worth_going_through_everything_is_looked_up_again() -> None:
    """An import of thousands, in front of a gate that knows thousands, must not keep it from all else."""
    here = await world(KEY)
    for _ in range(2):
        await here.limits()
        await here.remembered.belonging("alice", None)
        await here.remembered.holder("k2")
        await here.store.add([act("user.create", "user:bob")] * (MOST_ACTS + 1))
        here.store.asked.clear()
        await here.passes(LOOK_SECONDS)

    assert ["newest act", "denials"] == here.store.asked
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act("key.update", "key:k1"))
    await here.passes(LOOK_SECONDS)
    assert Limits(7) == await here.limits()


async def test_many_acts_at_once_are_learnt_at_the_price_of_one_look_through_what_is_known() -> None:
    keys = [Key(id=f"k{number}", user=f"u{number}", plan="default", created_at=NOON) for number in range(5000)]
    here = await world(*keys)
    for key in keys:
        await here.remembered.holder(key.id)
        await here.remembered.belonging(key.user, None)
    changed = [act("user.update", f"user:u{number}") for number in range(MOST_ACTS)]
    await here.store.add(changed)
    here.store.asked.clear()
    began = time.perf_counter()
    await here.passes(LOOK_SECONDS)

    assert time.perf_counter() - began < 0.3  # Measured: 5 ms; one look through for each act took 500.
    for number in (0, MOST_ACTS - 1, MOST_ACTS):
        await here.remembered.holder(f"k{number}")
    assert ["find k0", f"find k{MOST_ACTS - 1}"] == here.asked


async def test_after_the_trail_has_gone_back_nothing_is_believed_that_was_known_before() -> None:
    """Another database stands where the old one was: what is done there has numbers that the old one had too."""
    here = await world(KEY)
    for _ in range(3):
        await here.store.record(act("gate.reload", ""))
    await here.passes(LOOK_SECONDS)
    await here.limits()
    here.store.begin_anew()
    await here.passes(LOOK_SECONDS)
    await here.store.update_key("k1", lambda _: {"limits": Limits(7)}, act("key.update", "key:k1"))
    await here.store.deny(Denial("sso", "sub", "carol", NOON), act("token.deny", "token:sso"))
    await here.passes(LOOK_SECONDS)

    assert Limits(7) == await here.limits()
    assert here.remembered.is_denied("sso", jti=None, sub="carol")


async def test_the_user_and_the_team_of_a_token_are_remembered_until_they_change() -> None:
    here = await world()
    for _ in range(2):
        assert (ALICE, LAB) == await here.remembered.belonging("alice", None)
        assert (ALICE, None) == await here.remembered.belonging("alice", "class")
    assert ["belonging alice None", "belonging alice class"] == here.asked
    await here.store.update_team("lab", lambda _: {"note": "moved"}, act("team.update", "team:lab"))
    await here.passes(LOOK_SECONDS)
    _, team = await here.remembered.belonging("alice", None)

    assert team is not None
    assert "moved" == team.note


async def test_a_user_who_was_not_on_record_is_once_a_key_puts_them_there() -> None:
    here = await world()
    assert (None, None) == await here.remembered.belonging("bob", None)
    bob = User("bob", NOON)
    await here.store.add([act("key.create", "key:k9")], users=[bob])
    await here.passes(LOOK_SECONDS)

    assert (bob, None) == await here.remembered.belonging("bob", None)


async def test_strangers_cannot_push_out_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNKNOWN", 10)
    here = await world(KEY)
    await here.remembered.holder("k1")
    for number in range(30):
        await here.remembered.holder(f"guess{number}")
    here.store.asked.clear()
    await here.remembered.holder("guess29")
    await here.remembered.holder("k1")
    assert [] == here.asked
    await here.remembered.holder("guess0")

    assert ["find guess0"] == here.asked


async def test_however_many_ids_strangers_show_at_once_few_look_ups_run_at_once() -> None:
    """Measured: 1500 at once kept the look for what has changed from the database for nine seconds."""
    here = await world(KEY)
    here.store.hangs = asyncio.Event()
    guesses = [asyncio.create_task(here.remembered.holder(f"guess{number}")) for number in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    under_way = len(here.store.asked)
    here.store.hangs.set()

    assert MOST_AT_ONCE == under_way
    assert [None] * 100 == await asyncio.gather(*guesses)


async def test_of_too_many_that_are_known_the_one_goes_that_was_not_asked_for_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    keys: list[Any] = [Key(id=name, user="alice", plan="default", created_at=NOON) for name in ("a", "b", "c")]
    here = await world(*keys)
    for name in ("a", "b", "a", "c"):
        await here.remembered.holder(name)
    here.store.asked.clear()
    for name in ("a", "c", "b"):
        await here.remembered.holder(name)

    assert ["find b"] == here.asked


async def test_when_keys_were_last_used_is_put_on_record_from_time_to_time() -> None:
    here = await world(KEY)
    here.remembered.used("k1", NOON, former=False)
    here.remembered.used("k1", NOON + HOUR, former=False)
    here.remembered.used("k1", NOON, former=True)
    here.store.is_away = True
    await here.remembered.tell()
    here.remembered.used("k1", NOON + 2 * HOUR, former=False)
    here.store.is_away = False
    await here.remembered.tell()
    await here.remembered.tell()
    (key,) = await here.store.keys()

    assert (NOON + 2 * HOUR, NOON) == (key.last_used_at, key.former_used_at)
    assert ["used", "used"] == here.asked
    assert [] == await here.store.acts()


async def test_it_keeps_looking_and_telling() -> None:
    here = await world(KEY)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > TELL_SECONDS + LOOK_SECONDS:
            raise asyncio.CancelledError

    here.remembered.used("k1", NOON, former=False)
    with pytest.raises(asyncio.CancelledError):
        await here.remembered.keep(pause)

    assert {LOOK_SECONDS} == set(pauses)
    assert ["used"] == here.asked


async def test_who_ends_it_waits_for_the_look_that_goes_on() -> None:
    here = await world(KEY)

    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    here.store.hangs = asyncio.Event()
    keeping = asyncio.create_task(here.remembered.keep(pause))
    for _ in range(5):
        await asyncio.sleep(0)
    assert here.store.asked
    waiting = asyncio.create_task(here.remembered.at_rest.acquire())
    await asyncio.sleep(0)
    assert not waiting.done()
    here.store.hangs.set()
    await waiting
    keeping.cancel()
    await asyncio.wait([keeping])

    assert keeping.cancelled()
