from dataclasses import replace
from typing import Any

import pytest

from proxy.admin.refusals import NotDone
from proxy.admin.reports import checked
from proxy.auth import Key, Kind, Team, User
from proxy.ledger import Wanted
from proxy.vocabulary import Limits, Plan
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk

KEY = Key("k1", "alice", "default", NOON, team="red")
IDENTITY = replace(KEY, id="i1", kind=Kind.IDENTITY)
PLANS = {"default": Plan("default"), "lab": Plan("lab")}


async def acts(registry: FakeRegistry) -> list[tuple[str, str]]:
    return [(act.name, act.subject) for act in await registry.acts()]


async def test_a_user_is_put_on_record_with_all_that_is_said() -> None:
    registry = FakeRegistry()
    user = await a_desk(registry, plans=PLANS).create_user(" alice ", "red", "lab", "intern", Limits(concurrent=2))
    (act,) = await registry.acts()

    assert User("alice", NOON, "red", "lab", "intern", limits=Limits(concurrent=2)) == user
    assert [user] == await registry.users()
    assert ("user.create", "user:alice") == (act.name, act.subject)
    assert {"team": "red", "plan": "lab", "note": "intern", "concurrent": 2} == act.details


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"user": "\x1b"}, "The user has to be"),
        ({"user": "alice", "team": ""}, "The team has to be"),
        ({"user": "alice", "plan": "gold"}, "There is no plan"),
        ({"user": "alice", "note": "a\nb"}, "The note has to be"),
        ({"user": "alice", "limits": Limits(concurrent=0)}, "at least 1"),
    ],
)
async def test_a_user_that_will_not_do_is_told_why(told: dict[str, Any], why: str) -> None:
    registry = FakeRegistry()
    with pytest.raises(NotDone, match=why):
        await a_desk(registry).create_user(**told)

    assert ([], []) == (await registry.users(), await registry.acts())


async def test_a_name_is_on_record_once() -> None:
    here = a_desk(FakeRegistry(users=[User("alice", NOON)], teams=[Team("red", NOON)]))
    with pytest.raises(NotDone, match="There is a user of that name already: change it with users update"):
        await here.create_user("alice")
    with pytest.raises(NotDone, match="There is a team of that name already: change it with teams update"):
        await here.create_team("red")


async def test_a_user_is_told_with_keys_and_identities() -> None:
    person = await a_desk(FakeRegistry(KEY, IDENTITY, replace(KEY, id="k2", user="bob"))).user(" alice ")

    assert ("alice", (KEY,), (IDENTITY,)) == (person.user.name, person.keys, person.identities)


async def test_of_a_user_that_changes_which_was_told() -> None:
    registry = FakeRegistry(users=[User("alice", NOON, "red", "lab", "intern", limits=Limits(concurrent=2))])
    here = a_desk(registry, plans=PLANS)
    user = await here.update_user("alice", {"plan": None, "note": "staff", "requests_per_minute": 9})
    (act,) = await registry.acts()

    assert ("red", None, "staff", Limits(requests_per_minute=9, concurrent=2)) == (
        user.team, user.plan, user.note, user.limits,
    )  # fmt: skip
    assert {"plan": None, "note": "staff", "requests_per_minute": 9} == act.details
    with pytest.raises(NotDone, match="nothing to change"):
        await here.update_user("alice", {})


async def test_whoever_has_only_keys_is_listed_and_put_on_record_by_a_change() -> None:
    registry = FakeRegistry(KEY)
    here = a_desk(registry)

    assert (["alice"], ["red"]) == ([one.name for one in await here.users()], [one.name for one in await here.teams()])
    assert [] == await registry.users()
    await here.update_user("alice", {"concurrent": 1})
    await here.update_team("red", {"concurrent": 2})
    assert [Limits(concurrent=1)] == [user.limits for user in await registry.users()]
    assert [Limits(concurrent=2)] == [team.limits for team in await registry.teams()]
    assert [
        ("user.create", "user:alice"),
        ("user.update", "user:alice"),
        ("team.create", "team:red"),
        ("team.update", "team:red"),
    ] == await acts(registry)


async def test_a_user_is_suspended_and_resumed_and_each_is_one_act() -> None:
    registry = FakeRegistry(users=[User("alice", NOON)])
    here = a_desk(registry)

    assert NOON == (await here.suspend_user("alice")).suspended_at
    assert NOON == (await here.suspend_user("alice")).suspended_at
    assert None is (await here.resume_user("alice")).suspended_at
    assert None is (await here.resume_user("alice")).suspended_at
    assert [("user.suspend", "user:alice"), ("user.resume", "user:alice")] == await acts(registry)


async def test_a_name_is_the_same_however_its_letters_are_put_together() -> None:
    together, apart = "jos\u00e9", "jose\u0301"
    here = a_desk(FakeRegistry(users=[User(together, NOON)]))

    assert (together, NOON) == ((shown := await here.suspend_user(apart)).name, shown.suspended_at)
    assert together == (await here.user(apart)).user.name
    assert together == (await here.resume_user(apart)).name
    assert [together] == [user.name for user in await here.users()]
    assert ["user.suspend", "user.resume"] == [act.name for act in await here.acts(subject=f"user:{apart}")]
    assert together == checked(Wanted(user=apart)).user


async def test_whoever_is_not_known_can_be_suspended_and_not_resumed() -> None:
    registry = FakeRegistry()
    here = a_desk(registry)
    with pytest.raises(NotDone, match="There is no user bob"):
        await here.resume_user("bob")
    await here.suspend_user("keycloak:bob")

    assert [User("keycloak:bob", NOON, suspended_at=NOON)] == await registry.users()
    assert [("user.create", "user:keycloak:bob"), ("user.suspend", "user:keycloak:bob")] == await acts(registry)
    with pytest.raises(NotDone, match="The user has to be"):
        await here.suspend_user("a\nb")


@pytest.mark.parametrize("shown", ["sk-lg_k1_HUSH_crc", "\x1bHUSH", "HUSH" * 10])
async def test_a_name_that_could_be_a_key_is_not_repeated(shown: str) -> None:
    here = a_desk()
    for ask in (here.user(shown), here.update_user(shown, {"note": "x"}), here.team(shown)):
        with pytest.raises(NotDone) as refused:
            await ask
        assert "HUSH" not in refused.value.message


async def test_a_team_is_told_with_its_users() -> None:
    registry = FakeRegistry(KEY, users=[User("bob", NOON, team="red"), User("eve", NOON)])
    party = await a_desk(registry).team("red")

    assert ("red", ("alice", "bob")) == (party.team.name, party.users)


async def test_a_team_lives_as_a_user_does() -> None:
    registry = FakeRegistry()
    here = a_desk(registry)
    made = await here.create_team("red", "the lab", Limits(concurrent=2))

    assert Team("red", NOON, "the lab", limits=Limits(concurrent=2)) == made
    assert None is (await here.update_team("red", {"note": None, "concurrent": None})).note
    assert NOON == (await here.suspend_team("red")).suspended_at
    assert None is (await here.resume_team("red")).suspended_at
    assert NOON == (await here.suspend_team("blue")).suspended_at
    assert ["team.create", "team.update", "team.suspend", "team.resume", "team.create", "team.suspend"] == [
        name for name, _ in await acts(registry)
    ]
    with pytest.raises(NotDone, match="No team can be called none"):
        await here.create_team("none")
