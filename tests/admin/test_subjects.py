from dataclasses import replace

import pytest

from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.admin.subjects import EVERYBODY, OnRecord, Subject, accounts_of, meant
from proxy.auth import Key, Kind, Team, User
from proxy.limits import Account
from proxy.vocabulary import Allowance, Level, Limits, Plan
from tests.fakes.tools import NOON

ALICE = Key(id="k1", user="alice", plan="lab", created_at=NOON, team="red")
BOB = replace(ALICE, id="k2", user="bob", team=None)
KEYS = [ALICE, BOB, replace(BOB, id="k3", user="blue", team="bob"), replace(BOB, id="blue", user="eve")]
MINUTE, DAY = Limits(requests_per_minute=1), Limits(tokens_per_day=1)
PLANS = {
    "default": Plan("default"),
    "lab": Plan(
        "lab",
        allowances=(
            Allowance(Level.KEY, MINUTE),
            Allowance(Level.USER, DAY, models="gemma3"),
            Allowance(Level.TEAM, DAY, time_zone="Europe/Berlin"),
            Allowance(Level.EVERYBODY, MINUTE, shadow=True),
        ),
    ),
}


@pytest.mark.parametrize(
    ("text", "level", "subject"),
    [
        ("k1", None, Subject(Level.KEY, "k1")),
        ("sk-lg_k1_SECRET1_crc", None, Subject(Level.KEY, "k1")),
        (" alice ", None, Subject(Level.USER, "alice")),
        ("red", None, Subject(Level.TEAM, "red")),
        ("bob", Level.USER, Subject(Level.USER, "bob")),
        ("bob", Level.TEAM, Subject(Level.TEAM, "bob")),
        ("blue", Level.KEY, Subject(Level.KEY, "blue")),
        ("sk-lg_blue_SECRET1_crc", Level.KEY, Subject(Level.KEY, "blue")),
    ],
)
def test_a_name_is_that_of_a_key_a_user_or_a_team(text: str, level: Level | None, subject: Subject) -> None:
    assert subject == meant(text, OnRecord(KEYS), level)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("bob", "the name of a user and of a team: say which with --user or --team"),
        ("blue", "the name of a key and of a user: say which with --key or --user"),
    ],
)
def test_a_name_that_several_have_is_not_guessed(text: str, why: str) -> None:
    with pytest.raises(NotDone, match=why):
        meant(text, OnRecord(KEYS))


@pytest.mark.parametrize(
    ("text", "level", "why"),
    [
        ("nobody", None, "There is no key, user or team nobody."),
        ("red", Level.USER, "There is no user red."),
        ("alice", Level.TEAM, "There is no team alice."),
        ("", None, "There is no such key, user or team."),
    ],
)
def test_a_name_that_nobody_has_is_told_plainly(text: str, level: Level | None, why: str) -> None:
    with pytest.raises(NotDone) as refused:
        meant(text, OnRecord(KEYS), level)

    assert why == refused.value.message


@pytest.mark.parametrize("level", [None, *(level for level in Level if level is not Level.EVERYBODY)])
@pytest.mark.parametrize("text", ["sk-lg_k9_HUSH_crc", "sk-lg-k9-HUSHHUSHHUSHHUSHHUSHHUSH", "\x1bHUSH"])
def test_a_key_that_is_not_there_is_not_repeated(text: str, level: Level | None) -> None:
    with pytest.raises(NotDone) as refused:
        meant(text, OnRecord(KEYS), level)

    assert "HUSH" not in refused.value.message


def test_a_key_that_is_not_there_is_a_key_that_is_not_there() -> None:
    with pytest.raises(NoSuchKey, match="There is no key alice"):
        meant("alice", OnRecord(KEYS), Level.KEY)


def test_what_somebodys_calls_are_counted_on_is_told_once_and_the_narrowest_first() -> None:
    keys = [replace(ALICE, id="k0"), ALICE, BOB]

    assert [
        Account(Level.KEY, "k0", MINUTE, "team red"),
        Account(Level.KEY, "k1", MINUTE, "team red"),
        Account(Level.USER, "alice", DAY, "team red", "gemma3"),
        Account(Level.TEAM, "red", DAY, "team red", time_zone="Europe/Berlin"),
        Account(Level.EVERYBODY, "", MINUTE, shadow=True),
    ] == list(accounts_of(Subject(Level.USER, "alice"), OnRecord(keys), PLANS))


def test_a_user_of_two_teams_is_counted_in_both() -> None:
    accounts = accounts_of(Subject(Level.USER, "alice"), OnRecord([ALICE, replace(ALICE, id="k2", team="blue")]), PLANS)

    assert ["team blue", "team red"] == [one.place for one in accounts if one.level is Level.USER]


def test_a_keys_own_limits_stand_in_place_of_its_plans() -> None:
    (first, *_) = accounts_of(Subject(Level.KEY, "k1"), OnRecord([replace(ALICE, limits=DAY)]), PLANS)

    assert (1, 1) == (first.limits.requests_per_minute, first.limits.tokens_per_day)


def test_everybody_is_counted_whether_there_are_keys_or_not() -> None:
    assert (Account(Level.EVERYBODY, "", MINUTE, shadow=True),) == accounts_of(EVERYBODY, OnRecord(), PLANS)


def test_who_has_no_plan_any_more_has_no_limits_but_no_calls_either() -> None:
    with pytest.raises(NotDone, match="plan is not configured any more"):
        accounts_of(Subject(Level.USER, "alice"), OnRecord([replace(ALICE, plan="gone")]), PLANS)


def test_somebody_on_record_is_meant_without_any_key() -> None:
    record = OnRecord(users=[User("carol", NOON)], teams=[Team("green", NOON)])

    assert Subject(Level.USER, "carol") == meant("carol", record)
    assert Subject(Level.TEAM, "green") == meant("green", record)


def test_an_identity_is_meant_by_its_id() -> None:
    assert Subject(Level.KEY, "i1") == meant("i1", OnRecord([replace(ALICE, id="i1", kind=Kind.IDENTITY)]))


def test_those_of_whom_there_is_only_a_name_are_known_too() -> None:
    record = OnRecord(
        KEYS, [User("zoe", NOON, team="yellow"), User("alice", NOON, note="on record")], [Team("red", NOON)]
    )

    assert ["alice", "blue", "bob", "eve", "zoe"] == [user.name for user in record.known_users()]
    assert ["on record", None] == [user.note for user in record.known_users()][::4]
    assert ["bob", "red", "yellow"] == [team.name for team in record.known_teams()]


MORE = Limits(tokens_per_month=7)


def test_limits_of_users_and_teams_stand_over_those_of_their_plan() -> None:
    record = OnRecord([ALICE], [User("alice", NOON, limits=MORE)], [Team("red", NOON, limits=Limits(tokens_per_day=9))])
    accounts = accounts_of(Subject(Level.KEY, "k1"), record, PLANS)

    assert [MORE, DAY] == [one.limits for one in accounts if one.level is Level.USER]
    assert [9] == [one.limits.tokens_per_day for one in accounts if one.level is Level.TEAM]


def test_whoever_has_no_key_is_counted_by_the_plan_of_their_record_and_never_as_a_key() -> None:
    record = OnRecord(users=[User("alice", NOON, team="red", plan="lab", limits=MORE), User("bob", NOON, limits=MORE)])

    assert [(Level.USER, "alice", "team red"), (Level.USER, "alice", "team red"), (Level.TEAM, "red", "team red")] == [
        (one.level, one.subject, one.place)
        for one in accounts_of(Subject(Level.USER, "alice"), record, PLANS)
        if one.subject
    ]
    assert (Account(Level.USER, "bob", MORE, "user bob"),) == accounts_of(Subject(Level.USER, "bob"), record, PLANS)


def test_a_team_counts_its_users_without_keys_and_itself_without_users() -> None:
    users = [User("alice", NOON, team="red", plan="lab"), User("bob", NOON, team="blue", limits=MORE)]
    record = OnRecord([], users, [Team("red", NOON), Team("green", NOON, limits=MORE)])

    assert {"alice", "red"} == {
        one.subject for one in accounts_of(Subject(Level.TEAM, "red"), record, PLANS) if one.subject
    }
    assert (Account(Level.TEAM, "green", MORE, "team green"),) == accounts_of(
        Subject(Level.TEAM, "green"), record, PLANS
    )


def test_whoever_has_no_key_and_a_plan_that_is_gone_has_no_calls_either() -> None:
    with pytest.raises(NotDone, match="plan is not configured any more"):
        accounts_of(Subject(Level.USER, "alice"), OnRecord(users=[User("alice", NOON, plan="gone")]), PLANS)
