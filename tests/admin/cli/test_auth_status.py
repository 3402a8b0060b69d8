import json

from proxy.admin.proofs import AuthStatus, IssuerStatus
from proxy.admin.refusals import GateNotRunning
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

ISSUERS = (IssuerStatus("sso", 2, 61.5, 3, 1, "no answer"), IssuerStatus("ci"))


def told(type_in: Type, *words: str) -> list[str]:
    result = type_in("auth", "status", *words)

    assert 0 == result.exit_code
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_who_was_let_in_and_why_others_were_not_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.proofs = AuthStatus({"api_key": 7, "wrong_audience": 2, "expired": 1}, None, ISSUERS)

    assert [
        "what value",
        "what is on record well",
        "api key 7",
        "expired 1",
        "wrong audience 2",
        "",
        "issuer keys fetched fetches failures why the last one failed",
        "sso 2 62 s ago 3 1 no answer",
        "ci 0 - 0 0 -",
    ] == told(type_in)


def test_a_lost_database_is_told_first_and_no_issuers_are_told_where_there_are_none(
    type_in: Type, tools: FakeTools
) -> None:
    tools.proofs = AuthStatus(away_seconds=12.4)

    assert [
        "what value",
        "what is on record away for 12 s: who is known goes on for a while",
    ] == told(type_in)


def test_it_is_told_as_json(type_in: Type, tools: FakeTools) -> None:
    tools.proofs = AuthStatus({"api_key": 7}, None, ISSUERS[1:])
    issuer = {"name": "ci", "keys": 0, "age_seconds": None, "fetches": 0, "failures": 0, "reason": None}

    assert {"counts": {"api_key": 7}, "away_seconds": None, "issuers": [issuer]} == json.loads(
        type_in("auth", "status", "--json").stdout
    )


def test_where_no_gate_runs_that_is_said(type_in: Type, tools: FakeTools) -> None:
    tools.fails = GateNotRunning("The gate does not run: nobody listens.")
    result = type_in("auth", "status")

    assert (1, True) == (result.exit_code, "The gate does not run" in result.stderr)
