import pytest

from proxy.admin.desk import Desk
from proxy.admin.refusals import NotDone
from proxy.auth import Holder, Team, User
from proxy.limits import Claim, Cost
from proxy.limits.accounts import every
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Allowance, Level, Limits, Plan
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import ACTOR, MOMENT, NOON, a_desk, office

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


async def peopled(store: MemoryStore) -> Desk:
    """Alice has one key in the lab and one that is revoked; Bob is in the lab too; Carol has the default plan."""
    here = a_desk(plans=PLANS, counting=office(store))
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
    claim = Claim("c1", every(Holder(key).caller(PLANS[key.plan])), most_tokens=100)

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


async def test_a_reset_is_an_act_and_one_that_cannot_be_is_none() -> None:
    registry = FakeRegistry()
    here = a_desk(registry, plans=PLANS)
    await here.create_key("alice", plan="lab")
    count = len(await registry.acts())
    with pytest.raises(NotDone):
        await here.reset_limits("k1")
    await here.reset_limits("alice")
    (act,) = (await registry.acts())[count:]

    assert ("limits.reset", "user:alice", ACTOR.name) == (act.name, act.subject, act.actor)
    assert {"limits": ["requests per minute"]} == act.details


async def test_users_and_teams_have_limits_of_their_own() -> None:
    registry = FakeRegistry(
        users=[User("alice", NOON, limits=Limits(tokens_per_day=5))],
        teams=[Team("red", NOON, limits=Limits(concurrent=3))],
    )
    here = a_desk(registry, plans=PLANS)
    await here.create_key("alice", "red")
    told = [(one.name, one.account.subject, one.most) for one in (await here.limits("k1")).standings]

    assert [
        ("user-tokens-day", "alice", 5),
        ("team-concurrent", "red", 3),
        ("everybody-concurrent", "", 8),
    ] == told
    assert ["alice"] == [account.subject for account in await here.reset_limits("alice")]


async def test_whoever_only_comes_with_tokens_has_the_limits_of_their_record() -> None:
    registry = FakeRegistry(users=[User("alice", NOON, plan="lab"), User("bob", NOON, limits=Limits(concurrent=2))])
    here = a_desk(registry, plans=PLANS)

    assert ["user-requests", "user-concurrent", "everybody-concurrent"] == [
        one.name for one in (await here.limits("alice")).standings
    ]
    assert [2, 8] == [one.most for one in (await here.limits("bob")).standings]


async def test_everybodys_reset_is_an_act_on_everybody() -> None:
    registry = FakeRegistry()
    plans = {"default": Plan("default", allowances=(Allowance(Level.EVERYBODY, Limits(tokens_per_day=9)),))}
    await a_desk(registry, plans=plans).reset_limits()

    assert ["everybody"] == [act.subject for act in await registry.acts()]
