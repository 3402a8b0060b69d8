from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.auth import Act, Denial, Holder, Key, Kind, Team, User
from proxy.auth.sql import tables
from proxy.auth.sql.rows import (
    act_of,
    changed,
    denial_of,
    holder_of,
    key_of,
    row_of,
    row_of_act,
    team_of,
    user_of,
    whose,
    written,
)
from proxy.vocabulary import Limits

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("k1", "alice", "default", NOON, Kind.IDENTITY, models=("a", "b"), limits=Limits(1), digest=b"x")
ALICE = User("alice", NOON, "lab", limits=Limits(2))
LAB = Team("lab", NOON, limits=Limits(3))


def test_a_noun_is_read_as_it_was_written() -> None:
    denial = Denial("keycloak", "jti", "x", NOON)
    act = Act(NOON, "root", "box", "key.create", "key:k1", {"a": [1]}, 7)

    assert KEY == key_of(row_of(KEY))
    assert b"x" == key_of(row_of(KEY)).digest
    assert ALICE == user_of(row_of(ALICE))
    assert LAB == team_of(row_of(LAB))
    assert denial == denial_of(row_of(denial))
    assert act == act_of(row_of_act(replace(act, number=0), 7))


def test_a_row_has_the_columns_of_its_table() -> None:
    assert set(tables.keys.c.keys()) == set(row_of(KEY))
    assert set(tables.users.c.keys()) == set(row_of(ALICE))
    assert set(tables.teams.c.keys()) == set(row_of(LAB))
    assert set(tables.denials.c.keys()) == set(row_of(Denial("keycloak", "jti", "x", NOON)))
    assert set(tables.acts.c.keys()) == set(row_of_act(Act(NOON, "root", "box", "key.create"), 1))


def joined(*nouns: Key | User | Team | None) -> list[object]:
    columns = zip((tables.keys, tables.users, tables.teams)[-len(nouns) :], nouns, strict=True)
    return [
        None if noun is None else row_of(noun)[name]
        for table, noun in columns
        for name in table.c.keys()  # noqa: SIM118  It is no mapping.
    ]


def test_a_joined_row_has_what_was_found() -> None:
    assert Holder(KEY, ALICE, LAB) == holder_of(joined(KEY, ALICE, LAB))
    assert Holder(KEY) == holder_of(joined(KEY, None, None))
    assert Holder(KEY, None, LAB) == holder_of(joined(KEY, None, LAB))
    assert (ALICE, None) == whose(joined(ALICE, None))


def test_what_is_changed_is_told_by_the_columns_it_is_in() -> None:
    amounts = dict.fromkeys(("requests_per_minute", "request_burst", "tokens_per_minute", "token_burst"), None)
    amounts |= dict.fromkeys(("concurrent", "tokens_per_day", "tokens_per_month", "gpu_seconds_per_day"), None)

    assert {**amounts, "concurrent": 5} == changed(User, {"limits": Limits(concurrent=5)})
    assert {"models": "a,b", "expires_at": None, "suspended_at": written(NOON)} == changed(
        Key, {"models": ("a", "b"), "expires_at": None, "suspended_at": NOON}
    )
    assert {} == changed(Team, {})


@pytest.mark.parametrize(
    ("noun", "field"),
    [(Key, "id"), (Key, "concurrent"), (User, "name"), (User, "models"), (Team, "team"), (Team, "name")],
)
def test_what_is_no_field_or_is_the_name_cannot_be_changed(noun: type[Key | User | Team], field: str) -> None:
    with pytest.raises(KeyError, match=field):
        changed(noun, {"note": "x", field: "x"})


def test_times_are_written_in_utc_to_the_microsecond() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))

    assert "2026-03-01T12:00:00.000000+00:00" == written(NOON) == written(there)
