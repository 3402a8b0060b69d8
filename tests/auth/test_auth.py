from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.auth import Holder, Key, Team, User
from proxy.errors import Why
from proxy.vocabulary import Caller, Limits, Plan

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key(
    id="k1",
    user="alice",
    plan="default",
    created_at=NOON,
    digest=b"canary-of-32-bytes-in-the-digest",
    former_digest=b"canary-of-32-bytes-before-that..",
)
ALICE, LAB = User("alice", NOON), Team("lab", NOON)


@pytest.mark.parametrize(
    ("expires_at", "suspended_at", "revoked_at", "state"),
    [
        (None, None, None, "live"),
        (NOON + timedelta(microseconds=1), None, None, "live"),
        (NOON, None, None, "expired"),
        (NOON - timedelta(days=1), None, None, "expired"),
        (None, NOON, None, "suspended"),
        (NOON, NOON + timedelta(days=1), None, "suspended"),
        (None, None, NOON, "revoked"),
        (None, None, NOON + timedelta(days=1), "revoked"),
        (NOON, NOON, NOON, "revoked"),
    ],
)
def test_a_key_is(
    expires_at: datetime | None, suspended_at: datetime | None, revoked_at: datetime | None, state: str
) -> None:
    key = replace(KEY, expires_at=expires_at, suspended_at=suspended_at, revoked_at=revoked_at)

    assert state == key.state(NOON)


def test_no_digest_shows() -> None:
    assert "canary" not in repr(KEY) + str(KEY)
    assert KEY.digest.hex() not in repr(KEY)


@pytest.mark.parametrize(
    ("holder", "why"),
    [
        (Holder(KEY), None),
        (Holder(KEY, ALICE, LAB), None),
        (Holder(replace(KEY, expires_at=NOON), ALICE, LAB), Why.EXPIRED),
        (Holder(replace(KEY, suspended_at=NOON), ALICE, LAB), Why.SUSPENDED),
        (Holder(replace(KEY, revoked_at=NOON), replace(ALICE, suspended_at=NOON), LAB), Why.REVOKED),
        (Holder(KEY, replace(ALICE, suspended_at=NOON), replace(LAB, suspended_at=NOON)), Why.USER_SUSPENDED),
        (Holder(KEY, ALICE, replace(LAB, suspended_at=NOON)), Why.TEAM_SUSPENDED),
        (Holder(KEY, None, replace(LAB, suspended_at=NOON)), Why.TEAM_SUSPENDED),
    ],
)
def test_the_holder_of_a_key_is_refused_for_the_nearest_reason(holder: Holder, why: Why | None) -> None:
    assert why is holder.refused(NOON)


def test_whoever_holds_a_key_is_its_caller_with_the_limits_of_all_three() -> None:
    key = replace(KEY, team="lab", models=("gemma3",), limits=Limits(concurrent=2))
    user, team = replace(ALICE, limits=Limits(concurrent=3)), replace(LAB, limits=Limits(concurrent=4))
    alone = Caller("alice", "k1", Plan("default"), "lab", ("gemma3",), Limits(concurrent=2))

    assert alone == Holder(key).caller(Plan("default"))
    assert replace(alone, user_limits=Limits(concurrent=3), team_limits=Limits(concurrent=4)) == Holder(
        key, user, team
    ).caller(Plan("default"))
