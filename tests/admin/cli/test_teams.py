import json

import pytest

from proxy.auth import Key, Team, User
from proxy.vocabulary import Limits
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

RED = Team("red", NOON, note="the lab", limits=Limits(concurrent=2))


def test_a_team_is_put_on_record_with_limits_of_its_own(type_in: Type) -> None:
    assert {
        "team": "red",
        "state": "live",
        "created_at": "2026-03-01T12:00:00Z",
        "suspended_at": None,
        "note": "the lab",
        "limits": {"tokens_per_day": 1000},
    } == json.loads(type_in("teams", "create", "red", "--note", "the lab", "--tokens-per-day", "1000", "--json").stdout)
    assert "Team blue is on record.\n" == type_in("teams", "create", "blue").stdout
    assert "There is a team of that name already" in type_in("teams", "create", "blue").stderr
    assert ["blue", "red"] == [team["team"] for team in json.loads(type_in("teams", "list", "--json").stdout)]


def test_teams_are_listed_and_shown_with_their_users(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(
        Key("k1", "alice", "default", NOON, team="red"), users=[User("bob", NOON, team="red")], teams=[RED]
    )

    assert "2 at once" in type_in("teams", "list").stdout
    assert "alice, bob" in type_in("teams", "show", "red").stdout
    assert ["alice", "bob"] == json.loads(type_in("teams", "show", "red", "--json").stdout)["users"]


def test_without_teams_the_first_one_is_explained(type_in: Type) -> None:
    assert "llamagate teams create lab" in type_in("teams", "list").stdout


def test_a_team_is_changed_suspended_and_resumed(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(teams=[RED])

    assert "Team red: 30 rpm, 2 at once.\n" == type_in("teams", "update", "red", "--rpm", "30").stdout
    words = ("--rpm", "none", "--concurrent", "none", "--note", "none")
    bare = json.loads(type_in("teams", "update", "red", *words, "--json").stdout)
    assert (None, {}) == (bare["note"], bare["limits"])
    assert "Team red: no limits of its own.\n" == type_in("teams", "update", "red", "--rpm", "none").stdout
    assert "Team red is suspended since 2026-03-01 12:00:00 UTC.\n" == type_in("teams", "suspend", "red").stdout
    assert "suspended" == json.loads(type_in("teams", "suspend", "red", "--json").stdout)["state"]
    assert "Team red is not suspended.\n" == type_in("teams", "resume", "red").stdout
    assert "live" == json.loads(type_in("teams", "resume", "red", "--json").stdout)["state"]


@pytest.mark.parametrize("command", [["show"], ["resume"], ["update", "--rpm", "1"]])
def test_a_team_that_is_not_there_ends_with_1(type_in: Type, command: list[str]) -> None:
    result = type_in("teams", *command, "nobody")

    assert (1, "", "There is no team nobody.\n") == (result.exit_code, result.stdout, result.stderr)
