from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.admin.refusals import NotDone
from proxy.admin.rules import LONGEST_NAME, Rules, Terms, details, name, team_name
from proxy.auth import Team, User
from proxy.vocabulary import Limits
from tests.fakes.tools import NOON, no_shouting

RULES = Rules({"default", "lab"}, no_shouting)


def test_terms_come_back_in_canonical_form() -> None:
    told = Terms(" alice ", " red ", "lab", ("Gemma3", "gemma3"), timedelta(1), " laptop ", Limits(concurrent=1))

    assert Terms("alice", "red", "lab", ("gemma3",), timedelta(1), "laptop", Limits(concurrent=1)) == RULES.terms(told)


@pytest.mark.parametrize(
    ("user", "settled"),
    [
        (None, (None, "default")),
        (User("alice", NOON), (None, "default")),
        (User("alice", NOON, team="red", plan="lab"), ("red", "lab")),
    ],
)
def test_what_was_not_told_is_as_the_record_says(user: User | None, settled: tuple[str | None, str]) -> None:
    terms = RULES.settled(Terms("alice"), user)

    assert settled == (terms.team, terms.plan)


def test_what_was_told_stands_over_the_record() -> None:
    terms = RULES.settled(Terms("alice", "blue", "default"), User("alice", NOON, team="red", plan="lab"))

    assert ("blue", "default") == (terms.team, terms.plan)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x1b[2J", "a" * (LONGEST_NAME + 1), "a\u202eb", "\udc80"])
def test_a_name_can_be_printed(text: str) -> None:
    with pytest.raises(NotDone, match="The note has to be 1 to 128 characters"):
        name("note", text)


def test_the_word_that_takes_a_team_away_is_no_team() -> None:
    with pytest.raises(NotDone, match="No team can be called none"):
        team_name(" none ")


def test_details_are_plain_values_with_limits_by_their_own_names() -> None:
    at = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))

    assert {"at": "2026-03-01T12:00:00Z", "models": ["a"], "concurrent": 1, "note": None} == details(
        {"at": at, "models": ("a",), "limits": Limits(concurrent=1), "note": None}
    )
    assert UTC is NOON.tzinfo


def test_the_details_of_a_change_are_only_what_was_told() -> None:
    changes = RULES.changes({"concurrent": None, "note": "x"}, NOON)

    assert {"concurrent": None, "note": "x"} == changes.details()


def test_a_change_of_some_limits_leaves_the_others_as_they_are_on_record() -> None:
    changes = RULES.changes({"concurrent": None, "request_burst": 3, "note": "x"}, NOON)
    record = Team("red", NOON, limits=Limits(requests_per_minute=9, concurrent=2))

    assert {"limits": Limits(9, 3), "note": "x"} == changes.of(record)
    assert {"note": "x"} == RULES.changes({"note": "x"}, NOON).of(record)
    with pytest.raises(NotDone, match="A burst of requests needs requests per minute"):
        changes.of(replace(record, limits=Limits(concurrent=2)))
