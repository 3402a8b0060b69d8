import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.admin.office import Seen, Status
from proxy.admin.refusals import GateNotRunning
from proxy.auth import Holder, Key, Team, User
from proxy.limits import Account, Claim, Cost, State
from proxy.limits.accounts import every
from proxy.vocabulary import Limits
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import MOMENT, NOON, FakeTools

TEXT = """
[limits]
concurrent = 4
[plans.lab]
time_zone = "Europe/Berlin"
[plans.lab.limits]
requests_per_minute = 30
tokens_per_minute = 600
token_burst = 1200
gpu_seconds_per_day = "2h"
[plans.lab.limits.user]
tokens_per_day = 1000
[plans.lab.limits.team]
tokens_per_month = 1000000000000
[plans.lab.limits.team.models."gemma3:*"]
concurrent = 1
[plans.trial.limits]
mode = "shadow"
requests_per_minute = 1
"""
ALICE = Key(id="k1", user="alice", plan="lab", team="red", created_at=NOON)
BOB = Key(id="k2", user="bob", plan="trial", created_at=NOON)


@pytest.fixture(autouse=True)
def configured(tools: FakeTools) -> None:
    tools.text = TEXT
    tools.keys = FakeRegistry(ALICE, BOB, replace(BOB, id="k3", user="red"))


def use(tools: FakeTools, key: Key, claim_id: str = "c1", cost: Cost | None = None) -> None:
    """One call that was taken to cost 250 tokens, and has ended if it has a cost."""
    plan = tools.load(None, {}).settings.plan_table()[key.plan]
    claim = Claim(claim_id, every(Holder(key).caller(plan)), most_tokens=250)

    assert asyncio.run(tools.store.reserve(claim)).admitted
    if cost is not None:
        tools.store.settle(claim, cost)


def rows(printed: str) -> list[str]:
    """Without the heads, and with one space between two cells."""
    return [" ".join(line.split()) for line in printed.splitlines()[1:]]


def test_what_is_left_of_every_limit_is_told_with_when_it_comes_back(type_in: Type, tools: FakeTools) -> None:
    use(tools, ALICE, cost=Cost(tokens=100, gpu_ms=1500))
    use(tools, ALICE, "c2")
    heads = type_in("limits", "show", "alice").stdout.splitlines()[0]

    assert ["level", "whose", "models", "limit", "of", "left", "refills"] == heads.split()
    assert [
        "key k1 all requests per minute 30 28 full again in 4s",
        "key k1 all tokens at once, 600 per minute 1200 850 full again in 35s",
        "key k1 all GPU seconds per day 7200.0 7198.5 at 2026-03-02 00:00 CET",
        "user alice all tokens per day 1000 650 at 2026-03-02 00:00 CET",
        "team red all tokens per month 1000000000000 999999999650 at 2026-04-01 00:00 CEST",
        "team red gemma3:* calls at once 1 0 as calls end",
        "everybody - all calls at once 4 3 as calls end",
    ] == rows(type_in("limits", "show", "alice").stdout)


def test_what_is_unused_is_full(type_in: Type) -> None:
    told = rows(type_in("limits", "show", "k1").stdout)

    assert "key k1 all requests per minute 30 30 full" == told[0]
    assert "everybody - all calls at once 4 4 full" == told[-1]


def test_alone_it_tells_everybodys(type_in: Type) -> None:
    assert ["everybody - all calls at once 4 4 full"] == rows(type_in("limits", "show").stdout)


def test_a_limit_that_refuses_nobody_is_told_as_such(type_in: Type) -> None:
    assert "key k2 all requests per minute (only told of) 1 1 full" == rows(type_in("limits", "show", "k2").stdout)[0]


def test_without_limits_nothing_is_left_to_tell(type_in: Type, tools: FakeTools) -> None:
    tools.text = ""

    assert "There are no limits.\n" == type_in("limits", "show").stdout
    assert "[]\n" == type_in("limits", "show", "--json").stdout


def test_limits_as_json(type_in: Type, tools: FakeTools) -> None:
    use(tools, ALICE, cost=Cost(tokens=100, gpu_ms=1500))
    told = json.loads(type_in("limits", "show", "k1", "--json").stdout)
    requests, _, gpu = told[:3]

    assert {
        "level": "key",
        "whose": "k1",
        "models": None,
        "shadow": False,
        "limit": "requests",
        "most": 30,
        "left": 29,
        "full_in_seconds": 2,
        "refills_at": None,
        "live": True,
    } == requests
    assert ("gpu-day", 7200.0, 7198.5, 11 * 3600) == tuple(
        gpu[name] for name in ("limit", "most", "left", "full_in_seconds")
    )
    assert "2026-03-01T23:00:00Z" == gpu["refills_at"]
    assert ("gemma3:*", None) == (told[-2]["models"], told[-2]["full_in_seconds"])
    assert None is told[-1]["whose"]


class Asleep:
    """A ``LimitsOffice`` of a gate that does not run."""

    async def look(self, accounts: Sequence[Account]) -> Seen:
        return Seen(MOMENT, (State(),) * len(accounts), is_live=False)

    async def reset(self, accounts: Sequence[Account]) -> None:
        raise GateNotRunning

    async def status(self) -> Status:
        raise GateNotRunning


def test_without_a_running_gate_it_tells_what_the_ledger_knows_and_says_so(type_in: Type, tools: FakeTools) -> None:
    tools.office = Asleep()
    result = type_in("limits", "show")

    assert (0, "The gate does not run: days and months are told by the ledger.\n") == (result.exit_code, result.stderr)
    assert [False] == [row["live"] for row in json.loads(type_in("limits", "show", "--json").stdout)]


@pytest.mark.parametrize("words", [["reset", "k1"], ["status"]])
def test_what_needs_a_running_gate_ends_with_1_without(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.office = Asleep()
    result = type_in("limits", *words)

    assert (1, "", "The gate does not run.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["k1"], "Reset for key k1: requests per minute, tokens per minute, GPU seconds per day.\n"),
        (["sk-lg_k1_HUSH_crc"], "Reset for key k1: requests per minute, tokens per minute, GPU seconds per day.\n"),
        (["alice"], "Reset for user alice: tokens per day.\n"),
        (["--team", "red"], "Reset for team red: tokens per month.\n"),
        (["--key", "k2"], "Reset for key k2: requests per minute.\n"),
    ],
)
def test_a_reset_tells_what_it_reset(type_in: Type, words: list[str], told: str) -> None:
    assert told == type_in("limits", "reset", *words).stdout


def test_a_reset_lets_somebody_begin_anew(type_in: Type, tools: FakeTools) -> None:
    use(tools, ALICE, cost=Cost(tokens=100))
    printed = type_in("limits", "reset", "alice", "--json").stdout

    assert [
        {"level": "user", "whose": "alice", "models": None, "shadow": False, "limits": ["tokens per day"]}
    ] == json.loads(printed)
    left = {row["limit"]: row["left"] for row in json.loads(type_in("limits", "show", "alice", "--json").stdout)}
    assert (1000, 29) == (left["tokens-day"], left["requests"])


def test_everybodys_are_reset_only_where_that_is_said(type_in: Type, tools: FakeTools) -> None:
    tools.text = "[limits]\nrequests_per_minute = 60\n[limits.models.gemma3]\ntokens_per_day = 9"

    assert 2 == type_in("limits", "reset").exit_code
    assert (
        "Reset for everybody: requests per minute.\nReset for everybody, models gemma3: tokens per day.\n"
        == type_in("limits", "reset", "--everybody").stdout
    )


@pytest.mark.parametrize(
    "words",
    [
        ["show", "k1", "--user", "alice"],
        ["show", "--user", "alice", "--team", "red"],
        ["reset", "k1", "--everybody"],
        ["reset", "--key", "k1", "--user", "alice"],
    ],
)
def test_one_name_at_a_time(type_in: Type, words: list[str]) -> None:
    assert 2 == type_in("limits", *words).exit_code


@pytest.mark.parametrize("command", ["show", "reset"])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nobody"], "There is no key, user or team nobody.\n"),
        (["--user", "nobody"], "There is no user nobody.\n"),
        (["red"], "That is the name of a user and of a team: say which with --user or --team.\n"),
        (["sk-lg_k9_HUSH_crc"], "There is no such key, user or team.\n"),
    ],
)
def test_a_name_that_will_not_do_ends_with_1(type_in: Type, command: str, words: list[str], why: str) -> None:
    result = type_in("limits", command, *words)

    assert (1, "", why) == (result.exit_code, result.stdout, result.stderr)


def test_a_name_cannot_steer_the_terminal(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(replace(ALICE, user="[red]eve[/]\x1b[2J\u202e", limits=Limits(concurrent=1)))
    printed = type_in("limits", "show", "k1").stdout + type_in("limits", "reset", "--team", "red").stdout

    assert {"\x1b", "\u202e"}.isdisjoint(printed)
    assert "[red]eve[/]" in printed


def test_the_status_is_told(type_in: Type, tools: FakeTools) -> None:
    use(tools, ALICE)

    assert ["counted in process", "degraded no", "calls under way 1", "refused 2"] == rows(
        type_in("limits", "status").stdout
    )
    assert {
        "store": "in process",
        "degraded_since": None,
        "mode": None,
        "under_way": 1,
        "counts": {"refused": 2},
    } == json.loads(type_in("limits", "status", "--json").stdout)


@pytest.mark.parametrize(
    ("status", "degraded"),
    [
        (Status("Redis", 0, mode="local"), "degraded no; else the mode is local"),
        (
            Status("Redis", 0, mode="refuse", degraded_since=NOON - timedelta(minutes=1)),
            "degraded since 2026-03-01 11:59:00 UTC, in mode refuse",
        ),
    ],
)
def test_trouble_with_redis_is_told_with_its_mode(
    type_in: Type, tools: FakeTools, status: Status, degraded: str
) -> None:
    class Elsewhere(Asleep):
        async def status(self) -> Status:
            return status

    tools.office = Elsewhere()

    assert ["counted Redis", degraded, "calls under way 0"] == rows(type_in("limits", "status").stdout)


def test_limits_of_users_and_teams_of_their_own_are_told_with_or_without_a_key(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(
        ALICE,
        users=[User("alice", NOON, limits=Limits(tokens_per_day=5)), User("zoe", NOON, limits=Limits(concurrent=3))],
        teams=[Team("red", NOON, limits=Limits(tokens_per_month=7))],
    )
    told = rows(type_in("limits", "show", "alice").stdout)

    assert "user alice all tokens per day 5 5 at 2026-03-02 00:00 CET" in told
    assert "team red all tokens per month 7 7 at 2026-04-01 00:00 CEST" in told
    assert "user zoe all calls at once 3 3 full" in rows(type_in("limits", "show", "zoe").stdout)
    assert "Reset for user alice: tokens per day.\n" == type_in("limits", "reset", "alice").stdout
