import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxy.admin.desk import Desk
from proxy.admin.desk.clerk import Clerk
from proxy.admin.importing import rows
from proxy.admin.refusals import NotDone
from proxy.auth import Act, Change, Key, Kind, Team, User
from proxy.vocabulary import Limits, Plan
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk

PLANS = {"default": Plan("default"), "lab": Plan("lab")}
KEY = Key("k0", "alice", "default", NOON)
KEYS = (KEY, replace(KEY, id="i0", kind=Kind.IDENTITY), replace(KEY, id="c0", kind=Kind.CERTIFICATE))
ALICE, RED = User("alice", NOON), Team("red", NOON)


class Busy(FakeRegistry):
    """Somebody else does something after the next who wants to change anything has looked, and before they do it."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def add(self, acts: Sequence[Act], **more: Any) -> None:
        await self._now()
        await super().add(acts, **more)

    async def update_key(self, key_id: str, change: Change[Key], act: Act) -> Key | None:
        await self._now()
        return await super().update_key(key_id, change, act)

    async def update_user(self, name: str, change: Change[User], act: Act) -> User | None:
        await self._now()
        return await super().update_user(name, change, act)

    async def update_team(self, name: str, change: Change[Team], act: Act) -> Team | None:
        await self._now()
        return await super().update_team(name, change, act)

    async def _now(self) -> None:
        doing, self.meanwhile = self.meanwhile, None
        if doing is not None:
            await doing()


def test_no_two_clerks_answer_to_the_same_name() -> None:
    clerks = [one for one in Desk.__mro__ if issubclass(one, Clerk) and one not in (Desk, Clerk)]
    names = [name for one in clerks for name, _ in inspect.getmembers(one, inspect.isfunction) if name in vars(one)]

    assert [] == sorted(name for name in set(names) if names.count(name) > 1)


Update = Callable[[Desk, str, Mapping[str, Any]], Awaitable[Key | User | Team]]
UPDATES: Mapping[str, Update] = {
    "k0": Desk.update_key,
    "i0": Desk.update_identity,
    "c0": Desk.update_certificate,
    "alice": Desk.update_user,
    "red": Desk.update_team,
}


@pytest.mark.parametrize("people", [{"users": [ALICE], "teams": [RED]}, {}], ids=["on record", "known by name"])
@pytest.mark.parametrize("name", UPDATES)
async def test_a_limit_that_somebody_else_sets_meanwhile_is_not_lost(name: str, people: dict[str, Any]) -> None:
    registry = Busy(*(replace(key, team="red") for key in KEYS), **people)
    here, update = a_desk(registry), UPDATES[name]
    registry.meanwhile = lambda: update(here, name, {"requests_per_minute": 5, "note": "theirs"})
    changed = await update(here, name, {"concurrent": 2})
    found: dict[str, Key | User | Team] = {one.id: one for one in await registry.keys()}
    found |= {user.name: user for user in await registry.users()} | {team.name: team for team in await registry.teams()}

    assert (Limits(requests_per_minute=5, concurrent=2), "theirs") == (changed.limits, changed.note)
    assert changed == found[name]
    assert [{"requests_per_minute": 5, "note": "theirs"}, {"concurrent": 2}] == [
        act.details for act in await registry.acts() if act.name.endswith(".update")
    ]


@pytest.mark.parametrize("name", UPDATES)
async def test_a_burst_whose_rate_somebody_else_takes_away_meanwhile_is_refused(name: str) -> None:
    limits = Limits(requests_per_minute=5)
    registry = Busy(
        *(replace(key, limits=limits) for key in KEYS),
        users=[replace(ALICE, limits=limits)],
        teams=[replace(RED, limits=limits)],
    )
    here, update = a_desk(registry), UPDATES[name]
    registry.meanwhile = lambda: update(here, name, {"requests_per_minute": None})
    with pytest.raises(NotDone, match="A burst of requests needs requests per minute"):
        await update(here, name, {"request_burst": 2})

    assert [{"requests_per_minute": None}] == [act.details for act in await registry.acts()]


@pytest.mark.parametrize(
    "change", [Desk.suspend_key, Desk.resume_key, lambda desk, key: desk.update_key(key, {"note": "x"})]
)
async def test_a_key_that_somebody_else_revokes_meanwhile_is_changed_no_more(
    change: Callable[[Desk, str], Awaitable[Key]],
) -> None:
    registry = Busy(KEY)
    here = a_desk(registry)
    registry.meanwhile = lambda: here.revoke("k0")
    with pytest.raises(NotDone, match="The key k0 is revoked, and that is for good"):
        await change(here, "k0")

    assert ["key.revoke"] == [act.name for act in await registry.acts()]
    assert [replace(KEY, revoked_at=NOON)] == await registry.keys()


@pytest.mark.parametrize(
    ("suspend", "name"),
    [
        (Desk.suspend_key, "k0"),
        (Desk.suspend_user, "alice"),
        (Desk.suspend_user, "token:bob"),
        (Desk.suspend_team, "red"),
        (Desk.suspend_team, "blue"),
    ],
)
async def test_what_two_suspend_at_once_is_suspended_once(
    suspend: Callable[[Desk, str], Awaitable[Key | User | Team]], name: str
) -> None:
    registry = Busy(KEY, users=[ALICE], teams=[RED])
    here = a_desk(registry)
    registry.meanwhile = lambda: suspend(here, name)

    assert NOON == (await suspend(here, name)).suspended_at
    assert 1 == [act.name.partition(".")[2] for act in await registry.acts()].count("suspend")


@pytest.mark.parametrize("name", ["alice", "token:bob"])
async def test_a_user_whom_somebody_else_puts_on_record_meanwhile_is_suspended_all_the_same(name: str) -> None:
    registry = Busy(KEY)
    here = a_desk(registry)

    async def later() -> None:
        """Not before the first look, but before they are put on record."""
        registry.meanwhile = lambda: here.create_user(name, note="theirs")

    registry.meanwhile = later
    suspended = await here.suspend_user(name)

    assert (NOON, "theirs") == (suspended.suspended_at, suspended.note)
    assert [suspended] == await registry.users()
    assert ["user.create", "user.suspend"] == [act.name for act in await registry.acts()]


async def test_a_key_has_the_team_and_the_plan_that_somebody_else_gives_its_user_meanwhile() -> None:
    registry = Busy(users=[ALICE])
    here = a_desk(registry, plans=PLANS)
    registry.meanwhile = lambda: here.update_user("alice", {"team": "red", "plan": "lab"})
    key = (await here.create_key("alice")).key

    assert ("red", "lab") == (key.team, key.plan)
    assert ["user.update", "team.create", "key.create"] == [act.name for act in await registry.acts()]


@pytest.mark.parametrize(
    "other",
    [
        lambda desk: desk.import_users(rows(b"user\nalice\n"), "other.csv", lambda user, _: user),
        lambda desk: desk.create_key("alice"),
        lambda desk: desk.update_user("alice", {"plan": "lab"}),
    ],
    ids=["import", "key", "plan"],
)
async def test_a_table_is_not_imported_by_what_was_so_before_somebody_else_changed_it(
    other: Callable[[Desk], Awaitable[object]],
) -> None:
    registry = Busy(users=[ALICE])
    here = a_desk(registry, plans=PLANS)
    registry.meanwhile = lambda: other(here)
    with pytest.raises(NotDone, match=r"Somebody else changed what is on record meanwhile\. Nothing was done"):
        await here.import_users(rows(b"user\nalice\n"), "staff.csv", lambda user, _: user)

    assert "staff.csv" not in [act.details.get("import") for act in await registry.acts()]
    assert len(await registry.keys()) <= 1
