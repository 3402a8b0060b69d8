from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from proxy.admin.importing import Mistaken, rows
from proxy.admin.refusals import NotDone
from proxy.auth import Act, Key, Kind, Taken, Team, User
from proxy.errors import StorageFailed
from proxy.vocabulary import Limits, Plan
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk

PLANS = {"default": Plan("default"), "lab": Plan("lab")}
TABLE = b"user,team,plan,expires,rpm\nalice,red,lab,90d,30\nbob,,,,\n"


class Drawer:
    """Where secrets are kept."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def keep(self, user: str, secret: str) -> str:
        self.kept[user] = secret
        return f"keys/{user}.env"


async def test_every_row_is_a_key_with_its_user_and_its_secret_is_kept() -> None:
    registry, drawer = FakeRegistry(), Drawer()
    done = await a_desk(registry, plans=PLANS).import_users(rows(TABLE), "staff.csv", drawer.keep)
    alice, bob = (one.key for one in done)

    assert {"alice": "sk-lg_k1_SECRET1_crc", "bob": "sk-lg_k2_SECRET2_crc"} == drawer.kept
    assert ["keys/alice.env", "keys/bob.env"] == [one.file for one in done]
    assert ("k1", "red", "lab", NOON + timedelta(days=90), Limits(requests_per_minute=30)) == (
        alice.id, alice.team, alice.plan, alice.expires_at, alice.limits,
    )  # fmt: skip
    assert ("k2", None, "default", None) == (bob.id, bob.team, bob.plan, bob.expires_at)
    assert [alice, bob] == await registry.keys()
    assert [User("alice", NOON, "red", "lab"), User("bob", NOON)] == await registry.users()
    assert [Team("red", NOON)] == await registry.teams()


async def test_every_act_of_an_import_names_the_file_and_no_secret() -> None:
    registry = FakeRegistry()
    await a_desk(registry, plans=PLANS).import_users(rows(TABLE), "staff.csv", Drawer().keep)
    acts = await registry.acts()

    assert ["team.create", "user.create", "user.create", "key.create", "key.create"] == [act.name for act in acts]
    assert {"staff.csv"} == {act.details["import"] for act in acts}
    assert "SECRET" not in repr(acts)


async def test_all_that_is_wrong_is_told_by_its_line_and_nothing_is_done() -> None:
    registry = FakeRegistry(Key("k0", "carol", "lab", NOON), users=[User("gus", NOON, plan="gone")])
    drawer = Drawer()
    table = b"user,plan,models,rpm\nalice,gold,,\nbob,,no!,\nb\x1bb,,,\ndave,,,0\neve,,,\neve,,,\ncarol,,,\ngus,,,\n"
    with pytest.raises(Mistaken) as refused:
        await a_desk(registry, plans=PLANS).import_users(rows(table), "staff.csv", drawer.keep)

    told = [(one.line, one.problem) for one in refused.value.mistakes]
    assert [2, 3, 4, 5, 7, 8, 9] == [line for line, _ in told]
    for (_, problem), words in zip(
        told,
        ("no plan 'gold'", "it shouts", "The user has to be", "at least 1", "on line 6", "--add", "no plan 'gone'"),
        strict=True,
    ):
        assert words in problem
    assert ({}, ["k0"], []) == (drawer.kept, [key.id for key in await registry.keys()], await registry.acts())


async def test_who_has_a_key_gets_another_one_only_where_that_is_said() -> None:
    registry = FakeRegistry(Key("k0", "alice", "lab", NOON), users=[User("alice", NOON, team="blue", plan="lab")])
    here = a_desk(registry, plans=PLANS)
    table = rows(b"user\nalice\n")
    with pytest.raises(Mistaken, match="Line 2: The user has a key already"):
        await here.import_users(table, "staff.csv", Drawer().keep)
    (one,) = await here.import_users(table, "staff.csv", Drawer().keep, add=True)

    assert ("blue", "lab") == (one.key.team, one.key.plan)
    assert [User("alice", NOON, team="blue", plan="lab")] == await registry.users()


async def test_an_identity_is_not_a_key_that_somebody_has_already() -> None:
    registry = FakeRegistry(Key("i0", "alice", "default", NOON, kind=Kind.IDENTITY))

    assert 1 == len(await a_desk(registry).import_users(rows(b"user\nalice\n"), "staff.csv", Drawer().keep))


@pytest.mark.parametrize(("error", "told"), [(Taken(), NotDone), (StorageFailed(), StorageFailed)])
async def test_what_fails_is_told_after_the_secrets_were_kept(error: Exception, told: type[Exception]) -> None:
    class Broken(FakeRegistry):
        async def add(self, acts: Sequence[Act], **more: Any) -> None:
            raise error

    drawer = Drawer()
    with pytest.raises(told):
        await a_desk(Broken()).import_users(rows(b"user\nalice\n"), "staff.csv", drawer.keep)

    assert ["alice"] == list(drawer.kept)


async def test_where_a_secret_cannot_be_kept_nothing_goes_on_record() -> None:
    def full(user: str, secret: str) -> str:
        raise NotDone("The disk is full.")

    registry = FakeRegistry()
    with pytest.raises(NotDone, match="The disk is full"):
        await a_desk(registry).import_users(rows(b"user\nalice\n"), "staff.csv", full)

    assert ([], []) == (await registry.keys(), await registry.acts())
