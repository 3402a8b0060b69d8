import json
from dataclasses import replace

import pytest

from proxy.auth import Key, Kind
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

KEY = Key("i7", "bob", "default", NOON, kind=Kind.IDENTITY, digest=b"DIGEST" * 5)
LINE = "ssh-ed25519 AAAA"


def test_a_new_identity_is_told_with_the_command_that_tries_it(type_in: Type) -> None:
    result = type_in("identities", "add", "--user", "alice", LINE)

    assert 0 == result.exit_code
    assert "Identity i-AAAA of alice, plan default." in result.stdout
    assert "\nOLLAMA_AUTH=1 OLLAMA_HOST=http://127.0.0.1:11435 ollama list\n" in result.stdout


def test_a_new_identity_as_json(type_in: Type, tools: FakeTools) -> None:
    tools.text = '[plans.lab]\nmodels = ["*"]'
    result = type_in(
        "identities", "add", LINE, "--user", "alice", "--team", "red", "--plan", "lab", "--models", "Gemma3",
        "--expires", "90d", "--note", "laptop", "--rpm", "30", "--json",
    )  # fmt: skip

    assert {
        "id": "i-AAAA",
        "user": "alice",
        "team": "red",
        "plan": "lab",
        "models": ["gemma3"],
        "state": "live",
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-05-30T12:00:00Z",
        "suspended_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "note": "laptop",
        "limits": {"requests_per_minute": 30},
        "address": "http://127.0.0.1:11435",
    } == json.loads(result.stdout)


def test_a_public_key_that_will_not_do_is_told_why(type_in: Type) -> None:
    result = type_in("identities", "add", "--user", "alice", "ssh-rsa HUSH")

    assert (1, "", "This is no ssh-ed25519 key.\n") == (result.exit_code, result.stdout, result.stderr)


def test_the_same_public_key_is_refused_and_a_revoked_one_for_good(type_in: Type) -> None:
    type_in("identities", "add", "--user", "alice", LINE)
    again = type_in("identities", "add", "--user", "bob", LINE)
    type_in("identities", "revoke", LINE)
    never = type_in("identities", "add", "--user", "bob", LINE)

    assert (1, 1) == (again.exit_code, never.exit_code)
    assert "on record already, as the identity i-AAAA of alice" in again.stderr
    assert "is revoked, and that is for good" in never.stderr


def test_identities_are_listed_without_keys(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY, replace(KEY, id="k1", kind=Kind.API_KEY))
    table = type_in("identities", "list").stdout

    assert ["i7"] == [key["id"] for key in json.loads(type_in("identities", "list", "--json").stdout)]
    assert "i7" in table
    assert "k1" not in table
    assert "DIGEST" not in table


def test_without_identities_the_first_one_is_explained(type_in: Type) -> None:
    assert "llamagate identities add --user alice" in type_in("identities", "list").stdout


def test_an_identity_is_shown_changed_suspended_resumed_and_revoked(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)

    assert "bob" in type_in("identities", "show", "i7").stdout
    assert "live" == json.loads(type_in("identities", "show", "i7", "--json").stdout)["state"]
    assert (
        "Identity i7 of bob, plan default: 2 at once.\n"
        == type_in("identities", "update", "i7", "--concurrent", "2", "--note", "laptop").stdout
    )
    changed = json.loads(type_in("identities", "update", "i7", "--concurrent", "none", "--json").stdout)
    assert ("laptop", {}) == (changed["note"], changed["limits"])
    assert "is suspended since 2026-03-01 12:00:00 UTC.\n" in type_in("identities", "suspend", "i7").stdout
    assert "suspended" == json.loads(type_in("identities", "suspend", "i7", "--json").stdout)["state"]
    assert "Identity i7 of bob is live.\n" == type_in("identities", "resume", "i7").stdout
    assert "live" == json.loads(type_in("identities", "resume", "i7", "--json").stdout)["state"]
    assert "is revoked since 2026-03-01 12:00:00 UTC.\n" in type_in("identities", "revoke", "i7").stdout
    assert "revoked" == json.loads(type_in("identities", "revoke", "i7", "--json").stdout)["state"]


@pytest.mark.parametrize("command", [["show"], ["revoke"], ["suspend"], ["resume"], ["update", "--rpm", "1"]])
def test_a_key_is_no_identity(type_in: Type, tools: FakeTools, command: list[str]) -> None:
    tools.keys = FakeRegistry(replace(KEY, id="k1", kind=Kind.API_KEY))
    result = type_in("identities", *command, "k1")

    assert (1, "", "There is no identity k1.\n") == (result.exit_code, result.stdout, result.stderr)
