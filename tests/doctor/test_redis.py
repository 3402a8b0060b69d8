from dataclasses import replace
from typing import Any

import pytest

from proxy.doctor.redis import Redis, findings, none
from tests.doctor.shown import shown

GOOD = Redis(
    "127.0.0.1:6379",
    version="7.2.4",
    asks_for_password=True,
    appends=True,
    snapshots=False,
    evicts="noeviction",
)


def test_of_a_good_one_nothing_bad_is_told() -> None:
    assert dict.fromkeys(
        ("redis.reachable", "redis.version", "redis.persistence", "redis.eviction", "redis.password"), "ok"
    ) == shown(findings(GOOD))


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({"failure": "nobody listens there"}, "redis.reachable", "critical"),
        ({"version": "5.0.14"}, "redis.version", "warning"),
        ({"version": ""}, "redis.version", "info"),
        ({"is_replica": True}, "redis.role", "critical"),
        ({"appending_fails": True}, "redis.persistence", "critical"),
        ({"appends": False, "snapshots": True}, "redis.persistence", "warning"),
        ({"appends": False}, "redis.persistence", "warning"),
        ({"evicts": "allkeys-lru"}, "redis.eviction", "info"),
        ({"evicts": "allkeys-lru", "most_memory": 100}, "redis.eviction", "warning"),
        ({"asks_for_password": False}, "redis.password", "warning"),
        ({"asks_for_password": False, "is_local": False}, "redis.password", "critical"),
        ({"is_local": False}, "redis.tls", "warning"),
        ({"is_local": False, "is_private": True}, "redis.tls", "info"),
        ({"asks_for_password": False, "is_local": False, "is_private": True}, "redis.password", "critical"),
    ],
)
def test_whatever_is_wrong_is_told_as_badly_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts)))[id]


def test_what_it_does_not_tell_is_no_finding() -> None:
    silent = replace(GOOD, appends=None, evicts="", asks_for_password=None)

    assert {"redis.reachable", "redis.version"} == shown(findings(silent)).keys()


def test_over_a_network_with_tls_nothing_is_missing() -> None:
    assert "redis.tls" not in shown(findings(replace(GOOD, is_local=False, has_tls=True)))


def test_the_cure_for_a_missing_password_is_one_that_a_restart_does_not_forget() -> None:
    """After CONFIG SET requirepass the next redis-cli is nobody, and may not say CONFIG REWRITE."""
    (told,) = (one for one in findings(replace(GOOD, asks_for_password=False)) if one.id == "redis.password")

    assert '"requirepass PASSWORD" in redis.conf' in told.cure
    assert "CONFIG" not in told.cure


def test_that_there_is_none_is_good_to_know() -> None:
    assert {"redis.reachable": "info"} == shown([none(workers=1)])
    assert none(workers=1).why != none(workers=2).why
