from dataclasses import replace
from datetime import timedelta

from proxy.admin.cli.facts import (
    HEADS_OF_KEYS,
    HEADS_OF_TEAMS,
    HEADS_OF_USERS,
    cell,
    of_rotation,
    rotation_in_words,
    row_of_key,
    row_of_team,
    row_of_user,
)
from proxy.auth import Key, Team, User
from tests.fakes.tools import NOON

KEY = Key("k1", "alice", "default", NOON)


def test_every_row_has_as_many_cells_as_heads() -> None:
    assert len(HEADS_OF_KEYS) == len(row_of_key(KEY, NOON))
    assert len(HEADS_OF_USERS) == len(row_of_user(User("alice", NOON)))
    assert len(HEADS_OF_TEAMS) == len(row_of_team(Team("red", NOON)))


def test_a_rotation_is_told_while_the_former_secret_works() -> None:
    going_on = replace(KEY, former_until=NOON + timedelta(seconds=1))

    assert {"former_until": "2026-03-01T12:00:01Z", "former_used_at": None} == of_rotation(going_on, NOON)
    assert "the former secret works until 2026-03-01 12:00:01, not used since" == rotation_in_words(going_on, NOON)
    for over in (KEY, replace(KEY, former_until=NOON, former_used_at=NOON)):
        assert {"former_until": None, "former_used_at": None} == of_rotation(over, NOON)
        assert None is rotation_in_words(over, NOON)


def test_a_cell_is_text_and_nothing_is_a_dash() -> None:
    assert ["-", "-", "a, b", "7", "x"] == [cell(value) for value in (None, [], ["a", "b"], 7, "x")]
