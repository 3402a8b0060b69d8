from dataclasses import replace
from typing import Any

import pytest

from proxy.doctor.gate import Gate, Ledger, Mistake, findings, mistakes
from tests.doctor.shown import shown

GOOD = Gate("http://127.0.0.1:11435", "127.0.0.1:11435", is_running=True, ledger=Ledger(), admin_listen="127.0.0.1:1")


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({}, "config.valid", "ok"),
        ({}, "gate.running", "ok"),
        ({}, "gate.ledger", "ok"),
        ({}, "gate.tls", "ok"),
        ({}, "gate.admin", "ok"),
        ({"is_running": False, "ledger": None}, "gate.running", "warning"),
        ({"is_running": False, "ledger": None, "failure": "Only root may."}, "gate.running", "info"),
        ({"ledger": Ledger(is_full=True)}, "gate.ledger", "critical"),
        ({"ledger": Ledger(is_failing=True)}, "gate.ledger", "critical"),
        ({"ledger": Ledger(behind_seconds=9.0)}, "gate.ledger", "warning"),
        ({"ledger": Ledger(lost=1)}, "gate.ledger", "warning"),
        ({"is_readable": True}, "gate.tls", "critical"),
        ({"admin_public": True}, "gate.admin", "warning"),
        ({"admin_public": True, "admin_private": True}, "gate.admin", "info"),
    ],
)
def test_the_gate_is_told_of_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts)))[id]


def test_without_an_admin_listener_there_is_nothing_to_tell_of_it() -> None:
    assert "gate.admin" not in shown(findings(replace(GOOD, admin_listen=None)))


def test_each_mistake_in_the_configuration_is_critical_and_has_its_cure() -> None:
    (told,) = mistakes([Mistake("llamagate.toml", "listen", "needs a port", "host:port")])

    assert ("critical", "llamagate.toml: listen: needs a port.", "host:port") == (told.severity, told.what, told.cure)
