import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from proxy.auth import Key, Kind
from proxy.auth.certificates import of_client
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

ALICE = trustme.CA().issue_cert("alice", not_before=NOON, not_after=NOON + timedelta(days=90))
PEM = ALICE.cert_chain_pems[0].bytes().decode()
ID = of_client(PEM).key_id
KEY = Key("c7", "bob", "default", NOON, kind=Kind.CERTIFICATE, digest=b"DIGEST" * 5)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "alice.pem"
    path.write_text(PEM)
    return str(path)


def test_a_new_certificate_is_told_with_the_command_that_tries_it(type_in: Type, tools: FakeTools, file: str) -> None:
    tools.text = '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\nclient_authorities = "a.pem"'
    result = type_in("certificates", "add", "--user", "alice", file)

    assert 0 == result.exit_code
    assert f"Certificate {ID} of alice, plan default." in result.stdout
    assert f"\ncurl --cert {file} --key KEY.pem https://127.0.0.1:11435/v1/models\n" in result.stdout
    assert "[tls]" not in result.stdout


def test_where_no_client_is_asked_for_one_that_is_told(type_in: Type, file: str) -> None:
    assert "[tls] client_authorities" in type_in("certificates", "add", "--user", "alice", file).stdout


def test_a_new_certificate_as_json(type_in: Type, file: str) -> None:
    result = type_in("certificates", "add", file, "--user", "alice", "--note", "laptop", "--rpm", "30", "--json")

    assert {
        "id": ID,
        "user": "alice",
        "team": None,
        "plan": "default",
        "models": None,
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


def test_a_file_that_is_not_there_is_told(type_in: Type) -> None:
    result = type_in("certificates", "add", "--user", "alice", "/nowhere/alice.pem")

    assert (1, "", "/nowhere/alice.pem cannot be read: No such file or directory.\n") == (
        result.exit_code, result.stdout, result.stderr,
    )  # fmt: skip


def test_a_file_with_a_private_key_is_refused_and_not_repeated(type_in: Type, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(ALICE.private_key_and_cert_chain_pem.bytes())
    result = type_in("certificates", "add", "--user", "alice", str(path))

    assert 1 == result.exit_code
    assert "private key in this file" in result.stderr
    assert path.read_text().splitlines()[1] not in result.stderr


def test_a_certificate_is_found_by_its_file(type_in: Type, file: str) -> None:
    type_in("certificates", "add", "--user", "alice", file)

    assert ID == json.loads(type_in("certificates", "show", file, "--json").stdout)["id"]
    assert f"Certificate {ID} of alice is revoked since" in type_in("certificates", "revoke", file).stdout
    assert "is revoked, and that is for good" in type_in("certificates", "add", "--user", "bob", file).stderr


def test_certificates_are_listed_without_digests(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY, replace(KEY, id="k1", kind=Kind.API_KEY))
    table = type_in("certificates", "list").stdout

    assert ["c7"] == [key["id"] for key in json.loads(type_in("certificates", "list", "--json").stdout)]
    assert "c7" in table
    assert "k1" not in table
    assert "DIGEST" not in table


def test_without_certificates_the_first_one_is_explained(type_in: Type) -> None:
    assert "llamagate certificates add --user alice alice.pem" in type_in("certificates", "list").stdout


def test_a_certificate_is_shown_changed_suspended_resumed_and_revoked(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)

    assert "bob" in type_in("certificates", "show", "c7").stdout
    assert (
        "Certificate c7 of bob, plan default: 2 at once.\n"
        == type_in("certificates", "update", "c7", "--concurrent", "2").stdout
    )
    assert "is suspended since 2026-03-01 12:00:00 UTC.\n" in type_in("certificates", "suspend", "c7").stdout
    assert "Certificate c7 of bob is live.\n" == type_in("certificates", "resume", "c7").stdout
    assert "revoked" == json.loads(type_in("certificates", "revoke", "c7", "--json").stdout)["state"]


@pytest.mark.parametrize("command", [["show"], ["revoke"], ["suspend"], ["resume"], ["update", "--rpm", "1"]])
def test_a_key_is_no_certificate(type_in: Type, tools: FakeTools, command: list[str]) -> None:
    tools.keys = FakeRegistry(replace(KEY, id="k1", kind=Kind.API_KEY))
    result = type_in("certificates", *command, "k1")

    assert (1, "", "There is no certificate k1.\n") == (result.exit_code, result.stdout, result.stderr)


def test_a_user_is_shown_with_their_certificates(type_in: Type, tools: FakeTools) -> None:
    tools.keys = FakeRegistry(KEY)

    assert ["c7"] == [key["id"] for key in json.loads(type_in("users", "show", "bob", "--json").stdout)["certificates"]]
    assert "c7 (live)" in type_in("users", "show", "bob").stdout


def test_a_file_in_the_home_of_nobody_cannot_be_read(type_in: Type) -> None:
    result = type_in("certificates", "add", "~nobody-of-here/alice.pem", "--user", "alice")

    assert 1 == result.exit_code
    assert "begins with a home that this machine does not know" in result.stderr
