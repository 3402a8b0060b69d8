import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from proxy.auth import Act, Denial, Holder, Key, Kind, Registry, Taken, Team, User
from proxy.auth.sql import SqlRegistry
from proxy.errors import GateError
from proxy.vocabulary import Limits
from tests.fakes.databases import KINDS, NewEngine
from tests.fakes.keys import FakeRegistry


class NotAllowed(GateError):
    pass


NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
HOUR = timedelta(hours=1)
THERE = timezone(timedelta(hours=-7))
LIMITS = Limits(30, 10, 20_000, 5_000, 2, 10**12, 10**12 - 1, 0.1)

PLAIN = Key(id="k1", user="alice", plan="default", created_at=NOON, digest=bytes(range(32)))
FULL = Key(
    id="k1",
    user="alice",
    plan="default",
    created_at=NOON,
    kind=Kind.IDENTITY,
    team="lab",
    models=("llama3.2:*", "hf.co/*"),
    expires_at=NOON + HOUR,
    suspended_at=NOON + 2 * HOUR,
    revoked_at=NOON + 3 * HOUR,
    note="käse 🧀",
    limits=LIMITS,
    digest=bytes(range(224, 256)),
    former_digest=bytes(range(100, 132)),
    former_until=NOON + 4 * HOUR,
    last_used_at=NOON + 5 * HOUR,
    former_used_at=NOON + 6 * HOUR,
)
ALICE = User("alice", NOON, "lab", "default", "käse 🧀", NOON + HOUR, LIMITS)
LAB = Team("lab", NOON, "käse 🧀", NOON + HOUR, LIMITS)
DENIAL = Denial("keycloak", "jti", "a-b-c", NOON, "lost laptop")
ACT = Act(NOON, "root", "box (pts/0)", "key.create", "key:k1", {"plan": "default", "models": ["a", "b"], "n": None})


@pytest.fixture(params=["fake", *KINDS])
async def registry(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[Registry]:
    if request.param == "fake":
        yield FakeRegistry()
        return
    async with new_engine(request.param) as engine:
        yield SqlRegistry(engine)


def told(key: Key | None) -> dict[str, Any]:
    """Also what is not compared."""
    assert key is not None
    return {one.name: getattr(key, one.name) for one in fields(key)}


async def named(registry: Registry) -> list[str]:
    """The acts, by their names, once their numbers are sure to have no gap."""
    acts = await registry.acts()
    assert list(range(1, len(acts) + 1)) == [act.number for act in acts]
    assert len(acts) == await registry.newest_act()
    return [act.name for act in acts]


def act(name: str) -> Act:
    return replace(ACT, name=name)


# Keys, users and teams.


@pytest.mark.parametrize("key", [PLAIN, FULL, replace(PLAIN, models=())], ids=["plain", "full", "no models"])
async def test_a_key_is_found_as_it_was_put_on_record(registry: Registry, key: Key) -> None:
    await registry.add([ACT], keys=[key])
    found = await registry.find("k1")

    assert Holder(key) == found
    assert told(key) == told(found.key) == told((await registry.keys())[0])


@pytest.mark.parametrize("key_id", ["k2", "K1", "k1 ", "k_", "%", "", "k1' OR '1'='1"])
async def test_a_key_is_found_by_exactly_its_id(registry: Registry, key_id: str) -> None:
    await registry.add([ACT], keys=[PLAIN])

    assert await registry.find(key_id) is None
    assert await registry.revoke(key_id, NOON, ACT) is None
    assert await registry.update_key(key_id, lambda _: {"note": "x"}, ACT) is None
    assert await registry.rotate(key_id, PLAIN.digest, FULL.digest, NOON, ACT) is None
    assert [PLAIN] == await registry.keys()
    assert ["key.create"] == await named(registry)


async def test_a_key_is_found_with_whose_it_is(registry: Registry) -> None:
    await registry.add([ACT], keys=[FULL], users=[ALICE, replace(ALICE, name="bob")], teams=[LAB])

    assert Holder(FULL, ALICE, LAB) == await registry.find("k1")


async def test_the_team_of_a_key_is_the_one_that_the_key_names(registry: Registry) -> None:
    own, other = replace(FULL, id="k2", team="other"), replace(FULL, id="k3", team=None)
    await registry.add([ACT], keys=[own, other], users=[ALICE], teams=[LAB, replace(LAB, name="other")])

    assert Holder(own, ALICE, replace(LAB, name="other")) == await registry.find("k2")
    assert Holder(other, ALICE) == await registry.find("k3")


async def test_who_has_only_a_user_or_only_a_team_on_record_is_found_with_that(registry: Registry) -> None:
    await registry.add([ACT], keys=[FULL, replace(FULL, id="k2", user="bob")], teams=[LAB])
    await registry.add([ACT], keys=[replace(FULL, id="k3", team="gone")], users=[ALICE])

    assert Holder(replace(FULL, id="k2", user="bob"), None, LAB) == await registry.find("k2")
    assert Holder(replace(FULL, id="k3", team="gone"), ALICE) == await registry.find("k3")


@pytest.mark.parametrize(
    ("user", "team", "expected"),
    [
        ("alice", None, (ALICE, LAB)),
        ("alice", "other", (ALICE, replace(LAB, name="other"))),
        ("alice", "nowhere", (ALICE, None)),
        ("alone", None, (replace(ALICE, name="alone", team=None), None)),
        ("alone", "lab", (replace(ALICE, name="alone", team=None), LAB)),
        ("nobody", None, (None, None)),
        ("nobody", "lab", (None, LAB)),
        ("Alice", None, (None, None)),
        ("alic_", "la%", (None, None)),
    ],
)
async def test_a_name_belongs_to_its_user_and_to_the_team_that_was_told_or_is_the_users_own(
    registry: Registry, user: str, team: str | None, expected: tuple[User | None, Team | None]
) -> None:
    alone = replace(ALICE, name="alone", team=None)
    await registry.add([ACT], users=[ALICE, alone], teams=[LAB, replace(LAB, name="other")])

    assert expected == await registry.belonging(user, team)


async def test_times_come_back_in_utc_whatever_zone_they_were_told_in(registry: Registry) -> None:
    def moved(noun: Any) -> Any:
        times = {one.name: getattr(noun, one.name) for one in fields(noun)}
        there = {name: at.astimezone(THERE) for name, at in times.items() if isinstance(at, datetime)}
        return replace(noun, **there)

    await registry.add([moved(ACT)], keys=[moved(FULL)], users=[moved(ALICE)], teams=[moved(LAB)])
    await registry.deny(moved(DENIAL), moved(ACT))
    changed = await registry.update_key("k1", lambda _: {"expires_at": (NOON + 9 * HOUR).astimezone(THERE)}, ACT)
    await registry.used({("k1", True): (NOON + 10 * HOUR).astimezone(THERE)})
    holder = await registry.find("k1")

    assert holder is not None
    assert replace(FULL, expires_at=NOON + 9 * HOUR) == changed == holder.key
    assert (ALICE, LAB, [DENIAL]) == (holder.user, holder.team, await registry.denials())
    nouns = [holder.key, holder.user, holder.team, *await registry.denials(), *await registry.acts()]
    times = [getattr(noun, one.name) for noun in nouns for one in fields(noun)]  # type: ignore[arg-type]
    assert {UTC} == {at.tzinfo for at in times if isinstance(at, datetime)}


async def test_all_keys_are_told_oldest_first_whatever_their_state(registry: Registry) -> None:
    for key_id, hours in (("b", 2), ("c", 1), ("a", 3), ("0", 3)):
        await registry.add([ACT], keys=[replace(PLAIN, id=key_id, created_at=NOON + hours * HOUR, expires_at=NOON)])
    await registry.revoke("c", NOON, ACT)

    assert ["c", "b", "0", "a"] == [key.id for key in await registry.keys()]


async def test_users_and_teams_are_told_by_name(registry: Registry) -> None:
    names = ["bob", "Zoë", "alice"]
    await registry.add(
        [ACT],
        users=[replace(ALICE, name=name) for name in names],
        teams=[Team(name, NOON) for name in names],
    )

    assert [replace(ALICE, name=name) for name in ("Zoë", "alice", "bob")] == await registry.users()
    assert [Team(name, NOON) for name in ("Zoë", "alice", "bob")] == await registry.teams()


async def test_in_an_empty_registry_there_is_nothing(registry: Registry) -> None:
    assert [[], [], [], [], []] == [
        await registry.keys(),
        await registry.users(),
        await registry.teams(),
        await registry.denials(),
        await registry.acts(),
    ]
    assert 0 == await registry.newest_act()


# Adding.


@pytest.mark.parametrize(
    "more",
    [
        {"keys": [replace(PLAIN, id="k2"), replace(PLAIN, user="mallory")]},
        {"users": [replace(ALICE, plan="other")], "keys": [replace(PLAIN, id="k2")]},
        {"teams": [replace(LAB, note="other")], "users": [replace(ALICE, name="bob")]},
        {"keys": [replace(PLAIN, id="k2"), replace(PLAIN, id="k3"), replace(PLAIN, id="k2")]},
        {"users": [User("bob", NOON), User("bob", NOON)]},
        {"teams": [Team("a", NOON), Team("a", NOON)]},
    ],
    ids=["key", "user", "team", "key twice", "user twice", "team twice"],
)
async def test_what_is_taken_is_refused_and_nothing_is_changed(registry: Registry, more: dict[str, Any]) -> None:
    await registry.add([ACT], keys=[PLAIN], users=[ALICE], teams=[LAB])
    with pytest.raises(Taken):
        await registry.add([act("other")], **more)

    assert [PLAIN] == await registry.keys()
    assert ([ALICE], [LAB]) == (await registry.users(), await registry.teams())
    assert ["key.create"] == await named(registry)


async def test_a_key_a_user_and_a_team_can_have_the_same_name(registry: Registry) -> None:
    await registry.add([ACT], keys=[replace(PLAIN, id="x")], users=[User("x", NOON)], teams=[Team("x", NOON)])

    assert 1 == len(await registry.keys()) == len(await registry.users()) == len(await registry.teams())


async def test_many_are_put_on_record_at_once_with_an_act_each(registry: Registry) -> None:
    names = [f"user{number:04}" for number in range(1201)]
    acts = [replace(ACT, name="user.create", subject=f"user:{name}") for name in names]
    await registry.add(acts, users=[User(name, NOON) for name in names])
    with pytest.raises(Taken):
        await registry.add(acts, users=[User(name, NOON) for name in ["new", *names[600:]]])

    assert names == [user.name for user in await registry.users()]
    assert [f"user:{name}" for name in names] == [act.subject for act in await registry.acts()]
    assert 1201 == await registry.newest_act()


async def test_what_was_decided_before_the_newest_act_is_not_put_on_record(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN], after=0)
    await registry.add([act("second")], users=[ALICE], after=1)
    for after in (0, 1, 3):
        with pytest.raises(Taken):
            await registry.add([act("other")], teams=[LAB], after=after)

    assert ([PLAIN], [ALICE], []) == (await registry.keys(), await registry.users(), await registry.teams())
    assert ["key.create", "second"] == await named(registry)


# Changing.


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": Limits(requests_per_minute=1)},
        {"limits": Limits(gpu_seconds_per_day=1 / 3)},
        {"limits": Limits()},
        {"models": None, "note": None, "expires_at": None, "team": None},
        {"models": ()},
        {"models": ("a", "b"), "plan": "other", "user": "bob", "kind": Kind.API_KEY},
        {"suspended_at": None, "revoked_at": None},
        {"suspended_at": NOON + 7 * HOUR, "former_until": NOON + 7 * HOUR},
        {"digest": b"x" * 32, "former_digest": None, "former_used_at": None, "last_used_at": None},
    ],
    ids=", ".join,
)
async def test_a_key_is_changed_in_what_is_told_and_in_nothing_else(
    registry: Registry, changes: dict[str, Any]
) -> None:
    await registry.add([ACT], keys=[FULL, replace(FULL, id="k2")])
    changed = await registry.update_key("k1", lambda _: changes, act("key.update"))
    holder, other = await registry.find("k1"), await registry.find("k2")

    assert holder is not None
    assert other is not None
    assert told(replace(FULL, **changes)) == told(changed) == told(holder.key)
    assert told(replace(FULL, id="k2")) == told(other.key)
    assert ["key.create", "key.update"] == await named(registry)


async def test_a_user_is_changed_in_what_is_told_and_in_nothing_else(registry: Registry) -> None:
    bob = replace(ALICE, name="bob")
    await registry.add([ACT], users=[ALICE, bob], teams=[replace(LAB, name="alice")])
    changes = {"team": None, "plan": "other", "suspended_at": None, "limits": Limits(1), "note": "n"}

    assert replace(ALICE, **changes) == await registry.update_user("alice", lambda _: changes, act("user.update"))  # type: ignore[arg-type]
    assert [replace(ALICE, **changes), bob] == await registry.users()  # type: ignore[arg-type]
    assert [replace(LAB, name="alice")] == await registry.teams()
    assert await registry.update_user("Alice", lambda _: changes, act("user.update")) is None
    assert ["key.create", "user.update"] == await named(registry)


async def test_a_team_is_changed_in_what_is_told_and_in_nothing_else(registry: Registry) -> None:
    other = replace(LAB, name="other")
    await registry.add([ACT], teams=[LAB, other])
    changes = {"suspended_at": NOON + 2 * HOUR, "limits": Limits(1), "note": None}

    assert replace(LAB, **changes) == await registry.update_team("lab", lambda _: changes, act("team.update"))  # type: ignore[arg-type]
    assert [replace(LAB, **changes), other] == await registry.teams()  # type: ignore[arg-type]
    assert await registry.update_team("labs", lambda _: changes, act("team.update")) is None
    assert ["key.create", "team.update"] == await named(registry)


@pytest.mark.parametrize("field", ["colour", "id", "name", "requests_per_minute", ""])
async def test_a_field_that_cannot_be_changed_is_a_programming_error(registry: Registry, field: str) -> None:
    await registry.add([ACT], keys=[PLAIN], users=[ALICE], teams=[LAB])
    for update, name in ((registry.update_key, "k1"), (registry.update_user, "alice"), (registry.update_team, "lab")):
        with pytest.raises(KeyError):
            await update(name, lambda _: {"note": "x", field: "x"}, ACT)

    assert ([PLAIN], [ALICE], [LAB]) == (await registry.keys(), await registry.users(), await registry.teams())
    assert ["key.create"] == await named(registry)


async def test_a_change_to_nothing_is_no_act(registry: Registry) -> None:
    await registry.add([ACT], keys=[FULL], users=[ALICE], teams=[LAB])

    assert told(FULL) == told(await registry.update_key("k1", lambda _: {}, act("key.update")))
    assert ALICE == await registry.update_user("alice", lambda _: {}, act("user.update"))
    assert LAB == await registry.update_team("lab", lambda _: {}, act("team.update"))
    assert ([FULL], [ALICE], [LAB]) == (await registry.keys(), await registry.users(), await registry.teams())
    assert ["key.create"] == await named(registry)


async def test_whoever_changes_something_sees_it_as_it_is_on_record_and_may_refuse(registry: Registry) -> None:
    seen: list[Key | User | Team] = []

    def refuse(record: Key | User | Team) -> dict[str, Any]:
        seen.append(record)
        raise NotAllowed

    await registry.add([ACT], keys=[FULL], users=[ALICE], teams=[LAB])
    for asked in (
        registry.update_key("k1", refuse, ACT),
        registry.update_user("alice", refuse, ACT),
        registry.update_team("lab", refuse, ACT),
        registry.update_team("labs", refuse, ACT),
    ):
        with suppress(NotAllowed):
            assert await asked is None

    assert [FULL, ALICE, LAB] == seen
    assert ([FULL], [ALICE], [LAB]) == (await registry.keys(), await registry.users(), await registry.teams())
    assert ["key.create"] == await named(registry)


async def test_of_many_who_change_one_limit_each_at_once_none_is_lost(registry: Registry) -> None:
    def one(name: str) -> Callable[[Key | User | Team], dict[str, Any]]:
        return lambda record: {"limits": replace(record.limits, **{name: getattr(LIMITS, name)})}

    await registry.add([ACT], keys=[PLAIN], users=[User("alice", NOON)], teams=[Team("lab", NOON)])
    names = [one.name for one in fields(Limits)]
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(registry.update_key("k1", one(name), act(f"key {name}")) for name in names),
            *(registry.update_user("alice", one(name), act(f"user {name}")) for name in names),
            *(registry.update_team("lab", one(name), act(f"team {name}")) for name in names),
        )

    assert [replace(PLAIN, limits=LIMITS)] == await registry.keys()
    assert [User("alice", NOON, limits=LIMITS)] == await registry.users()
    assert [Team("lab", NOON, limits=LIMITS)] == await registry.teams()
    assert sorted(f"{noun} {name}" for noun in ("key", "user", "team") for name in names) == sorted(
        (await named(registry))[1:]
    )


async def test_a_revoked_key_stays_revoked_from_the_first_time(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN, replace(PLAIN, id="k2")])
    first = await registry.revoke("k1", NOON + HOUR, act("key.revoke"))
    again = await registry.revoke("k1", NOON + 2 * HOUR, act("key.revoke"))

    assert replace(PLAIN, revoked_at=NOON + HOUR) == first == again
    assert [replace(PLAIN, revoked_at=NOON + HOUR), replace(PLAIN, id="k2")] == await registry.keys()
    assert ["key.create", "key.revoke"] == await named(registry)


async def test_a_revoked_key_can_be_given_other_limits_and_stays_revoked(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN])
    await registry.revoke("k1", NOON + HOUR, ACT)
    changed = await registry.update_key("k1", lambda _: {"limits": Limits(1)}, ACT)

    assert replace(PLAIN, limits=Limits(1), revoked_at=NOON + HOUR) == changed


# Rotating.

NEW, NEWER = b"n" * 32, b"m" * 32


async def test_a_rotated_key_has_its_new_secret_and_for_a_while_the_old_one(registry: Registry) -> None:
    key = replace(FULL, revoked_at=None)
    await registry.add([ACT], keys=[key, replace(key, id="k2")])
    rotated = await registry.rotate("k1", FULL.digest, NEW, NOON + HOUR, act("key.rotate"))
    expected = replace(
        key, digest=NEW, former_digest=FULL.digest, former_until=NOON + HOUR, former_used_at=None
    )  # Whatever secret was there before those is forgotten.

    assert told(expected) == told(rotated)
    assert [told(expected), told(replace(key, id="k2"))] == [told(one) for one in await registry.keys()]
    assert ["key.create", "key.rotate"] == await named(registry)


async def test_only_the_last_secret_but_one_works_beside_the_last(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN])
    await registry.rotate("k1", PLAIN.digest, NEW, NOON + HOUR, ACT)
    rotated = await registry.rotate("k1", NEW, NEWER, NOON + 2 * HOUR, ACT)

    assert told(replace(PLAIN, digest=NEWER, former_digest=NEW, former_until=NOON + 2 * HOUR)) == told(rotated)


async def test_of_two_who_rotate_the_same_secret_the_second_is_told_that_it_is_gone(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN])
    await registry.rotate("k1", PLAIN.digest, NEW, NOON + HOUR, act("key.rotate"))

    assert await registry.rotate("k1", PLAIN.digest, NEWER, NOON + HOUR, act("key.rotate")) is None
    assert NEW == (await registry.keys())[0].digest
    assert ["key.create", "key.rotate"] == await named(registry)


async def test_a_revoked_key_is_not_rotated(registry: Registry) -> None:
    await registry.add([ACT], keys=[replace(PLAIN, revoked_at=NOON)])

    assert await registry.rotate("k1", PLAIN.digest, NEW, NOON + HOUR, act("key.rotate")) is None
    assert PLAIN.digest == (await registry.keys())[0].digest
    assert ["key.create"] == await named(registry)


# When keys were used.


async def test_a_key_tells_when_it_was_last_used_and_nothing_else_of_it_changes(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN, replace(FULL, id="k2"), replace(PLAIN, id="k3")])
    await registry.used({("k1", False): NOON + HOUR, ("gone", False): NOON, ("k2", False): NOON + 8 * HOUR})

    first, other, unused = await registry.keys()
    assert told(replace(PLAIN, last_used_at=NOON + HOUR)) == told(first)
    assert told(replace(FULL, id="k2", last_used_at=NOON + 8 * HOUR)) == told(other)
    assert told(replace(PLAIN, id="k3")) == told(unused)
    assert ["key.create"] == await named(registry)


async def test_a_use_of_the_former_secret_is_a_use_of_the_key_too(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN, replace(PLAIN, id="k2")])
    await registry.used({("k1", True): NOON + HOUR, ("gone", True): NOON})
    await registry.used({("k2", True): NOON + HOUR, ("k2", False): NOON + 2 * HOUR})

    assert [(NOON + HOUR, NOON + HOUR), (NOON + 2 * HOUR, NOON + HOUR)] == [
        (key.last_used_at, key.former_used_at) for key in await registry.keys()
    ]


async def test_the_time_of_the_last_use_never_becomes_earlier(registry: Registry) -> None:
    await registry.add([ACT], keys=[PLAIN])
    await registry.used({("k1", True): NOON + 2 * HOUR, ("k1", False): NOON + 3 * HOUR})
    await registry.used({("k1", True): NOON + HOUR, ("k1", False): (NOON + 2 * HOUR).astimezone(THERE)})
    await registry.used({})

    (key,) = await registry.keys()
    assert (NOON + 3 * HOUR, NOON + 2 * HOUR) == (key.last_used_at, key.former_used_at)


# Tokens that are refused.


async def test_denials_are_told_oldest_first(registry: Registry) -> None:
    later, plain = replace(DENIAL, value="A-b-c", at=NOON + HOUR), Denial("google", "sub", "x" * 255, NOON - HOUR)
    for one in (later, DENIAL, plain):
        await registry.deny(one, act("token.deny"))

    assert [plain, DENIAL, later] == await registry.denials()
    assert ["token.deny"] * 3 == await named(registry)


async def test_what_is_denied_already_stays_as_it_is(registry: Registry) -> None:
    await registry.deny(DENIAL, act("token.deny"))
    await registry.deny(replace(DENIAL, at=NOON + HOUR, note="again"), act("token.deny"))

    assert [DENIAL] == await registry.denials()
    assert ["token.deny"] == await named(registry)


async def test_exactly_what_was_denied_can_be_allowed_again_once(registry: Registry) -> None:
    await registry.deny(DENIAL, act("token.deny"))
    for near in (("Keycloak", "jti", "a-b-c"), ("keycloak", "sub", "a-b-c"), ("keycloak", "jti", "a-b-_")):
        assert not await registry.allow(*near, act("token.allow"))
    assert [DENIAL] == await registry.denials()
    assert await registry.allow("keycloak", "jti", "a-b-c", act("token.allow"))
    assert not await registry.allow("keycloak", "jti", "a-b-c", act("token.allow"))

    assert [] == await registry.denials()
    assert ["token.deny", "token.allow"] == await named(registry)


# The trail.


async def test_an_act_is_told_as_it_was_recorded_with_its_number(registry: Registry) -> None:
    acts = [
        replace(ACT, subject="", details={}),
        replace(ACT, details={"käse": "🧀\x00\n", "deep": {"a": [1, 0.5, True]}}),
    ]
    await registry.record(ACT)
    await registry.add(acts)

    expected = [replace(act, number=number) for number, act in enumerate([ACT, *acts], 1)]
    assert expected == await registry.acts()
    assert [json.dumps(dict(act.details)) for act in expected] == [
        json.dumps(dict(act.details)) for act in await registry.acts()
    ]


async def test_the_trail_is_told_from_any_place_and_of_its_end(registry: Registry) -> None:
    async def numbers(after: int = 0, last: int | None = None) -> list[int]:
        return [act.number for act in await registry.acts(after, last=last)]

    for _ in range(5):
        await registry.record(replace(ACT, number=77))

    assert [1, 2, 3, 4, 5] == await numbers()
    assert [4, 5] == await numbers(3)
    assert [] == await numbers(5)
    assert [] == await numbers(99)
    assert [4, 5] == await numbers(last=2)
    assert [5] == await numbers(4, last=2)
    assert [1, 2, 3, 4, 5] == await numbers(last=9)
    assert [] == await numbers(last=0)
    assert 5 == await registry.newest_act()


Doing = Callable[[Registry, Act], Coroutine[Any, Any, object]]

CHANGES: dict[str, Doing] = {
    "add": lambda registry, act: registry.add([act], keys=[replace(PLAIN, id="k2")]),
    "update_key": lambda registry, act: registry.update_key("k1", lambda _: {"note": "x"}, act),
    "update_user": lambda registry, act: registry.update_user("alice", lambda _: {"note": "x"}, act),
    "update_team": lambda registry, act: registry.update_team("lab", lambda _: {"note": "x"}, act),
    "revoke": lambda registry, act: registry.revoke("k1", NOON, act),
    "rotate": lambda registry, act: registry.rotate("k1", PLAIN.digest, NEW, NOON, act),
    "deny": lambda registry, act: registry.deny(replace(DENIAL, value="x"), act),
    "allow": lambda registry, act: registry.allow("keycloak", "jti", "a-b-c", act),
}


async def everything(registry: Registry) -> list[object]:
    keys = [told(key) for key in await registry.keys()]
    return [keys, await registry.users(), await registry.teams(), await registry.denials(), await registry.acts()]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_and_its_act_are_there_together_or_not_at_all(registry: Registry, change: str) -> None:
    await registry.add([ACT], keys=[PLAIN], users=[ALICE], teams=[LAB])
    await registry.deny(DENIAL, ACT)
    before = await everything(registry)
    with pytest.raises(TypeError):  # Bytes are no JSON value.
        await CHANGES[change](registry, replace(ACT, details={"secret": b"x"}))
    assert before == await everything(registry)
    await CHANGES[change](registry, act("done"))

    after = await everything(registry)
    assert before[:4] != after[:4]
    assert ["key.create", "key.create", "done"] == await named(registry)
