from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from proxy.admin.desk.entries import Newcomer, entries
from proxy.admin.rules import Terms
from proxy.auth import Act, Key, Kind, Team, User
from proxy.vocabulary import Limits
from tests.fakes.tools import NOON

ALICE = Terms("alice", "red", "lab", ("gemma3",), timedelta(days=1), "laptop", Limits(concurrent=2))


def write(name: str, subject: str, details: Mapping[str, Any]) -> Act:
    return Act(NOON, "olga", "here", name, subject, details)


def test_a_newcomer_becomes_a_key_on_its_terms() -> None:
    (key,) = entries([Newcomer("k1", b"d" * 32, ALICE)], {"alice"}, {"red"}, NOON, write).keys

    assert (
        Key(
            id="k1",
            user="alice",
            plan="lab",
            created_at=NOON,
            team="red",
            models=("gemma3",),
            expires_at=NOON + timedelta(days=1),
            note="laptop",
            limits=Limits(concurrent=2),
        )
        == key
    )
    assert b"d" * 32 == key.digest


def test_users_and_teams_are_put_on_record_once_and_only_where_they_are_not() -> None:
    newcomers = [
        Newcomer("k1", b"", ALICE),
        Newcomer("i1", b"", ALICE, Kind.IDENTITY),
        Newcomer("k2", b"", Terms("bob", "blue", "lab"), user=User("bob", NOON, team="blue", plan="lab")),
        Newcomer("k3", b"", Terms("carol", None, "lab")),
    ]
    made = entries(newcomers, {"carol"}, {"blue"}, NOON, write)

    assert [User("alice", NOON), User("bob", NOON, team="blue", plan="lab")] == made.users
    assert [Team("red", NOON)] == made.teams
    assert [
        ("team.create", "team:red", {}),
        ("user.create", "user:alice", {}),
        ("user.create", "user:bob", {"team": "blue", "plan": "lab"}),
    ] == [(act.name, act.subject, act.details) for act in made.acts[:3]]
    assert [
        ("key.create", "key:k1"),
        ("identity.create", "identity:i1"),
        ("key.create", "key:k2"),
        ("key.create", "key:k3"),
    ] == [(act.name, act.subject) for act in made.acts[3:]]
    assert {"user": "carol", "plan": "lab"} == made.acts[-1].details
