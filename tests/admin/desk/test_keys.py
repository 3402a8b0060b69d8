from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from proxy.admin.desk import Desk
from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.auth import Act, Holder, Key, Kind, Taken, Team, User
from proxy.vocabulary import Limits, Plan
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import ACTOR, NOON, a_desk

PLANS = {"default": Plan("default"), "lab": Plan("lab")}


def desk(registry: FakeRegistry | None = None) -> Desk:
    return a_desk(registry, plans=PLANS)


async def test_a_key_is_issued_and_put_on_record_without_its_text() -> None:
    registry = FakeRegistry()
    issued = await desk(registry).create_key("alice", "red", "lab", ("Gemma3", "gemma3"), timedelta(days=90), "laptop")
    holder = await registry.find("k1")
    key = holder.key if holder else None

    assert "sk-lg_k1_SECRET1_crc" == issued.secret
    assert key == issued.key
    assert key is not None
    assert ("alice", "red", "lab", ("gemma3",), "laptop") == (key.user, key.team, key.plan, key.models, key.note)
    assert (NOON, NOON + timedelta(days=90)) == (key.created_at, key.expires_at)
    assert (1).to_bytes(32, "big") == key.digest
    assert "SECRET" not in repr(issued)


async def test_a_key_lives_for_ever_and_may_all_of_its_plan_unless_told_otherwise() -> None:
    key = (await desk().create_key(" alice ")).key

    assert ("alice", "default", None, None, None) == (key.user, key.plan, key.team, key.models, key.expires_at)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "a" * 129, "a\u202eb", "\udc80"])
@pytest.mark.parametrize("what", ["user", "team", "note"])
async def test_a_name_that_cannot_be_printed_is_refused(what: str, name: str) -> None:
    registry = FakeRegistry()
    names: dict[str, Any] = {"user": "alice", what: name}
    with pytest.raises(NotDone, match=f"The {what} has to be"):
        await desk(registry).create_key(**names)

    assert [] == await registry.keys()


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


async def test_a_key_is_issued_with_limits_of_its_own() -> None:
    registry = FakeRegistry()
    await desk(registry).create_key("alice", limits=Limits(requests_per_minute=30, concurrent=2))
    holder = await registry.find("k1")
    key = holder.key if holder else None

    assert key is not None
    assert Limits(requests_per_minute=30, concurrent=2) == key.limits


async def test_a_key_with_limits_that_will_not_do_is_not_issued() -> None:
    registry = FakeRegistry()
    with pytest.raises(NotDone):
        await desk(registry).create_key("alice", limits=Limits(concurrent=0))

    assert [] == await registry.keys()


async def test_of_a_keys_own_limits_those_are_changed_that_are_named() -> None:
    here = desk()
    await here.create_key("alice", limits=Limits(requests_per_minute=30, request_burst=5, concurrent=2))
    changed = await here.update_key("sk-lg_k1_SECRET1_crc", {"concurrent": None, "request_burst": 10})

    assert Limits(requests_per_minute=30, request_burst=10) == changed.limits
    assert changed == await here.key("k1")


@pytest.mark.parametrize(
    ("key_id", "changes", "why"),
    [
        ("k1", {}, "nothing to change"),
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


async def acts(registry: FakeRegistry) -> list[tuple[str, str]]:
    return [(act.name, act.subject) for act in await registry.acts()]


async def test_a_new_key_puts_its_user_and_team_on_record_once_with_an_act_each() -> None:
    registry = FakeRegistry()
    here = desk(registry)
    await here.create_key("alice", "red")
    await here.create_key("alice", "red")

    assert [("alice", None, None)] == [(user.name, user.team, user.plan) for user in await registry.users()]
    assert ["red"] == [team.name for team in await registry.teams()]
    assert [
        ("team.create", "team:red"),
        ("user.create", "user:alice"),
        ("key.create", "key:k1"),
        ("key.create", "key:k2"),
    ] == await acts(registry)


async def test_an_act_says_who_from_where_and_what_was_told_and_no_secret() -> None:
    registry = FakeRegistry()
    limits = Limits(requests_per_minute=30)
    await desk(registry).create_key("alice", None, "lab", ("Gemma3",), timedelta(days=90), "laptop", limits)
    _, act = await registry.acts()

    assert (NOON, ACTOR.name, ACTOR.origin) == (act.at, act.actor, act.origin)
    assert {
        "user": "alice",
        "plan": "lab",
        "models": ["gemma3"],
        "expires_at": "2026-05-30T12:00:00Z",
        "note": "laptop",
        "requests_per_minute": 30,
    } == act.details
    assert "SECRET" not in repr(act)


async def test_team_and_plan_are_those_of_the_users_record_where_nothing_else_is_said() -> None:
    here = desk(FakeRegistry(users=[User("alice", NOON, team="red", plan="lab")], teams=[Team("red", NOON)]))
    same = (await here.create_key("alice")).key
    other = (await here.create_key("alice", "blue", "default")).key

    assert ("red", "lab") == (same.team, same.plan)
    assert ("blue", "default") == (other.team, other.plan)


async def test_a_plan_on_record_that_is_not_configured_any_more_is_told() -> None:
    registry = FakeRegistry(users=[User("alice", NOON, plan="gone")])
    with pytest.raises(NotDone, match="There is no plan 'gone'"):
        await desk(registry).create_key("alice")

    assert [] == await registry.keys()


async def test_who_is_put_on_record_by_somebody_else_meanwhile_still_gets_a_key() -> None:
    class Busy(FakeRegistry):
        async def add(self, acts: Sequence[Act], **more: Any) -> None:
            if not await self.users():
                await super().add([replace(acts[0], details={})], users=[User("alice", NOON)])
            await super().add(acts, **more)

    registry = Busy()
    issued = await desk(registry).create_key("alice")

    assert [issued.key] == await registry.keys()
    assert issued.key.id in issued.secret


async def test_where_the_same_is_taken_again_and_again_nothing_is_done() -> None:
    class Stubborn(FakeRegistry):
        async def add(self, acts: Sequence[Act], **more: Any) -> None:
            raise Taken

    with pytest.raises(NotDone, match="try it again"):
        await desk(Stubborn()).create_key("alice")


async def test_no_team_can_have_the_word_for_none() -> None:
    with pytest.raises(NotDone, match="No team can be called none"):
        await desk().create_key("alice", "none")


async def test_everything_that_was_said_of_a_key_can_be_changed_and_taken_away() -> None:
    registry = FakeRegistry()
    here = desk(registry)
    await here.create_key("alice")
    told = {
        "team": "red",
        "plan": "lab",
        "models": ("Gemma3",),
        "lifetime": timedelta(days=1),
        "note": "laptop",
        "concurrent": 2,
    }
    key = await here.update_key("k1", told)

    assert ("red", "lab", ("gemma3",), NOON + timedelta(days=1), "laptop", Limits(concurrent=2)) == (
        key.team, key.plan, key.models, key.expires_at, key.note, key.limits,
    )  # fmt: skip
    key = await here.update_key("k1", dict.fromkeys(("team", "models", "lifetime", "note", "concurrent")))
    assert (None, None, None, None, Limits()) == (key.team, key.models, key.expires_at, key.note, key.limits)
    *_, first, second = await registry.acts()
    assert {
        "team": "red",
        "plan": "lab",
        "models": ["gemma3"],
        "expires_at": "2026-03-02T12:00:00Z",
        "note": "laptop",
        "concurrent": 2,
    } == first.details
    assert dict.fromkeys(("team", "models", "expires_at", "note", "concurrent")) == second.details


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"plan": "gold"}, "There is no plan"),
        ({"plan": None}, "Without a plan no key may do anything"),
        ({"team": "a\nb"}, "The team has to be"),
        ({"team": "none"}, "No team can be called none"),
        ({"note": "\x1b"}, "The note has to be"),
        ({"models": ("no!",)}, "it shouts"),
        ({"models": ()}, "no model"),
        ({"lifetime": timedelta(0)}, "longer than no time"),
    ],
)
async def test_a_change_that_will_not_do_is_told_why_and_is_no_act(told: dict[str, Any], why: str) -> None:
    registry = FakeRegistry(Key("k1", "alice", "lab", NOON))
    with pytest.raises(NotDone, match=why):
        await desk(registry).update_key("k1", told)

    assert [] == await registry.acts()


async def test_a_rotated_key_has_another_secret_and_its_former_one_for_a_while() -> None:
    registry = FakeRegistry()
    here = desk(registry)
    first = await here.create_key("alice", limits=Limits(concurrent=2))
    second = await here.rotate_key("sk-lg_k1_SECRET1_crc", timedelta(hours=1))
    key = second.key

    assert first.key.id == key.id == "k1"
    assert first.secret != second.secret
    assert "SECRET" not in repr(second)
    assert (first.key.digest, NOON + timedelta(hours=1)) == (key.former_digest, key.former_until)
    assert first.key.digest != key.digest
    assert ("key.rotate", "key:k1") == (await acts(registry))[-1]
    assert {"former_until": "2026-03-01T13:00:00Z"} == (await registry.acts())[-1].details


async def test_a_second_rotation_waits_for_the_first_or_ends_it() -> None:
    here = desk()
    await here.create_key("alice")
    second = await here.rotate_key("k1")
    with pytest.raises(NotDone, match=r"works until 2026-03-02 12:00 UTC\..*--now"):
        await here.rotate_key("k1")
    third = await here.rotate_key("k1", at_once=True)

    assert second.key.digest == third.key.former_digest


async def test_an_overlap_of_nothing_ends_the_old_secret_at_once_whatever_the_clock_of_a_gate_says() -> None:
    here = desk()
    await here.create_key("alice")
    rotated = await here.rotate_key("k1", timedelta(0))

    assert rotated.key.former_until is not None
    assert rotated.key.former_until < NOON - timedelta(days=3650)
    assert rotated.key.digest != (await here.rotate_key("k1")).key.digest


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=367)])
async def test_an_overlap_has_bounds(overlap: timedelta) -> None:
    here = desk()
    await here.create_key("alice")
    with pytest.raises(NotDone, match="at most 366 days"):
        await here.rotate_key("k1", overlap)


async def test_of_two_rotations_at_once_one_is_told_that_nothing_was_done() -> None:
    class Busy(FakeRegistry):
        async def rotate(self, key_id: str, old: bytes, new: bytes, until: datetime, act: Act) -> Key | None:
            await super().rotate(key_id, old, b"x" * 32, until, act)
            return await super().rotate(key_id, old, new, until, act)

    here = desk(Busy())
    await here.create_key("alice")
    with pytest.raises(NotDone, match="Somebody else"):
        await here.rotate_key("k1")


async def test_a_key_is_suspended_and_resumed_and_each_is_one_act() -> None:
    registry = FakeRegistry()
    here = desk(registry)
    await here.create_key("alice")

    assert NOON == (await here.suspend_key("k1")).suspended_at
    assert "suspended" == (await here.suspend_key("k1")).state(NOON)
    assert "live" == (await here.resume_key("k1")).state(NOON)
    assert "live" == (await here.resume_key("k1")).state(NOON)
    assert ["key.suspend", "key.resume"] == [name for name, _ in (await acts(registry))[2:]]


async def test_what_is_revoked_stays_so() -> None:
    registry = FakeRegistry()
    here = desk(registry)
    await here.create_key("alice")
    await here.revoke("k1")
    count = len(await registry.acts())
    for change in (
        here.suspend_key("k1"),
        here.resume_key("k1"),
        here.rotate_key("k1"),
        here.update_key("k1", {"note": "x"}),
    ):
        with pytest.raises(NotDone, match="The key k1 is revoked, and that is for good"):
            await change
    await here.revoke("k1")

    assert count == len(await registry.acts())


async def test_keys_that_end_soon_are_told_soonest_first_and_only_live_ones() -> None:
    def key(name: str, days: float | None, **more: Any) -> Key:
        return Key(name, "alice", "lab", NOON, expires_at=None if days is None else NOON + timedelta(days), **more)

    registry = FakeRegistry(
        key("k1", 14), key("k2", 1), key("k3", 14.1), key("k4", None), key("k5", -1), key("k6", 2, revoked_at=NOON)
    )

    assert ["k2", "k1"] == [one.id for one in await desk(registry).expiring_keys(timedelta(days=14))]


async def test_an_identity_is_no_key() -> None:
    here = desk(FakeRegistry(Key("i1", "alice", "lab", NOON, kind=Kind.IDENTITY)))

    assert [] == await here.keys()
    for ask in (here.key("i1"), here.revoke("i1"), here.rotate_key("i1"), here.update_key("i1", {"note": "x"})):
        with pytest.raises(NoSuchKey, match="There is no key i1"):
            await ask


class Strict(FakeRegistry):
    """As a database, it takes nothing that is no text."""

    async def find(self, key_id: str) -> Holder | None:
        key_id.encode()
        return await super().find(key_id)


async def test_what_is_no_text_is_no_key_and_not_looked_for() -> None:
    here, no_text = desk(Strict()), "\udcff"

    for ask in (here.key(no_text), here.revoke(no_text), here.rotate_key(no_text), here.identity(no_text)):
        with pytest.raises(NoSuchKey):
            await ask
