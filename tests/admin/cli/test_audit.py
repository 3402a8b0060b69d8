import asyncio
import json
from datetime import timedelta

import pytest

from proxy.admin.cli.audit import NEWEST
from proxy.auth import Act
from tests.admin.cli.conftest import Type
from tests.fakes.tools import NOON, FakeTools


def act(tools: FakeTools, name: str, subject: str, hours: float, **details: object) -> None:
    one = Act(NOON - timedelta(hours=hours), "oleg", "gatehouse, pts/1", name, subject, details)
    asyncio.run(tools.keys.record(one))


@pytest.fixture(autouse=True)
def done(tools: FakeTools) -> None:
    act(tools, "key.create", "key:k1", 30, user="alice", models=["gemma3"])
    act(tools, "user.suspend", "user:alice", 2)


def rows(printed: str) -> list[str]:
    return [" ".join(line.split()) for line in printed.splitlines()[1:]]


def test_who_did_what_when_and_from_where_is_told(type_in: Type) -> None:
    type_in("keys", "create", "--user", "bob", "--rpm", "30")

    assert [
        '1 2026-02-28 06:00:00 oleg gatehouse, pts/1 key.create key:k1 user alice, models ["gemma3"]',
        "2 2026-03-01 10:00:00 oleg gatehouse, pts/1 user.suspend user:alice -",
        "3 2026-03-01 12:00:00 olga gatehouse, pts/3 user.create user:bob -",
        "4 2026-03-01 12:00:00 olga gatehouse, pts/3 key.create key:k1 user bob, plan default, requests_per_minute 30",
    ] == rows(type_in("audit").stdout)


def test_acts_as_json_are_a_line_each(type_in: Type) -> None:
    first, _ = type_in("audit", "--json").stdout.splitlines()

    assert {
        "number": 1,
        "at": "2026-02-28T06:00:00Z",
        "actor": "oleg",
        "origin": "gatehouse, pts/1",
        "act": "key.create",
        "subject": "key:k1",
        "details": {"user": "alice", "models": ["gemma3"]},
    } == json.loads(first)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ([], ["1", "2"]),
        (["--last", "1"], ["2"]),
        (["--since", "1d"], ["2"]),
        (["--since", "2026-02-28"], ["1", "2"]),
        (["--subject", "k1"], ["1"]),
        (["--subject", "user:alice"], ["2"]),
        (["--actor", "oleg", "--last", "1"], ["2"]),
    ],
)
def test_only_what_is_asked_for_is_told(type_in: Type, words: list[str], numbers: list[str]) -> None:
    assert numbers == [row.split()[0] for row in rows(type_in("audit", *words).stdout)]


def test_without_a_number_the_newest_are_told_and_since_some_time_all(type_in: Type, tools: FakeTools) -> None:
    for _ in range(NEWEST):
        act(tools, "gate.reload", "", 1)

    assert NEWEST == len(rows(type_in("audit").stdout))
    assert NEWEST + 2 == len(rows(type_in("audit", "--since", "2d").stdout))


def test_where_nothing_was_done_that_is_told(type_in: Type, tools: FakeTools) -> None:
    assert "There were no such acts.\n" == type_in("audit", "--actor", "nobody").stdout
    assert "" == type_in("audit", "--actor", "nobody", "--json").stdout


def test_nothing_in_the_trail_can_steer_the_terminal(type_in: Type, tools: FakeTools) -> None:
    act(tools, "key.create", "key:\x1b[2J", 0, note="\x9b[red]\u202e")
    printed = type_in("audit").stdout + type_in("audit", "--json").stdout

    assert {"\x1b", "\x9b", "\u202e"}.isdisjoint(printed)
