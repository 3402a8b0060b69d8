from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.doctor.front import FORGED, Front, Plain, Stream, Tls, findings
from tests.doctor.shown import shown

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STREAM = Stream(status=200, said=(0.0, 0.25, 0.5), came=(0.1, 0.36, 0.61), is_whole=True, peer="9.9.9.9", seconds=0.7)
GOOD = Front(
    "https://gate.example",
    tls=Tls(until=NOON + timedelta(days=60)),
    plain=Plain(),
    stream=STREAM,
    waited=replace(STREAM, seconds=70.1),
    wait=70.0,
    body=Stream(status=404, code="model_not_found"),
    body_bytes=8 * 2**20,
)
NEAR = replace(GOOD, url="http://127.0.0.1:11435", is_near=True, tls=None)


def test_of_a_good_one_nothing_bad_is_told() -> None:
    assert dict.fromkeys(
        (
            "front.tls",
            "front.plain",
            "front.key",
            "front.stream",
            "front.compression",
            "front.peer",
            "front.wait",
            "front.body",
        ),
        "ok",
    ) == shown(findings(GOOD, NOON))


def stream(**facts: Any) -> dict[str, Any]:
    return {"stream": replace(STREAM, **facts)}


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({"failure": "nobody listens there"}, "front.reachable", "critical"),
        ({"tls": None, "stream": None}, "front.tls", "critical"),
        ({"tls": None, "is_near": True}, "front.tls", "info"),
        ({"tls": Tls("self-signed certificate")}, "front.tls", "critical"),
        ({"tls": Tls(until=NOON + timedelta(days=3))}, "front.tls", "warning"),
        ({"plain": Plain(301, "https://gate.example/")}, "front.plain", "ok"),
        ({"plain": Plain(301, "http://gate.example/")}, "front.plain", "warning"),
        ({"plain": Plain(401)}, "front.plain", "warning"),
        ({"stream": None}, "front.key", "info"),
        (stream(status=None, failure="it hung up"), "front.stream", "critical"),
        (stream(status=401, code="invalid_api_key"), "front.key", "critical"),
        ({**stream(status=401, code="invalid_api_key"), "other_header": 200}, "front.key", "critical"),
        ({**stream(status=401, code="invalid_api_key"), "other_header": 401}, "front.key", "critical"),
        (stream(status=502), "front.key", "critical"),
        (stream(status=404, code="no_such_route"), "front.key", "warning"),
        (stream(status=429, code="rate_limit_exceeded"), "front.key", "info"),
        (stream(came=(0.7, 0.7, 0.7), said=(0.0, 0.5, 1.0)), "front.stream", "critical"),
        (stream(is_whole=False), "front.stream", "critical"),
        (stream(encoding="gzip"), "front.compression", "warning"),
        (stream(peer=FORGED), "front.peer", "critical"),
        (stream(peer="10.0.0.2"), "front.peer", "warning"),
        ({**stream(peer="10.0.0.2"), "is_near": True}, "front.peer", "ok"),
        (stream(peer="unknown"), "front.peer", "ok"),
        ({"waited": Stream(status=504, seconds=60.0)}, "front.wait", "critical"),
        ({"waited": Stream(failure="it hung up", seconds=60.0)}, "front.wait", "critical"),
        ({"waited": Stream(status=429, code="rate_limit_exceeded")}, "front.wait", "info"),
        ({"body": Stream(status=413)}, "front.body", "warning"),
        ({"body": Stream(failure="it hung up")}, "front.body", "warning"),
        ({"body": Stream(status=413, code="body_too_large")}, "front.body", "info"),
    ],
)
def test_whatever_is_wrong_in_front_is_told_as_badly_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts), NOON))[id]


def test_where_nobody_is_believed_nothing_else_was_tried() -> None:
    assert ["front.tls"] == [*shown(findings(replace(GOOD, tls=Tls("it has ended")), NOON))]


def test_on_this_machine_nothing_has_to_be_encrypted() -> None:
    assert "critical" not in shown(findings(NEAR, NOON)).values()


def test_an_even_delay_is_no_buffer() -> None:
    far = stream(came=(9.0, 9.25, 9.5), said=(0.0, 0.25, 0.5))

    assert "ok" == shown(findings(replace(GOOD, **far), NOON))["front.stream"]
