"""A key's life, told to a running gate by other processes."""

import time
import urllib.error
import urllib.request

from tests.end_to_end.gate import Account, Gate
from tests.end_to_end.processes import until

REVOKED_WITHIN_SECONDS = 1.0


def status_of(gate: Gate, account: Account) -> int:
    request = urllib.request.Request(f"{gate.url}/v1/models", headers=account.bearer)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def test_a_key_that_another_process_revokes_is_refused_within_a_second(gate: Gate) -> None:
    account = gate.issue("carol")

    assert 200 == status_of(gate, account)

    gate.revoke(account)
    began = time.monotonic()
    until(lambda: status_of(gate, account) == 401 or None, 10, "a refusal")

    assert time.monotonic() - began < REVOKED_WITHIN_SECONDS


def test_a_key_expires_by_itself(gate: Gate) -> None:
    account = gate.issue("dave", "--expires", "3s")

    assert 200 == status_of(gate, account)

    until(lambda: status_of(gate, account) == 401 or None, 10, "a refusal")
    (shown,) = gate.asked("keys", "show", account.key_id, "--json")

    assert ("expired", None) == (shown["state"], shown["revoked_at"])
