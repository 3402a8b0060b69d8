import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from proxy.doctor import clocks
from proxy.doctor.looking import ollama as looking
from proxy.doctor.ollama import Ollama, findings
from tests.doctor.looking.ollama_server import FakeOllama, running
from tests.doctor.shown import shown
from tests.fakes.upstream import RecordingUpstream, recording


def now() -> datetime:
    return datetime.now(UTC)


async def look(url: str, *addresses: str, patience: float = 4.0) -> tuple[Ollama, clocks.Clock | None]:
    return await looking.look(url, addresses, clock=time.monotonic, now=now, patience=patience)


async def test_a_good_one_on_loopback_is_found_good() -> None:
    async with running(FakeOllama()) as server:
        found, clock = await look(server.url, "127.0.0.2")

    assert (
        Ollama(
            server.url,
            version="0.33.0",
            asked_at=(f"127.0.0.2:{server.port}",),
            foreign_host=403,
            foreign_origin=403,
            cloud_disabled=True,
        )
        == found
    )
    assert None is clock
    assert {"ok", "info"} == {*shown(findings(found, wants_cloud=False)).values()}
    assert "POST /api/me HTTP/1.1" not in server.asked


@pytest.mark.parametrize(
    ("told", "id", "severity"),
    [
        ({"version": "0.17.0"}, "ollama.version", "critical"),
        ({"version": 17}, "ollama.version", "info"),
        ({"looks_at_host": False}, "ollama.host", "warning"),
        ({"knows_pages": False}, "ollama.origin", "warning"),
        ({"cloud_disabled": None}, "ollama.cloud", "info"),
        ({"cloud_disabled": False}, "ollama.cloud", "info"),
        ({"cloud_disabled": False, "signed_in": True}, "ollama.cloud", "warning"),
        ({"is_mute": True}, "ollama.reachable", "critical"),
    ],
)
async def test_each_finding_comes_of_an_ollama_that_gives_cause(told: dict[str, Any], id: str, severity: str) -> None:
    async with running(FakeOllama(**told)) as server:
        found, _ = await look(server.url, patience=0.2 if "is_mute" in told else 4.0)

    assert severity == shown(findings(found, wants_cloud=False))[id]
    assert "owner@example.org" not in str([found, *findings(found, wants_cloud=False)])


async def test_one_that_listens_everywhere_is_found_at_each_address() -> None:
    async with running(FakeOllama(looks_at_host=False), "0.0.0.0") as server:  # noqa: S104 - it is what is to be found.
        found, _ = await look(server.url, "127.0.0.3", "127.0.0.2")

    assert (f"127.0.0.2:{server.port}", f"127.0.0.3:{server.port}") == found.answers_at
    assert {"ollama.exposed": "critical", "ollama.host": "warning"}.items() <= shown(
        findings(found, wants_cloud=False)
    ).items()


async def test_one_that_is_away_is_told_of_and_its_port_is_looked_at_all_the_same() -> None:
    async with running(FakeOllama(), "127.0.0.2") as server:
        found, _ = await look(server.url, "127.0.0.2")

    assert ("nobody listens there", (f"127.0.0.2:{server.port}",)) == (found.failure, found.answers_at)
    assert {"ollama.reachable": "critical", "ollama.exposed": "critical"} == shown(findings(found, wants_cloud=False))


async def test_one_at_another_address_than_loopback_is_not_here() -> None:
    found, _ = await look("http://ollama.invalid:11434", "127.0.0.2")

    assert not found.is_here
    assert {"ollama.reachable": "critical", "ollama.exposed": "info"} == shown(findings(found, wants_cloud=False))


async def test_what_is_no_ollama_is_told_of() -> None:
    async with recording() as server:
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        found, _ = await look(server.url)

    assert "what answers there is no Ollama (status 200)" == found.failure
    assert isinstance(server, RecordingUpstream)


@pytest.mark.parametrize(("ahead", "severity"), [(0, "ok"), (30, "warning"), (-7200, "critical")])
async def test_its_clock_is_held_against_ours(ahead: int, severity: str) -> None:
    date = format_datetime(now() + timedelta(seconds=ahead), usegmt=True)
    async with running(FakeOllama(date=date)) as server:
        _, clock = await look(server.url)

    assert clock is not None
    assert {"clock.ollama": severity} == shown(clocks.findings([clock]))
