from dataclasses import replace
from typing import Any

import pytest

from proxy.doctor.database import Database, findings
from tests.doctor.shown import shown

GOOD = Database("PostgreSQL", version=16, has_tls=True, is_local=False, revision="0005", live_keys=3)


def test_of_a_good_one_nothing_bad_is_told() -> None:
    assert {"database.reachable": "ok", "database.schema": "ok", "gate.keys": "ok"} == shown(
        findings(GOOD, "0005", has_issuers=False)
    )


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({"is_there": False}, "database.reachable", "info"),
        ({"is_hidden": True}, "database.reachable", "info"),
        ({"failure": "nobody listens there"}, "database.reachable", "critical"),
        ({"kind": "SQLite", "failure": "SQLite says SQLITE_CANTOPEN"}, "database.reachable", "critical"),
        ({"version": 13}, "database.version", "warning"),
        ({"has_tls": False}, "database.tls", "warning"),
        ({"has_tls": False, "is_private": True}, "database.tls", "info"),
        ({"revision": "0003", "live_keys": None}, "database.schema", "info"),
        ({"revision": None, "live_keys": None}, "database.schema", "info"),
        ({"revision": "0006", "live_keys": None}, "database.schema", "critical"),
        ({"live_keys": 0}, "gate.keys", "warning"),
    ],
)
def test_whatever_is_wrong_is_told_as_badly_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts), "0005", has_issuers=False))[id]


def test_without_keys_others_may_come_in_with_tokens() -> None:
    assert "info" == shown(findings(replace(GOOD, live_keys=0), "0005", has_issuers=True))["gate.keys"]


def test_within_one_machine_nothing_has_to_be_encrypted() -> None:
    local = replace(GOOD, is_local=True, has_tls=False)

    assert "database.tls" not in shown(findings(local, "0005", has_issuers=False))
