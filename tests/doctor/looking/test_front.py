import ssl
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from proxy.doctor.front import Front, findings
from proxy.doctor.looking import front as looking
from proxy.doctor.looking.http import Answered
from tests.conftest import Gate, OpenGate
from tests.doctor.looking.proxies import Habits, proxy
from tests.doctor.shown import shown
from tests.fakes.redis import free_port
from tests.fakes.upstream import whole

NOW = datetime.now(UTC)
QUICK = 0.01
"""Seconds between two events, where the time between them is of no interest."""


async def look(url: str, key: str | None, **told: Any) -> Front:
    return await looking.look(url, key, **{"wait": 0.0, "clock": time.monotonic, "every": QUICK, **told})


async def seen(url: str, key: str | None, **told: Any) -> dict[str, str]:
    front = await look(url, key, **told)
    assert key is None or key not in str([front, *findings(front, NOW)])
    return dict(shown(findings(front, NOW)))


async def test_through_a_proxy_that_passes_everything_on_all_is_well(gate: Gate) -> None:
    async with proxy(gate.standing.address, Habits()) as url:
        told = await seen(f"{url}/v1", gate.key, wait=0.2)

    assert {
        "front.tls": "info",
        "front.key": "ok",
        "front.stream": "ok",
        "front.compression": "ok",
        "front.peer": "ok",
        "front.wait": "ok",
        "front.body": "ok",
    } == told


async def test_without_a_key_only_the_way_is_looked_at(gate: Gate) -> None:
    assert {"front.tls": "info", "front.key": "info"} == await seen(gate.standing.address, None)


@pytest.mark.parametrize(
    ("habits", "told", "id", "severity"),
    [
        (Habits(holds_back=True), {"every": 0.1}, "front.stream", "critical"),
        (Habits(breaks_off_after=300), {}, "front.stream", "critical"),
        (Habits(compresses=True), {}, "front.compression", "warning"),
        (Habits(patience=0.3), {"wait": 1.0}, "front.wait", "critical"),
        (Habits(drops="authorization"), {}, "front.key", "critical"),
        (Habits(largest_body=2**20), {}, "front.body", "warning"),
        (Habits(says=whole(b"<html>", "text/html", status="502 Bad Gateway")), {}, "front.key", "critical"),
        (Habits(says=b""), {}, "front.reachable", "critical"),
        (Habits(cuts_path="/v1"), {}, "front.key", "warning"),
    ],
)
async def test_a_proxy_that_does_one_thing_wrong_is_told_of(
    gate: Gate, habits: Habits, told: dict[str, Any], id: str, severity: str
) -> None:
    async with proxy(gate.standing.address, habits) as url:
        found = await seen(url, gate.key, **told)

    assert severity == found[id]


async def test_that_only_the_one_header_is_lost_is_found_out(gate: Gate) -> None:
    async with proxy(gate.standing.address, Habits(drops="authorization")) as url:
        front = await look(url, gate.key)

    assert 200 == front.other_header
    assert any("Authorization does not reach" in one.what for one in findings(front, NOW))


async def test_a_key_that_is_not_good_is_told_of(gate: Gate) -> None:
    assert "critical" == (await seen(gate.standing.address, "sk-lg_nobodys"))["front.key"]


async def test_whoever_believes_everybody_about_whom_they_speak_for_is_told_of(open_gate: OpenGate) -> None:
    gate = await open_gate(trusted_proxies=("127.0.0.1",))
    async with proxy(gate.standing.address, Habits()) as url:
        assert "critical" == (await seen(url, gate.key))["front.peer"]


async def test_a_gate_that_takes_no_such_body_says_so_itself(open_gate: OpenGate) -> None:
    gate = await open_gate(max_body=2**20)

    assert "info" == (await seen(gate.standing.address, gate.key))["front.body"]


async def test_nobody_there_is_told() -> None:
    assert {"front.reachable": "critical"} == await seen(f"http://127.0.0.1:{free_port()}", "sk-lg_k")


async def test_whoever_says_nothing_is_given_up() -> None:
    async with proxy("http://127.0.0.1:1", Habits(says=b"HTTP/1.1 200 OK\r\n")) as url:
        assert {"front.reachable": "critical"} == await seen(url, "sk-lg_k", patience=0.5)


class Secure:
    """An authority, and what a client and a proxy make of it."""

    def __init__(self) -> None:
        self.ca = trustme.CA()

    def server(self, **dates: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1", **dates).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def secure() -> Secure:
    return Secure()


async def test_with_tls_that_is_believed_all_is_well(gate: Gate, secure: Secure) -> None:
    async with proxy(gate.standing.address, Habits(), secure.server()) as url:
        found = await seen(url, gate.key, tls=secure.client(), plain_port=free_port())

    assert ("ok", "ok", "ok", "ok") == tuple(found[f"front.{name}"] for name in ("tls", "plain", "key", "stream"))


async def test_a_certificate_that_ends_soon_is_told_of(gate: Gate, secure: Secure) -> None:
    ends = datetime.fromtimestamp(time.time() + 5 * 86_400, UTC)
    async with proxy(gate.standing.address, Habits(), secure.server(not_after=ends)) as url:
        assert "warning" == (await seen(url, gate.key, tls=secure.client()))["front.tls"]


async def test_the_key_is_shown_to_nobody_whose_certificate_is_not_believed(gate: Gate, secure: Secure) -> None:
    async with proxy(gate.standing.address, Habits(), secure.server()) as url:
        assert {"front.tls": "critical"} == await seen(url, gate.key)


async def test_the_key_is_shown_to_nobody_over_a_foreign_network_without_tls(gate: Gate) -> None:
    async def is_near(_: str) -> bool:
        return False

    told = await seen(gate.standing.address, gate.key, near=is_near)

    assert {"front.tls": "critical", "front.key": "info"} == told
    assert [] == list(gate.opened.books.under_way())


@pytest.mark.parametrize(("host", "near"), [("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("9.9.9.9", False)])
async def test_what_is_near_is_known_by_its_address(host: str, near: bool) -> None:
    assert near == await looking.is_near(host)


@pytest.mark.parametrize(
    ("says", "severity"),
    [
        (b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "ok"),
        (whole(b"{}", status="401 Unauthorized"), "warning"),
    ],
)
async def test_whoever_answers_without_tls_should_send_callers_on(
    gate: Gate, secure: Secure, says: bytes, severity: str
) -> None:
    async with (
        proxy(gate.standing.address, Habits(), secure.server()) as url,
        proxy(gate.standing.address, Habits(says=says)) as plain,
    ):
        port = int(plain.rpartition(":")[2])

        assert severity == (await seen(url, gate.key, tls=secure.client(), plain_port=port))["front.plain"]


async def test_plain_http_at_a_port_of_tls_is_told_of(gate: Gate, secure: Secure) -> None:
    url = gate.standing.address.replace("http://", "https://")

    assert {"front.tls": "critical"} == await seen(url, gate.key, tls=secure.client())


def answered(*pieces: tuple[float, bytes], fields: dict[str, str] | None = None) -> Answered:
    return Answered(200, fields or {}, b"".join(piece for _, piece in pieces), pieces)


EVENT = b'data: {"seconds": 0.5, "peer": "9.9.9.9"}\n\n'


@pytest.mark.parametrize("cut", range(1, len(EVENT)))
def test_an_event_has_come_when_its_last_byte_has(cut: int) -> None:
    told = looking.stream_of(answered((1.0, EVENT[:cut]), (2.0, EVENT[cut:] + b"data: [DONE]\n\n")), 0.5)

    assert ((0.5,), (1.5,), True, "9.9.9.9") == (told.said, told.came, told.is_whole, told.peer)


@pytest.mark.parametrize(
    "hostile",
    [b"\xff\xfe\n\n", b"data: []\n\n", b"data: " + b"[" * 100_000 + b"\n\n", b'data: {"seconds": true}\n\n', b"\n\n\n"],
)
def test_whatever_else_comes_is_no_event_of_ours(hostile: bytes) -> None:
    assert not any(looking.stream_of(answered((1.0, hostile)), 0.0).said)


def test_what_is_said_to_be_packed_and_is_not_has_no_events() -> None:
    told = looking.stream_of(answered((1.0, EVENT), fields={"content-encoding": "gzip"}), 0.0)

    assert ("gzip", (), False) == (told.encoding, told.said, told.is_whole)
