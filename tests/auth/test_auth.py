from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.auth import Key
from proxy.vocabulary import Caller, Limits, Plan

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key(id="k1", user="alice", plan="default", created_at=NOON, digest=b"canary-of-32-bytes-in-the-digest")


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "state"),
    [
        (None, None, "live"),
        (NOON + timedelta(microseconds=1), None, "live"),
        (NOON, None, "expired"),
        (NOON - timedelta(days=1), None, "expired"),
        (None, NOON, "revoked"),
        (None, NOON + timedelta(days=1), "revoked"),
        (NOON, NOON, "revoked"),
    ],
)
def test_a_key_is(expires_at: datetime | None, revoked_at: datetime | None, state: str) -> None:
    assert state == replace(KEY, expires_at=expires_at, revoked_at=revoked_at).state(NOON)


def test_a_digest_does_not_show() -> None:
    assert "canary" not in repr(KEY) + str(KEY)
    assert KEY.digest.hex() not in repr(KEY)


def test_whoever_holds_a_key_is_its_caller() -> None:
    key = replace(KEY, team="lab", models=("gemma3",), limits=Limits(concurrent=2))
    expected = Caller("alice", "k1", Plan("default"), "lab", ("gemma3",), Limits(concurrent=2))

    assert expected == key.caller(Plan("default"))
