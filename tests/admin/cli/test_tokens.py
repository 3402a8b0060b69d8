import json

import pytest
from typer.testing import CliRunner

from proxy.admin.cli.app import cli
from proxy.errors import AuthUnavailable
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.HUSH"


def test_a_subject_is_denied_listed_and_allowed_again(type_in: Type) -> None:
    words = ("--issuer", "keycloak", "--sub", "alice")
    denied = type_in("tokens", "deny", *words, "--note", "left us")
    listed = type_in("tokens", "denied").stdout.splitlines()

    assert "Tokens of keycloak with sub alice are refused.\n" == denied.stdout
    assert "keycloak sub alice 2026-03-01 12:00:00 left us" == " ".join(listed[1].split())
    assert [
        {"issuer": "keycloak", "claim": "sub", "value": "alice", "at": "2026-03-01T12:00:00Z", "note": "left us"}
    ] == json.loads(type_in("tokens", "denied", "--json").stdout)
    assert "Tokens of keycloak with sub alice are refused no more.\n" == type_in("tokens", "allow", *words).stdout
    assert "Nothing is denied.\n" == type_in("tokens", "denied").stdout
    assert (1, "That is not on the list of what is denied.\n") == (
        (again := type_in("tokens", "allow", *words)).exit_code,
        again.stderr,
    )


def test_what_was_done_is_told_as_json(type_in: Type) -> None:
    words = ("--issuer", "keycloak", "--jti", "t-1", "--json")

    assert "t-1" == json.loads(type_in("tokens", "deny", *words).stdout)["value"]
    assert {"issuer": "keycloak", "claim": "jti", "value": "t-1"} == json.loads(
        type_in("tokens", "allow", *words).stdout
    )


def test_an_issuer_that_is_not_trusted_is_told(type_in: Type) -> None:
    result = type_in("tokens", "deny", "--issuer", "nobody", "--sub", "alice")

    assert (1, "There is no issuer 'nobody'. There are: keycloak.\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize("words", [[], ["--jti", "a", "--sub", "b"]])
@pytest.mark.parametrize("command", ["deny", "allow"])
def test_one_claim_at_a_time(type_in: Type, command: str, words: list[str]) -> None:
    assert 2 == type_in("tokens", command, "--issuer", "keycloak", *words).exit_code


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"Bearer {TOKEN}\r\n", f"bearer  {TOKEN}"])
def test_a_token_is_read_from_standard_input_and_explained(tools: FakeTools, text: str) -> None:
    tools.explained = {"issuer": "keycloak", "user": "alice", "team": None, "plan": "lab", "refused": None}
    result = CliRunner().invoke(cli(), ["tokens", "explain"], obj=tools, input=text)

    assert [TOKEN] == tools.tokens
    assert 0 == result.exit_code
    assert ["what value", "issuer keycloak", "user alice", "team -", "plan lab", "refused -"] == [
        " ".join(line.split()) for line in result.stdout.splitlines()
    ]


def test_a_token_that_is_refused_ends_with_1_and_says_why(tools: FakeTools) -> None:
    tools.explained = {"issuer": "keycloak", "refused": "expired"}
    result = CliRunner().invoke(cli(), ["tokens", "explain", "--json"], obj=tools, input=TOKEN)

    assert (1, {"issuer": "keycloak", "refused": "expired"}) == (result.exit_code, json.loads(result.stdout))
    assert "HUSH" not in result.output


def test_a_token_is_never_taken_from_the_command_line(type_in: Type, tools: FakeTools) -> None:
    assert 2 == type_in("tokens", "explain", TOKEN).exit_code
    assert [] == tools.tokens


def test_where_nobody_can_tell_that_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.fails = AuthUnavailable()
    result = type_in("tokens", "explain")

    assert (1, f"{AuthUnavailable.default}\n") == (result.exit_code, result.stderr)
