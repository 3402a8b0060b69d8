import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.watching import LedgerStatus
from proxy.bootstrap.gathering import Gathering
from proxy.bootstrap.telling import Known, readiness, telling
from proxy.config.settings import Settings
from proxy.telemetry.metrics import FIGURES, Metrics
from proxy.web.manners import Manners
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, question, streamed
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import RecordingUpstream

ADMIN = "127.0.0.1:0"


async def told(gate: Gate, path: str) -> Told:
    """What the admin listener says."""
    address = gate.standing.admin_address
    assert address is not None
    client = await RawClient.connect("127.0.0.1", int(address.rpartition(":")[2]))
    try:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await client.told()
    finally:
        client.close()


async def figures(gate: Gate) -> Mapping[tuple[str, str], float]:
    """By name and the values of the labels."""
    families = text_string_to_metric_families((await told(gate, "/metrics")).body.decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_without_an_address_there_is_no_admin_listener(gate: Gate) -> None:
    assert gate.standing.admin_address is None


class Speechless:
    """A ``Gathering`` that cannot put down what it counts."""

    async def keep(self) -> None:
        raise RuntimeError("can't start new thread")


async def test_an_admin_listener_that_cannot_be_opened_leaves_nothing_that_goes_on() -> None:
    known, before = SimpleNamespace(settings=Settings(admin_listen=ADMIN), values=dict), asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="new thread"):
        async with telling(cast(Known, known), Metrics(), Manners(1), cast(Gathering, Speechless())):
            pass

    assert before == asyncio.all_tasks()


async def test_a_gate_at_work_is_ready(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(admin_listen=ADMIN)
    ready = await told(gate, "/readyz")

    assert 200 == ready.status
    assert {"database": "ok", "journal": "ok", "draining": "no"} == json.loads(ready.body)["checks"]
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", gate.standing.admin_address or "")
    assert not gate.standing.admin_public


async def test_admin_paths_are_unknown_on_the_public_listener(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(admin_listen=ADMIN)

    assert [404, 404] == [(await gate.ask(gate.get(path))).status for path in ("/readyz", "/metrics")]
    assert [] == upstream.connections


async def test_every_figure_is_told_and_follows_what_happens(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(admin_listen=ADMIN)
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    await gate.ask(gate.post("/api/chat", question()))
    await gate.ask(gate.get("/api/tags", key="sk-lg_CANARY"))
    await gate.ask(b"GET CANARY / HTTP/1.1\r\n\r\n")
    await gate.written(2)
    seen = await figures(gate)

    assert 1 == seen["llamagate_calls_total", "/api/chat,served"]
    assert 1 == seen["llamagate_calls_total", "/api/tags,refused"]
    assert (26, 3) == (seen["llamagate_tokens_total", "prompt"], seen["llamagate_tokens_total", "completion"])
    assert 1 == seen["llamagate_proofs_total", "api_key"]
    assert 1 == sum(value for (name, _), value in seen.items() if name == "llamagate_connections_refused_total")
    labelled = {figure.name for figure in FIGURES if figure.label}
    names = {name for name, _ in seen}
    assert {"llamagate_certificate_end_timestamp_seconds"} == {figure.name for figure in FIGURES} - labelled - names
    assert {"llamagate_info", "llamagate_limits_total", "llamagate_proofs_total"} <= names
    assert b"CANARY" not in (await told(gate, "/metrics")).body
    for canary in (b"alice", gate.key.encode(), b"llama3.2", b"127.0.0.1"):
        assert canary not in (await told(gate, "/metrics")).body


async def test_calls_that_go_on_are_told_by_how_far_they_are(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(admin_listen=ADMIN)
    begins, ends = asyncio.Event(), asyncio.Event()
    head, first, *rest = streamed(NDJSON, NATIVE_LINES)
    upstream.says(begins, head, first, ends, *rest)
    client = await gate.connect()
    await client.send(gate.post("/api/chat", question()))
    seen = []

    async def stage(name: str) -> bool | None:
        told = await figures(gate)
        seen.append(sum(told["llamagate_calls_by_stage", one] for one in ("arriving", "waiting", "answering")))
        return told["llamagate_calls_by_stage", name] == 1 or None

    await eventually(lambda: stage("waiting"), 10, "a call that waits")
    begins.set()
    await eventually(lambda: stage("answering"), 10, "an answer")
    ends.set()
    await client.told()
    await gate.entry()

    assert 1 == max(seen)
    assert 0 == sum(value for (name, _), value in (await figures(gate)).items() if name == "llamagate_calls_by_stage")


async def test_a_backend_that_is_away_is_seen(open_gate: OpenGate) -> None:
    gate = await open_gate(admin_listen=ADMIN, upstream="http://127.0.0.1:9")
    await gate.ask(gate.get("/v1/models"))

    assert 1 == (await figures(gate))["llamagate_upstream_down", ""]


async def test_when_the_certificate_ends_is_told(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    ends = datetime(2036, 1, 2, 3, 4, 5, tzinfo=UTC)
    issued = trustme.CA().issue_cert("127.0.0.1", not_after=ends)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    key.touch(0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    gate = await open_gate(admin_listen=ADMIN, tls={"certificate": certificate, "key": key})

    assert ends.timestamp() == (await figures(gate))["llamagate_certificate_end_timestamp_seconds", ""]


async def test_whoever_looks_at_it_leaves_no_line(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(admin_listen=ADMIN)
    for path in ("/healthz", "/readyz", "/metrics"):
        await told(gate, path)

    assert [] == gate.heard.entries
    assert [] == upstream.connections


@pytest.mark.parametrize(
    ("away", "is_ready", "says"),
    [
        (None, True, "ok"),
        (0.4, True, "away for 0 s"),
        (900.0, True, "away for 900 s"),
        (901.2, False, "away for 901 s"),
    ],
)
def test_a_gate_is_ready_for_as_long_as_it_can_do_without_its_database(
    away: float | None, is_ready: bool, says: str
) -> None:
    told = readiness(away, LedgerStatus(), outage=900.0, required=True, is_draining=False, answers=True)

    assert (is_ready, says) == (told.is_ready, told.checks["database"].says)


@pytest.mark.parametrize(
    ("status", "says"), [(LedgerStatus(is_full=True), "full"), (LedgerStatus(is_failing=True), "failing")]
)
@pytest.mark.parametrize("required", [True, False])
def test_a_gate_without_room_for_a_line_is_ready_only_if_it_may_do_without(
    status: LedgerStatus, says: str, required: bool
) -> None:
    told = readiness(None, status, outage=900.0, required=required, is_draining=False, answers=None)

    assert (not required, says) == (told.is_ready, told.checks["journal"].says)
    assert {"upstream": "not asked yet"} == told.besides


async def test_a_backend_that_is_away_is_told_and_changes_nothing(open_gate: OpenGate) -> None:
    gate = await open_gate(admin_listen=ADMIN, upstream="http://127.0.0.1:9")
    await gate.ask(gate.get("/v1/models"))
    ready = await told(gate, "/readyz")

    assert (200, "does not answer") == (ready.status, json.loads(ready.body)["upstream"])


async def test_an_admin_listener_that_others_reach_is_warned_of(
    open_gate: OpenGate, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await open_gate(admin_listen="0.0.0.0:0")

    assert ["admin_listener_is_public"] == [one.message for one in caplog.records if "admin" in one.message]
    assert gate.standing.admin_public
