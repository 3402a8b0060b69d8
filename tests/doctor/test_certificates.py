from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.doctor.certificates import Certificate, findings
from tests.doctor.shown import shown

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GOOD = Certificate("/cert.pem", since=NOON - timedelta(days=10), until=NOON + timedelta(days=80))


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({}, "certificate.usable", "ok"),
        ({}, "certificate.expiry", "ok"),
        ({}, "certificate.chain", "ok"),
        ({"failure": "The key is not that of the certificate."}, "certificate.usable", "critical"),
        ({"until": NOON}, "certificate.expiry", "critical"),
        ({"since": NOON + timedelta(hours=1)}, "certificate.expiry", "critical"),
        ({"until": NOON + timedelta(days=13)}, "certificate.expiry", "warning"),
        ({"distrust": "self-signed certificate"}, "certificate.chain", "warning"),
    ],
)
def test_a_certificate_is_told_of_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts), NOON))[id]
