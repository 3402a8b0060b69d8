from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from proxy.admin.desk import Desk
from proxy.admin.office import LimitsOffice
from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.ledger import Mark, Part, Running, Wanted
from proxy.limits import Claim, Cost
from proxy.limits.accounts import every
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Allowance, Entry, Level, Limits, Plan
from tests.fakes.book import FakeBook
from tests.fakes.keys import FakeKeys
from tests.fakes.tools import ENTRY, MOMENT, NOON, minter, no_shouting, office

EVERYBODYS = Allowance(Level.EVERYBODY, Limits(concurrent=8))
PLANS = {
    "default": Plan("default", allowances=(EVERYBODYS,)),
    "lab": Plan(
        "lab",
        allowances=(
            Allowance(Level.USER, Limits(requests_per_minute=60)),
            Allowance(Level.USER, Limits(concurrent=1), models="llama3.3:70b"),
            Allowance(Level.TEAM, Limits(tokens_per_day=1000)),
            EVERYBODYS,
        ),
    ),
}


def desk(keys: FakeKeys | None = None, book: FakeBook | None = None, counting: LimitsOffice | None = None) -> Desk:
    counting = counting or office(MemoryStore(lambda: MOMENT))
    return Desk(keys or FakeKeys(), book or FakeBook(), PLANS, minter(), lambda: NOON, no_shouting, counting)


async def test_a_key_is_issued_and_put_on_record_without_its_text() -> None:
    keys = FakeKeys()
    issued = await desk(keys).create_key("alice", "red", "lab", ("Gemma3", "gemma3"), timedelta(days=90), "laptop")
    key = await keys.find("k1")

    assert "sk-lg_k1_SECRET1_crc" == issued.secret
    assert key == issued.key
    assert key is not None
    assert ("alice", "red", "lab", ("gemma3",), "laptop") == (key.user, key.team, key.plan, key.models, key.note)
    assert (NOON, NOON + timedelta(days=90)) == (key.created_at, key.expires_at)
    assert b"\x01" * 32 == key.digest
    assert "SECRET" not in repr(issued)


async def test_a_key_lives_for_ever_and_may_all_of_its_plan_unless_told_otherwise() -> None:
    key = (await desk().create_key(" alice ")).key

    assert ("alice", "default", None, None, None) == (key.user, key.plan, key.team, key.models, key.expires_at)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "a" * 129, "a\u202eb", "\udc80"])
@pytest.mark.parametrize("what", ["user", "team", "note"])
async def test_a_name_that_cannot_be_printed_is_refused(what: str, name: str) -> None:
    keys = FakeKeys()
    names: dict[str, Any] = {"user": "alice", what: name}
    with pytest.raises(NotDone, match=f"The {what} has to be"):
        await desk(keys).create_key(**names)

    assert [] == await keys.all()


async def test_a_plan_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(NotDone, match="There are: default, lab"):
        await desk().create_key("alice", plan="gold")


@pytest.mark.parametrize("models", [(), ("ok", "no!")])
async def test_models_that_make_no_sense_are_refused(models: tuple[str, ...]) -> None:
    with pytest.raises(NotDone):
        await desk().create_key("alice", models=models)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1)])
async def test_a_key_that_was_never_alive_is_refused(lifetime: timedelta) -> None:
    with pytest.raises(NotDone):
        await desk().create_key("alice", lifetime=lifetime)


@pytest.mark.parametrize("shown", ["k1", " k1\n", "sk-lg_k1_SECRET1_crc", "sk-lg_k1_SEC_RET_crc"])
async def test_a_key_is_found_by_its_id_or_by_all_of_it(shown: str) -> None:
    here = desk()
    issued = await here.create_key("alice")

    assert issued.key == await here.key(shown)


async def test_a_key_that_is_not_there_is_told_by_its_id() -> None:
    with pytest.raises(NoSuchKey, match="There is no key k9"):
        await desk().key("k9")
    with pytest.raises(NoSuchKey, match="There is no key k9"):
        await desk().revoke("k9")


@pytest.mark.parametrize("shown", ["sk-lg_k9_HUSH_crc", "sk-lg-k9-HUSHHUSHHUSHHUSHHUSHHUSH", "HUSH" * 20, "\x1bHUSH"])
async def test_a_key_that_is_not_there_is_not_repeated(shown: str) -> None:
    with pytest.raises(NoSuchKey) as refused:
        await desk().key(shown)

    assert "HUSH" not in refused.value.message


async def test_a_key_is_revoked() -> None:
    here = desk()
    await here.create_key("alice")

    assert NOON == (await here.revoke("sk-lg_k1_SECRET1_crc")).revoked_at
    assert ["revoked"] == [key.state(NOON) for key in await here.keys()]


async def test_the_newest_calls_are_told_of_one_user_or_of_all() -> None:
    book = FakeBook(*(replace(ENTRY, id=f"e{n}", user="bob" if n == 2 else "alice") for n in range(1, 5)))

    assert ["e3", "e4"] == [entry.id for entry in await desk(book=book).calls(2)]
    assert ["e2"] == [entry.id for entry in await desk(book=book).calls(2, "bob")]


async def take(entries: AsyncIterator[Entry], count: int) -> list[str]:
    taken = []
    async for entry in entries:
        taken.append(entry.id)
        if len(taken) == count:
            break
    return taken


async def test_calls_are_followed_from_the_newest_on() -> None:
    book = FakeBook(replace(ENTRY, id="e1"), replace(ENTRY, id="e2"))
    pauses = iter(("e3", "e4"))

    async def pause() -> None:
        await book.write([replace(ENTRY, id=next(pauses))])

    assert ["e2", "e3", "e4"] == await take(desk(book=book).follow(None, pause, last=1), 3)


async def test_following_one_user_leaves_out_the_others() -> None:
    book = FakeBook(ENTRY)
    pauses = iter(("bob 1", "alice 2", "bob 3"))

    async def pause() -> None:
        name = next(pauses)
        await book.write([replace(ENTRY, id=name, user=name.split()[0])])

    assert ["bob 1", "bob 3"] == await take(desk(book=book).follow("bob", pause), 2)


async def test_a_call_written_while_we_look_is_told_once() -> None:
    class Busy(FakeBook):
        async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
            await self.write([replace(ENTRY, id="e2")])
            return await super().last(count, user=user)

    book = Busy(ENTRY)

    async def pause() -> None:
        await book.write([replace(ENTRY, id="e3")])

    assert ["e1", "e2", "e3"] == await take(desk(book=book).follow(None, pause, last=5), 3)


async def test_usage_is_summed_over_the_time_until_now() -> None:
    old = replace(ENTRY, id="e0", at=NOON - timedelta(days=8))
    here = desk(book=FakeBook(old, ENTRY))
    since = NOON - timedelta(days=7)

    assert [(("alice",), 2, 14)] == [
        (one.groups, one.calls, one.prompt_tokens) for one in await here.usage(Wanted(("user",)))
    ]
    assert [(("alice",), 1, 7)] == [
        (one.groups, one.calls, one.prompt_tokens) for one in await here.usage(Wanted(("user",), since))
    ]


async def test_usage_of_a_key_is_asked_by_its_id_or_by_all_of_it() -> None:
    here = desk(book=FakeBook(ENTRY, replace(ENTRY, id="e2", key_id="k2")))

    assert [1] == [one.calls for one in await here.usage(Wanted(key="k1"))]
    assert [1] == [one.calls for one in await here.usage(Wanted(key="sk-lg_k1_SECRET1_crc"))]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(("user", "moon")), "user, team, key, model, day, hour, endpoint, outcome"),
        (Wanted(time_zone="Mars/Base"), "'Mars/Base' is not a time zone"),
        (Wanted(since=NOON, until=NOON), "ends before it begins"),
    ],
)
async def test_usage_that_makes_no_sense_is_refused_with_what_does(wanted: Wanted, why: str) -> None:
    with pytest.raises(NotDone, match=why):
        await desk().usage(wanted)


async def peopled_book() -> FakeBook:
    """One call of Alice has ended a minute ago, one of Bob goes on."""
    began = NOON - timedelta(minutes=5)
    book = FakeBook()
    running = Running("r1", began, "POST /api/chat", user="bob")
    await book.write([replace(ENTRY, at=began, total_seconds=240.0)], Part("j", Mark(0, 1), [running]))
    return book


async def test_what_ran_at_some_time_is_told_of_one_user_or_of_all() -> None:
    here = desk(book=await peopled_book())
    then = NOON - timedelta(minutes=2)

    assert [["e1"], ["r1"]] == [[call.id for call in calls] for calls in await here.at(then)]
    assert [[], ["r1"]] == [[call.id for call in calls] for calls in await here.at(then, "bob")]


async def test_what_runs_now_is_told_of_one_user_or_of_all() -> None:
    here = desk(book=await peopled_book())

    assert ["r1"] == [call.id for call in await here.running()]
    assert [] == await here.running("alice")


async def test_what_will_run_nobody_can_tell() -> None:
    with pytest.raises(NotDone, match="not come yet"):
        await desk().at(NOON + timedelta(seconds=1))


async def test_entries_are_exported_of_a_time_or_of_all() -> None:
    here = desk(book=FakeBook(replace(ENTRY, id="e0", at=NOON - timedelta(days=8)), ENTRY))

    assert ["e0", "e1"] == [entry.id async for page in here.export() for entry in page]
    assert ["e0"] == [entry.id async for page in here.export(until=NOON) for entry in page]
    with pytest.raises(NotDone, match="ends before it begins"):
        here.export(NOON, NOON)


async def test_a_key_is_issued_with_limits_of_its_own() -> None:
    keys = FakeKeys()
    await desk(keys).create_key("alice", limits=Limits(requests_per_minute=30, concurrent=2))
    key = await keys.find("k1")

    assert key is not None
    assert Limits(requests_per_minute=30, concurrent=2) == key.limits


async def test_a_key_with_limits_that_will_not_do_is_not_issued() -> None:
    keys = FakeKeys()
    with pytest.raises(NotDone):
        await desk(keys).create_key("alice", limits=Limits(concurrent=0))

    assert [] == await keys.all()


async def test_of_a_keys_own_limits_those_are_changed_that_are_named() -> None:
    here = desk()
    await here.create_key("alice", limits=Limits(requests_per_minute=30, request_burst=5, concurrent=2))
    changed = await here.update_key("sk-lg_k1_SECRET1_crc", {"concurrent": None, "request_burst": 10})

    assert Limits(requests_per_minute=30, request_burst=10) == changed.limits
    assert changed == await here.key("k1")


@pytest.mark.parametrize(
    ("key_id", "changes", "why"),
    [
        ("k1", {}, "name a limit"),
        ("k1", {"requests_per_minute": None}, "A burst of requests needs requests per minute"),
        ("k1", {"concurrent": 0}, "at least 1"),
        ("k9", {"concurrent": 1}, "There is no key k9"),
    ],
)
async def test_a_change_that_cannot_be_made_changes_nothing(key_id: str, changes: dict[str, Any], why: str) -> None:
    here = desk()
    await here.create_key("alice", limits=Limits(requests_per_minute=30, request_burst=5))
    with pytest.raises(NotDone, match=why):
        await here.update_key(key_id, changes)

    assert Limits(requests_per_minute=30, request_burst=5) == (await here.key("k1")).limits


async def peopled(store: MemoryStore) -> Desk:
    """Alice has one key in the lab and one that is revoked; Bob is in the lab too; Carol has the default plan."""
    here = desk(counting=office(store))
    await here.create_key("alice", "red", "lab", limits=Limits(tokens_per_minute=600))
    await here.create_key("alice", "red", "lab", limits=Limits(tokens_per_minute=60))
    await here.create_key("bob", "red", "lab")
    await here.create_key("carol")
    await here.revoke("k2")
    return here


async def rows(here: Desk, name: str | None) -> list[str]:
    told = (await here.limits(name)).standings
    return [" ".join(filter(None, (one.name, one.account.subject, one.account.models))) for one in told]


ALICES = ["key-tokens k1", "user-requests alice", "user-concurrent alice llama3.3:70b", "team-tokens-day red"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (None, ["everybody-concurrent"]),
        ("carol", ["everybody-concurrent"]),
        ("k1", [*ALICES, "everybody-concurrent"]),
        ("k2", ["key-tokens k2", *ALICES[1:], "everybody-concurrent"]),
        ("alice", [*ALICES, "everybody-concurrent"]),
        (
            "red",
            [
                "key-tokens k1",
                "user-requests alice",
                "user-concurrent alice llama3.3:70b",
                "user-requests bob",
                "user-concurrent bob llama3.3:70b",
                "team-tokens-day red",
                "everybody-concurrent",
            ],
        ),
    ],
)
async def test_every_limit_is_told_that_holds_for_somebodys_live_keys(name: str | None, told: list[str]) -> None:
    assert told == await rows(await peopled(MemoryStore(lambda: MOMENT)), name)


async def test_somebody_whose_keys_are_all_refused_still_has_limits() -> None:
    here = await peopled(MemoryStore(lambda: MOMENT))
    await here.revoke("k1")

    assert ["key-tokens k1", "key-tokens k2"] == (await rows(here, "alice"))[:2]


async def begin(store: MemoryStore, here: Desk, key_id: str) -> Claim:
    """One call of this key's that goes on."""
    key = await here.key(key_id)
    claim = Claim("c1", every(key.caller(PLANS[key.plan])), most_tokens=100)

    assert (await store.reserve(claim)).admitted
    return claim


async def test_what_is_left_is_told() -> None:
    store = MemoryStore(lambda: MOMENT)
    here = await peopled(store)
    await begin(store, here, "k1")
    view = await here.limits("alice")

    assert [(600, 500), (60, 59), (1, 0), (1000, 900), (8, 7)] == [(one.most, one.left) for one in view.standings]
    assert (MOMENT, True) == (view.moment, view.is_live)


@pytest.mark.parametrize(
    ("name", "reset", "left"),
    [
        ("k1", [("key", "k1", "")], [600, 59, 1, 900, 8]),
        ("alice", [("user", "alice", "")], [500, 60, 1, 900, 8]),
        ("red", [("team", "red", "")], [500, 59, 1, 1000, 8]),
    ],
)
async def test_only_what_is_named_is_reset(name: str, reset: list[tuple[str, str, str]], left: list[int]) -> None:
    store = MemoryStore(lambda: MOMENT)
    here = await peopled(store)
    store.settle(await begin(store, here, "k1"), Cost(tokens=100))
    told = await here.reset_limits(name)

    assert reset == [(account.level, account.subject, account.models) for account in told]
    assert left == [one.left for one in (await here.limits("k1")).standings]


async def test_a_reset_reaches_the_accounts_of_keys_that_are_revoked() -> None:
    here = await peopled(MemoryStore(lambda: MOMENT))

    assert ["k2"] == [account.subject for account in await here.reset_limits("k2")]


@pytest.mark.parametrize(
    ("name", "who"), [(None, "everybody"), ("carol", "this user"), ("k4", "this key"), ("k3", "this key")]
)
async def test_where_calls_use_nothing_up_there_is_nothing_to_reset(name: str | None, who: str) -> None:
    here = await peopled(MemoryStore(lambda: MOMENT))
    with pytest.raises(NotDone, match=f"nothing to reset for {who}"):
        await here.reset_limits(name)


async def test_a_name_can_be_told_to_be_a_teams() -> None:
    here = await peopled(MemoryStore(lambda: MOMENT))
    await here.create_key("red")
    with pytest.raises(NotDone, match="--user or --team"):
        await here.reset_limits("red")

    assert [Level.TEAM] == [account.level for account in await here.reset_limits("red", Level.TEAM)]


async def test_the_office_tells_how_the_counting_goes() -> None:
    store = MemoryStore(lambda: MOMENT)
    here = await peopled(store)
    await begin(store, here, "k1")
    status = await here.limits_status()

    assert ("in process", 1, {"refused": 2}) == (status.store, status.under_way, status.counts)
