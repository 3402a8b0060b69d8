import json
from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.auth import Key, Kind, User
from proxy.vocabulary import Limits
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

KEY = Key(id="k7", user="bob", plan="default", created_at=NOON, digest=b"DIGEST" * 5)


def test_a_new_key_is_shown_once_with_the_lines_to_paste(type_in: Type) -> None:
    result = type_in("keys", "create", "--user", "alice")

    assert 0 == result.exit_code
    assert 1 == result.stdout.count("sk-lg_k1_SECRET1_crc")
    assert "\nexport OPENAI_BASE_URL=http://127.0.0.1:11435/v1\n" in result.stdout
    assert "\nexport OPENAI_API_KEY=sk-lg_k1_SECRET1_crc\n" in result.stdout
    assert "\ncurl " in result.stdout


def test_the_lines_to_paste_are_not_broken_however_long(type_in: Type, tools: FakeTools) -> None:
    secret = "sk-lg_k1_" + "x" * 500
    tools.mint = lambda key_id: ("k1", secret, b"")

    assert f"\nexport OPENAI_API_KEY={secret}\n" in type_in("keys", "create", "--user", "alice").stdout


def test_a_new_key_as_json(type_in: Type, tools: FakeTools) -> None:
    tools.text = '[plans.lab]\nmodels = ["*"]'
    result = type_in(
        "keys", "create", "--user", "alice", "--team", "red", "--plan", "lab", "--models", "llama3.2:*, Gemma3",
        "--expires", "90d", "--note", "laptop", "--json",
    )  # fmt: skip

    assert {
        "key": "sk-lg_k1_SECRET1_crc",
        "base_url": "http://127.0.0.1:11435/v1",
        "id": "k1",
        "user": "alice",
        "team": "red",
        "plan": "lab",
        "models": ["llama3.2:*", "gemma3"],
        "state": "live",
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-05-30T12:00:00Z",
        "suspended_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "note": "laptop",
        "limits": {},
        "former_until": None,
        "former_used_at": None,
    } == json.loads(result.stdout)


@pytest.mark.parametrize(
    ("code", "words", "why"),
    [
        (1, ["--user", "alice", "--plan", "gold"], "There are: default"),
        (1, ["--user", "a\x1bb"], "The user has to be"),
        (1, ["--user", "alice", "--models", "no!"], "it shouts"),
        (1, ["--user", "alice", "--expires", "0s"], "longer than no time"),
        (2, ["--user", "alice", "--expires", "soon"], "not a duration"),
    ],
)
def test_a_key_that_cannot_be_issued_is_told_why(type_in: Type, code: int, words: list[str], why: str) -> None:
    result = type_in("keys", "create", *words)

    assert (code, "") == (result.exit_code, result.stdout)
    assert why in " ".join(result.stderr.split())


def test_keys_are_listed_with_their_state_and_never_with_a_digest(type_in: Type, tools: FakeTools) -> None:
    expired = replace(KEY, id="k8", expires_at=NOON - timedelta(1), models=("gemma3",))
    tools.keys = FakeRegistry(KEY, expired, replace(KEY, id="k9", revoked_at=NOON))
    table = type_in("keys", "list").stdout
    listed = json.loads(type_in("keys", "list", "--json").stdout)

    assert ["live", "expired", "revoked"] == [key["state"] for key in listed]
    assert all(word in table for word in ("k7", "k8", "k9", "bob", "live", "expired", "revoked", "gemma3"))
    assert "DIGEST" not in table
    assert {"key", "digest"}.isdisjoint(listed[0])


def test_without_keys_the_first_one_is_explained(type_in: Type) -> None:
    assert "llamagate keys create --user alice" in type_in("keys", "list").stdout
    assert "[]\n" == type_in("keys", "list", "--json").stdout


def test_a_key_is_shown_and_revoked_by_its_id_or_all_of_it(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)

    assert "bob" in type_in("keys", "show", "k7").stdout
    assert "live" == json.loads(type_in("keys", "show", "sk-lg_k7_HUSH_crc", "--json").stdout)["state"]
    assert "Key k7 of bob is revoked since 2026-03-01 12:00:00 UTC.\n" == type_in("keys", "revoke", "k7").stdout
    assert "revoked" == json.loads(type_in("keys", "revoke", "k7", "--json").stdout)["state"]


EVERY_FLAG = (
    "--rpm", "30", "--burst", "10", "--tpm", "20000", "--concurrent", "2",
    "--tokens-per-day", "500000", "--tokens-per-month", "5000000", "--gpu-seconds-per-day", "2h",
)  # fmt: skip
EVERY_LIMIT = {
    "requests_per_minute": 30,
    "request_burst": 10,
    "tokens_per_minute": 20_000,
    "concurrent": 2,
    "tokens_per_day": 500_000,
    "tokens_per_month": 5_000_000,
    "gpu_seconds_per_day": 7200.0,
}


def test_a_key_can_be_issued_and_changed_with_limits_of_its_own(type_in: Type) -> None:
    issued = json.loads(type_in("keys", "create", "--user", "alice", *EVERY_FLAG, "--json").stdout)
    type_in("keys", "create", "--user", "bob")
    changed = json.loads(type_in("keys", "update", "k2", *EVERY_FLAG, "--json").stdout)

    assert EVERY_LIMIT == issued["limits"] == changed["limits"]
    assert EVERY_LIMIT == json.loads(type_in("keys", "show", "k1", "--json").stdout)["limits"]


def last_row(printed: str) -> list[str]:
    return printed.splitlines()[-1].strip().split(maxsplit=1)


def test_a_keys_own_limits_are_told_shortly(type_in: Type, tools: FakeTools) -> None:
    limits = Limits(requests_per_minute=30, tokens_per_minute=20_000, concurrent=2)
    tools.keys = FakeRegistry(KEY, replace(KEY, id="k8", limits=limits))
    _, plain, own = type_in("keys", "list").stdout.splitlines()

    assert "as the plan  as the plan                   live" in plain
    assert "as the plan  30 rpm, 20000 tpm, 2 at once  live" in own
    assert ["limits", "30 rpm, 20000 tpm, 2 at once"] == last_row(type_in("keys", "show", "k8").stdout)
    assert ["limits", "-"] == last_row(type_in("keys", "show", "k7").stdout)


def test_of_a_keys_own_limits_only_those_change_that_are_named(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(replace(KEY, limits=Limits(requests_per_minute=30, request_burst=10, concurrent=2)))

    assert (
        "Key k7 of bob, plan default: 30 rpm, bursts of 5, 2 at once.\n"
        == type_in("keys", "update", "k7", "--burst", "5").stdout
    )
    assert (
        "Key k7 of bob, plan default: 30 rpm.\n"
        == type_in("keys", "update", "sk-lg_k7_HUSH_crc", "--burst", "none", "--concurrent", "none").stdout
    )
    assert (
        "Key k7 of bob, plan default: no limits of its own.\n"
        == type_in("keys", "update", "k7", "--rpm", "none").stdout
    )


@pytest.mark.parametrize(
    ("code", "words", "why"),
    [
        (1, ["--rpm", "0"], "The requests per minute have to be at least 1 and at most 100000000."),
        (1, ["--rpm", "100000001"], "at most 100000000"),
        (1, ["--tpm", "100000001"], "at most 100000000"),
        (1, ["--concurrent", "1000001"], "at most 1000000."),
        (1, ["--tokens-per-day", "1000000000001"], "at most 1000000000000"),
        (1, ["--tokens-per-month", "1000000000001"], "at most 1000000000000"),
        (1, ["--gpu-seconds-per-day", "367d"], "at most 366d"),
        (1, ["--gpu-seconds-per-day", "0"], "more than 0s"),
        (1, ["--burst", "5"], "A burst of requests needs requests per minute"),
        (2, ["--rpm", "many"], "a whole number, or none"),
        (2, ["--tpm", "-1"], "a whole number, or none"),
        (2, ["--gpu-seconds-per-day", "soon"], "not a duration"),
    ],
)
@pytest.mark.parametrize("command", [["create", "--user", "alice"], ["update", "k7"]])
def test_limits_that_will_not_do_are_told_why_and_change_nothing(
    type_in: Type, tools: FakeTools, command: list[str], code: int, words: list[str], why: str
) -> None:
    tools.keys = FakeRegistry(KEY)
    result = type_in("keys", *command, *words)

    assert (code, "") == (result.exit_code, result.stdout)
    assert why in " ".join(result.stderr.replace("│", " ").split())
    assert [{}] == [key["limits"] for key in json.loads(type_in("keys", "list", "--json").stdout)]


def test_a_change_of_nothing_is_none(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)
    result = type_in("keys", "update", "k7")

    assert (1, "", "There is nothing to change: say what.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "command", [["show"], ["revoke"], ["suspend"], ["resume"], ["rotate"], ["update", "--rpm", "1"]]
)
def test_a_key_that_is_not_there_ends_with_1(type_in: Type, command: list[str]) -> None:
    result = type_in("keys", *command, "k9", "--json")

    assert (1, "", "There is no key k9.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["show", "k7"],
        ["revoke", "k7"],
        ["update", "k7", "--rpm", "1"],
        ["list", "--json"],
        ["suspend", "k7"],
        ["resume", "k7"],
        ["rotate", "k7"],
    ],
)
def test_a_stored_name_cannot_steer_the_terminal(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.keys = FakeRegistry(replace(KEY, user="[red]eve[/]\x1b[2J\r\u202e", note="\x9b2J"))
    printed = type_in("keys", *words).stdout

    assert {"\x1b", "\r", "\u202e", "\x9b"}.isdisjoint(printed)
    assert "[red]eve[/]" in printed


def test_a_key_that_names_neither_team_nor_plan_has_those_of_its_user(type_in: Type, tools: FakeTools) -> None:
    tools.text = '[plans.lab]\nmodels = ["*"]'
    tools.keys = FakeRegistry(users=[User("alice", NOON, team="red", plan="lab")])
    issued = json.loads(type_in("keys", "create", "--user", "alice", "--json").stdout)

    assert ("red", "lab") == (issued["team"], issued["plan"])


def test_everything_that_was_said_of_a_key_can_be_changed_and_taken_away(type_in: Type, tools: FakeTools) -> None:
    tools.text = '[plans.lab]\nmodels = ["*"]'
    tools.keys = FakeRegistry(KEY)
    words = ("--team", "red", "--plan", "lab", "--models", "Gemma3, llama3.2:*", "--expires", "1d", "--note", "laptop")
    changed = json.loads(type_in("keys", "update", "k7", *words, "--json").stdout)
    away = ("--team", "none", "--models", "none", "--expires", "never", "--note", "none")
    bare = json.loads(type_in("keys", "update", "k7", *away, "--json").stdout)
    names = ("team", "plan", "models", "expires_at", "note")

    assert ["red", "lab", ["gemma3", "llama3.2:*"], "2026-03-02T12:00:00Z", "laptop"] == [changed[one] for one in names]
    assert [None, "lab", None, None, None] == [bare[one] for one in names]


@pytest.mark.parametrize(
    ("code", "words", "why"),
    [
        (1, ["--plan", "gold"], "There are: default"),
        (1, ["--plan", "none"], "There is no plan 'none'"),
        (1, ["--team", "a\x1b"], "The team has to be"),
        (2, ["--expires", "none"], "not a duration"),
    ],
)
def test_a_change_that_cannot_be_made_is_told_why(
    type_in: Type, tools: FakeTools, code: int, words: list[str], why: str
) -> None:
    tools.keys = FakeRegistry(KEY)
    result = type_in("keys", "update", "k7", *words)

    assert (code, "") == (result.exit_code, result.stdout)
    assert why in " ".join(result.stderr.replace("│", " ").split())


def test_keys_that_end_soon_are_listed_soonest_first(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(
        KEY,
        replace(KEY, id="k8", expires_at=NOON + timedelta(days=10)),
        replace(KEY, id="k9", expires_at=NOON + timedelta(days=3)),
    )

    assert ["k9", "k8"] == [
        key["id"] for key in json.loads(type_in("keys", "list", "--expiring", "14d", "--json").stdout)
    ]
    assert ["k9"] == [line.split()[0] for line in type_in("keys", "list", "--expiring", "7d").stdout.splitlines()[1:]]
    assert "No key expires within that time.\n" == type_in("keys", "list", "--expiring", "1h").stdout


def test_when_a_key_was_last_used_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY, replace(KEY, id="k8", last_used_at=NOON))
    heads, unused, used = type_in("keys", "list").stdout.splitlines()

    assert "last used (UTC)" in heads
    assert ["never", "never", "-"] == unused.split()[-3:]
    assert ["never", "2026-03-01", "12:00:00", "-"] == used.split()[-4:]
    assert "2026-03-01T12:00:00Z" == json.loads(type_in("keys", "show", "k8", "--json").stdout)["last_used_at"]


def test_a_rotated_key_shows_its_new_secret_once_and_how_long_the_old_one_works(type_in: Type) -> None:
    type_in("keys", "create", "--user", "alice")
    result = type_in("keys", "rotate", "k1", "--overlap", "1h")

    assert 0 == result.exit_code
    assert (
        "Key k1 of alice has another secret, shown this once; the old one works until 2026-03-01 13:00:00 UTC:"
        in result.stdout
    )
    assert 1 == result.stdout.count("sk-lg_k1_SECRET2_crc")
    assert "\nexport OPENAI_API_KEY=sk-lg_k1_SECRET2_crc\n" in result.stdout


def test_a_rotation_under_way_is_told_and_not_one_that_is_over(type_in: Type, tools: FakeTools) -> None:
    going_on = replace(KEY, former_until=NOON + timedelta(hours=1))
    tools.keys = FakeRegistry(
        going_on,
        replace(going_on, id="k8", former_used_at=NOON),
        replace(KEY, id="k9", former_until=NOON, former_used_at=NOON),
    )

    assert "the former secret works until 2026-03-01 13:00:00, not used since" in type_in("keys", "show", "k7").stdout
    assert "2026-03-01 13:00:00, last used 2026-03-01 12:00:00" in type_in("keys", "show", "k8").stdout
    assert "former secret" not in type_in("keys", "show", "k9").stdout
    assert ("2026-03-01T13:00:00Z", "2026-03-01T12:00:00Z") == tuple(
        json.loads(type_in("keys", "show", "k8", "--json").stdout)[name] for name in ("former_until", "former_used_at")
    )


def test_without_an_overlap_the_old_secret_ends_at_once(type_in: Type) -> None:
    type_in("keys", "create", "--user", "alice")
    first = type_in("keys", "rotate", "k1", "--overlap", "0s")
    second = json.loads(type_in("keys", "rotate", "k1", "--json").stdout)

    assert "the old one works no more:" in first.stdout
    assert ("sk-lg_k1_SECRET3_crc", "2026-03-02T12:00:00Z") == (second["key"], second["former_until"])


def test_a_second_rotation_has_to_be_said_to_end_the_first(type_in: Type) -> None:
    type_in("keys", "create", "--user", "alice")
    type_in("keys", "rotate", "k1")
    refused = type_in("keys", "rotate", "k1")

    assert (1, "") == (refused.exit_code, refused.stdout)
    assert "works until 2026-03-02 12:00 UTC. Wait for that, or end it with --now." in refused.stderr
    assert 0 == type_in("keys", "rotate", "k1", "--now").exit_code


def test_a_key_that_is_refused_anyway_is_rotated_with_a_warning(type_in: Type) -> None:
    type_in("keys", "create", "--user", "alice")
    type_in("keys", "suspend", "k1")

    assert "The key itself is suspended: it is refused as before.\n" == type_in("keys", "rotate", "k1").stderr


def test_a_key_is_suspended_and_resumed(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)

    assert "Key k7 of bob is suspended since 2026-03-01 12:00:00 UTC.\n" == type_in("keys", "suspend", "k7").stdout
    assert "suspended" == json.loads(type_in("keys", "suspend", "k7", "--json").stdout)["state"]
    assert "Key k7 of bob is live.\n" == type_in("keys", "resume", "k7").stdout
    assert "live" == json.loads(type_in("keys", "resume", "k7", "--json").stdout)["state"]


def test_no_identity_is_listed_among_the_keys(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY, replace(KEY, id="i1", kind=Kind.IDENTITY))

    assert ["k7"] == [key["id"] for key in json.loads(type_in("keys", "list", "--json").stdout)]
    assert 1 == type_in("keys", "show", "i1").exit_code
