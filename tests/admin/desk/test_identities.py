from datetime import timedelta

import pytest

from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.auth import Key, Kind
from proxy.vocabulary import Limits
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
ID = "i-AAAAC3NzaC1lZDI1NTE5AAAA"
ALICE = Key("i1", "alice", "default", NOON, kind=Kind.IDENTITY)


async def test_an_identity_is_put_on_record_with_its_public_key_and_its_user() -> None:
    registry = FakeRegistry()
    key = await a_desk(registry).add_identity(
        LINE, "alice", "red", None, ("Gemma3",), timedelta(days=1), "laptop", Limits(concurrent=2)
    )

    assert (ID, Kind.IDENTITY, "alice", "red", "default") == (key.id, key.kind, key.user, key.team, key.plan)
    assert (("gemma3",), NOON + timedelta(days=1), "laptop", Limits(concurrent=2)) == (
        key.models, key.expires_at, key.note, key.limits,
    )  # fmt: skip
    assert b"AAAAC3NzaC1lZDI1NTE5AAAA".ljust(32, b".") == key.digest
    assert [("team.create", "team:red"), ("user.create", "user:alice"), ("identity.create", f"identity:{ID}")] == [
        (act.name, act.subject) for act in await registry.acts()
    ]


async def test_what_is_no_public_key_is_told_as_its_reader_says() -> None:
    with pytest.raises(NotDone, match="This is no ssh-ed25519 key"):
        await a_desk().add_identity("ssh-rsa AAAA", "alice")


async def test_the_same_public_key_is_on_record_once() -> None:
    here = a_desk()
    await here.add_identity(LINE, "alice")
    with pytest.raises(NotDone, match=f"on record already, as the identity {ID} of alice"):
        await here.add_identity(LINE, "bob")


async def test_a_revoked_identity_cannot_be_added_again() -> None:
    here = a_desk()
    await here.add_identity(LINE, "alice")
    await here.revoke_identity(LINE)
    with pytest.raises(NotDone, match=f"was the identity {ID} of alice, which is revoked, and that is for good"):
        await here.add_identity(LINE, "alice")


async def test_an_id_that_an_api_key_has_is_told() -> None:
    with pytest.raises(NotDone, match="is that of an API key"):
        await a_desk(FakeRegistry(Key(ID, "alice", "default", NOON))).add_identity(LINE, "alice")


async def test_an_identity_is_found_by_its_id_and_by_its_public_key() -> None:
    here = a_desk(FakeRegistry(ALICE))
    added = await here.add_identity(LINE, "bob")

    assert ALICE == await here.identity(" i1 ")
    assert added == await here.identity(f"{LINE}\n")
    assert [ALICE.id, added.id] == sorted((key.id for key in await here.identities()), key=len)


async def test_an_identity_lives_as_a_key_does() -> None:
    registry = FakeRegistry(ALICE)
    here = a_desk(registry)

    assert "suspended" == (await here.suspend_identity("i1")).state(NOON)
    assert "live" == (await here.resume_identity("i1")).state(NOON)
    assert "laptop" == (await here.update_identity("i1", {"note": "laptop"})).note
    assert "revoked" == (await here.revoke_identity("i1")).state(NOON)
    assert ["identity.suspend", "identity.resume", "identity.update", "identity.revoke"] == [
        act.name for act in await registry.acts()
    ]
    with pytest.raises(NotDone, match="The identity i1 is revoked, and that is for good"):
        await here.resume_identity("i1")


async def test_an_identity_needs_a_plan() -> None:
    with pytest.raises(NotDone, match="Without a plan no identity"):
        await a_desk(FakeRegistry(ALICE)).update_identity("i1", {"plan": None})


async def test_a_key_is_no_identity() -> None:
    here = a_desk(FakeRegistry(Key("k1", "alice", "default", NOON)))

    assert [] == await here.identities()
    for ask in (here.identity("k1"), here.revoke_identity("k1"), here.suspend_identity("k1")):
        with pytest.raises(NoSuchKey, match="There is no identity k1"):
            await ask


async def test_what_does_not_look_like_an_id_is_not_repeated() -> None:
    with pytest.raises(NoSuchKey) as refused:
        await a_desk().identity("sk-lg_HUSH_HUSH_HUSH")

    assert "There is no such identity." == refused.value.message
