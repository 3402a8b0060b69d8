from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import trustme

from proxy.admin.desk import Desk
from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.auth import Key, Kind
from proxy.auth.certificates import of_client
from proxy.vocabulary import Limits
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk

YEAR = timedelta(days=365)
CA = trustme.CA()


def issued(since: datetime = NOON - YEAR, until: datetime = NOON + YEAR) -> str:
    return CA.issue_cert("alice@example.org", not_before=since, not_after=until).cert_chain_pems[0].bytes().decode()


PEM = issued()
READ = of_client(PEM)
ALICE = Key("c1", "alice", "default", NOON, kind=Kind.CERTIFICATE)


async def test_a_certificate_is_put_on_record_with_its_digest_and_its_user() -> None:
    registry = FakeRegistry()
    key = await a_desk(registry).add_certificate(
        PEM, "alice", "red", None, ("Gemma3",), timedelta(days=1), "laptop", Limits(concurrent=2)
    )

    assert (READ.key_id, Kind.CERTIFICATE, "alice", "red", "default") == (
        key.id, key.kind, key.user, key.team, key.plan,
    )  # fmt: skip
    assert (("gemma3",), NOON + timedelta(days=1), "laptop", Limits(concurrent=2)) == (
        key.models, key.expires_at, key.note, key.limits,
    )  # fmt: skip
    assert READ.digest == key.digest
    assert [
        ("team.create", "team:red"),
        ("user.create", "user:alice"),
        ("certificate.create", f"certificate:{key.id}"),
    ] == [(act.name, act.subject) for act in await registry.acts()]


@pytest.mark.parametrize("lifetime", [None, 2 * YEAR])
async def test_it_ends_with_the_certificate_at_the_latest(lifetime: timedelta | None) -> None:
    key = await a_desk().add_certificate(PEM, "alice", lifetime=lifetime)

    assert READ.until == key.expires_at


async def test_one_that_has_ended_is_refused() -> None:
    with pytest.raises(NotDone, match="has ended, on 2026-02-01 12:00 UTC"):
        await a_desk().add_certificate(issued(until=NOON - timedelta(days=28)), "alice")


async def test_what_is_no_certificate_is_told_as_its_reader_says() -> None:
    with pytest.raises(NotDone, match="no certificate in PEM"):
        await a_desk().add_certificate("ssh-ed25519 AAAA", "alice")


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1)])
async def test_a_lifetime_has_to_be_one(lifetime: timedelta) -> None:
    with pytest.raises(NotDone, match="live longer"):
        await a_desk().add_certificate(PEM, "alice", lifetime=lifetime)


async def test_the_same_certificate_is_on_record_once() -> None:
    here = a_desk()
    await here.add_certificate(PEM, "alice")
    with pytest.raises(NotDone, match=f"on record already, as {READ.key_id} of alice"):
        await here.add_certificate(PEM, "bob")


async def test_a_revoked_certificate_cannot_be_added_again() -> None:
    here = a_desk()
    await here.add_certificate(PEM, "alice")
    await here.revoke_certificate(PEM)
    with pytest.raises(NotDone, match=f"was the certificate {READ.key_id} of alice, which is revoked, and that is for"):
        await here.add_certificate(PEM, "alice")


async def test_an_id_that_something_else_has_is_told() -> None:
    registry = FakeRegistry(replace(ALICE, id=READ.key_id, kind=Kind.API_KEY))
    with pytest.raises(NotDone, match="is taken by something else"):
        await a_desk(registry).add_certificate(PEM, "alice")


async def test_a_certificate_is_found_by_its_id_and_by_itself() -> None:
    here = a_desk(FakeRegistry(ALICE))
    added = await here.add_certificate(PEM, "bob")

    assert ALICE == await here.certificate(" c1 ")
    assert added == await here.certificate(f"\n{PEM}")
    assert {ALICE.id, added.id} == {key.id for key in await here.certificates()}


async def test_a_certificate_lives_as_a_key_does() -> None:
    registry = FakeRegistry(ALICE)
    here = a_desk(registry)

    assert "suspended" == (await here.suspend_certificate("c1")).state(NOON)
    assert "live" == (await here.resume_certificate("c1")).state(NOON)
    assert "laptop" == (await here.update_certificate("c1", {"note": "laptop"})).note
    assert "revoked" == (await here.revoke_certificate("c1")).state(NOON)
    assert ["certificate.suspend", "certificate.resume", "certificate.update", "certificate.revoke"] == [
        act.name for act in await registry.acts()
    ]
    with pytest.raises(NotDone, match="The certificate c1 is revoked, and that is for good"):
        await here.resume_certificate("c1")


async def test_a_certificate_needs_a_plan() -> None:
    with pytest.raises(NotDone, match="Without a plan no certificate"):
        await a_desk(FakeRegistry(ALICE)).update_certificate("c1", {"plan": None})


@pytest.mark.parametrize("kind", [Kind.API_KEY, Kind.IDENTITY])
async def test_nothing_else_is_a_certificate_nor_a_certificate_anything_else(kind: Kind) -> None:
    here = a_desk(FakeRegistry(replace(ALICE, id="k1", kind=kind), ALICE))

    assert [ALICE] == await here.certificates()
    for act in (Desk.certificate, Desk.revoke_certificate, Desk.suspend_certificate, Desk.resume_certificate):
        with pytest.raises(NoSuchKey, match="There is no certificate k1"):
            await act(here, "k1")
    with pytest.raises(NoSuchKey):
        await here.revoke("c1")
    with pytest.raises(NoSuchKey):
        await here.revoke_identity("c1")


async def test_a_user_is_told_with_their_certificates() -> None:
    person = await a_desk(FakeRegistry(ALICE, replace(ALICE, id="k1", kind=Kind.API_KEY))).user("alice")

    assert (("k1",), (), ("c1",)) == tuple(
        tuple(key.id for key in keys) for keys in (person.keys, person.identities, person.certificates)
    )
