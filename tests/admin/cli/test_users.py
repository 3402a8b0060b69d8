import json
from dataclasses import replace

import pytest

from proxy.auth import Key, Kind, User
from proxy.vocabulary import Limits
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

ALICE = User("alice", NOON, team="red", plan="default", note="intern", limits=Limits(concurrent=2))
KEY = Key("k1", "alice", "default", NOON)


def test_a_user_is_put_on_record_with_limits_of_their_own(type_in: Type) -> None:
    words = ("--team", "red", "--plan", "default", "--note", "intern", "--rpm", "30")

    assert {
        "user": "alice",
        "team": "red",
        "plan": "default",
        "state": "live",
        "created_at": "2026-03-01T12:00:00Z",
        "suspended_at": None,
        "note": "intern",
        "limits": {"requests_per_minute": 30},
    } == json.loads(type_in("users", "create", "alice", *words, "--json").stdout)
    assert "llamagate keys create --user 'Bob B'\n" in type_in("users", "create", "Bob B").stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["alice"], "There is a user of that name already"),
        (["bob", "--plan", "gold"], "There are: default"),
        (["a\x1bb"], "The user has to be"),
        (["bob", "--rpm", "0"], "at least 1"),
    ],
)
def test_a_user_that_will_not_do_is_told_why(type_in: Type, tools: FakeTools, words: list[str], why: str) -> None:
    tools.keys = FakeRegistry(users=[ALICE])
    result = type_in("users", "create", *words)

    assert (1, "") == (result.exit_code, result.stdout)
    assert why in result.stderr


def test_users_are_listed_by_name_with_those_who_only_have_keys(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(replace(KEY, user="aaron"), users=[replace(ALICE, suspended_at=NOON)])
    table = type_in("users", "list").stdout.splitlines()

    assert ["aaron", "alice"] == [user["user"] for user in json.loads(type_in("users", "list", "--json").stdout)]
    assert ["aaron - - as the plan live 2026-03-01 12:00:00 -", "alice red default 2 at once suspended"] == [
        " ".join(table[1].split()),
        " ".join(table[2].split()[:7]),
    ]


def test_without_users_the_first_one_is_explained(type_in: Type) -> None:
    assert "llamagate keys create --user alice" in type_in("users", "list").stdout


def test_a_user_is_shown_with_keys_and_identities(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(
        KEY, replace(KEY, id="k2", revoked_at=NOON), replace(KEY, id="i1", kind=Kind.IDENTITY), users=[ALICE]
    )
    shown = type_in("users", "show", "alice").stdout
    facts = json.loads(type_in("users", "show", "alice", "--json").stdout)

    assert "k1 (live), k2 (revoked)" in shown
    assert "i1 (live)" in shown
    assert (["k1", "k2"], ["i1"]) == tuple([key["id"] for key in facts[name]] for name in ("keys", "identities"))


def test_of_a_user_only_that_changes_which_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(users=[ALICE])

    assert "User alice: 30 rpm, 2 at once.\n" == type_in("users", "update", "alice", "--rpm", "30").stdout
    words = ("--team", "none", "--plan", "none", "--note", "none", "--concurrent", "none")
    bare = json.loads(type_in("users", "update", "alice", *words, "--json").stdout)
    assert (None, None, None, {"requests_per_minute": 30}) == (bare["team"], bare["plan"], bare["note"], bare["limits"])
    assert "User alice: no limits of their own.\n" == type_in("users", "update", "alice", "--rpm", "none").stdout
    assert "There is nothing to change: say what.\n" == type_in("users", "update", "alice").stderr


def test_a_user_is_suspended_and_resumed_even_one_that_was_not_known(type_in: Type) -> None:
    assert "User bob is suspended since 2026-03-01 12:00:00 UTC.\n" == type_in("users", "suspend", "bob").stdout
    assert "suspended" == json.loads(type_in("users", "suspend", "bob", "--json").stdout)["state"]
    assert "User bob is not suspended.\n" == type_in("users", "resume", "bob").stdout
    assert "live" == json.loads(type_in("users", "resume", "bob", "--json").stdout)["state"]


@pytest.mark.parametrize("command", [["show"], ["resume"], ["update", "--rpm", "1"]])
def test_a_user_that_is_not_there_ends_with_1(type_in: Type, command: list[str]) -> None:
    result = type_in("users", *command, "nobody")

    assert (1, "", "There is no user nobody.\n") == (result.exit_code, result.stdout, result.stderr)


def test_a_stored_name_cannot_steer_the_terminal(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(users=[replace(ALICE, name="eve", note="[red]\x1b[2J\u202e", team="\x9b2J")])
    printed = type_in("users", "list").stdout + type_in("users", "show", "eve").stdout

    assert {"\x1b", "\u202e", "\x9b"}.isdisjoint(printed)
