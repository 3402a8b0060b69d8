import json
from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.auth import Key
from proxy.vocabulary import Limits
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeKeys
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
    tools.mint = lambda: ("k1", secret, b"")

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
        "revoked_at": None,
        "note": "laptop",
        "limits": {},
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
    tools.keys = FakeKeys(KEY, expired, replace(KEY, id="k9", revoked_at=NOON))
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
    tools.keys = FakeKeys(KEY)

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
    tools.keys = FakeKeys(KEY, replace(KEY, id="k8", limits=limits))
    _, plain, own = type_in("keys", "list").stdout.splitlines()

    assert "as the plan  as the plan                   live" in plain
    assert "as the plan  30 rpm, 20000 tpm, 2 at once  live" in own
    assert ["limits", "30 rpm, 20000 tpm, 2 at once"] == last_row(type_in("keys", "show", "k8").stdout)
    assert ["limits", "-"] == last_row(type_in("keys", "show", "k7").stdout)


def test_of_a_keys_own_limits_only_those_change_that_are_named(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeKeys(replace(KEY, limits=Limits(requests_per_minute=30, request_burst=10, concurrent=2)))

    assert "Key k7 of bob: 30 rpm, bursts of 5, 2 at once.\n" == type_in("keys", "update", "k7", "--burst", "5").stdout
    assert (
        "Key k7 of bob: 30 rpm.\n"
        == type_in("keys", "update", "sk-lg_k7_HUSH_crc", "--burst", "none", "--concurrent", "none").stdout
    )
    assert "Key k7 of bob: no limits of its own.\n" == type_in("keys", "update", "k7", "--rpm", "none").stdout


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
    tools.keys = FakeKeys(KEY)
    result = type_in("keys", *command, *words)

    assert (code, "") == (result.exit_code, result.stdout)
    assert why in " ".join(result.stderr.replace("│", " ").split())
    assert [{}] == [key["limits"] for key in json.loads(type_in("keys", "list", "--json").stdout)]


def test_a_change_of_nothing_is_none(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeKeys(KEY)
    result = type_in("keys", "update", "k7")

    assert (1, "", "There is nothing to change: name a limit.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("command", [["show"], ["revoke"], ["update", "--rpm", "1"]])
def test_a_key_that_is_not_there_ends_with_1(type_in: Type, command: list[str]) -> None:
    result = type_in("keys", *command, "k9", "--json")

    assert (1, "", "There is no key k9.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "words", [["list"], ["show", "k7"], ["revoke", "k7"], ["update", "k7", "--rpm", "1"], ["list", "--json"]]
)
def test_a_stored_name_cannot_steer_the_terminal(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.keys = FakeKeys(replace(KEY, user="[red]eve[/]\x1b[2J\r\u202e", note="\x9b2J"))
    printed = type_in("keys", *words).stdout

    assert {"\x1b", "\r", "\u202e", "\x9b"}.isdisjoint(printed)
    assert "[red]eve[/]" in printed
