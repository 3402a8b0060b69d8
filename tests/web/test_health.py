import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.web.health import Check, Readiness, is_probe
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import question_for
from tests.fakes.upstream import RecordingUpstream

PROBES = (
    "User-Agent: kube-probe/1.30",
    "User-Agent: GoogleHC/1.0",
    "User-Agent: ELB-HealthChecker/2.0",
    "X-Forwarded-Uri: /healthz",
    "X-Original-URL: /healthz",
    "X-Original-URI: /healthz",
    "X-Rewrite-URL: /healthz",
    "X-Forwarded-Prefix: /healthz",
    "Forwarded: for=127.0.0.1;path=/healthz",
    "X-HTTP-Method-Override: GET",
)
SPELLINGS = (
    "/healthz/",
    "/healthz?",
    "/healthz?verbose",
    "/healthz;x",
    "/healthz%20",
    "/healthz%00",
    "/healthz%2f..",
    "/healthz%2f..%2fapi/tags",
    "/healthz/../api/tags",
    "/healthz/..;/api/tags",
    "/api/tags/../../healthz",
    "/./healthz",
    "//healthz",
    "/%68ealthz",
    "/HEALTHZ",
    "/v1/healthz",
    "/readyz",
    "/metrics",
)


@pytest.fixture
async def patient(open_gate: OpenGate) -> Gate:
    return await open_gate(failed_attempts_per_minute=100_000)


async def test_anybody_is_told_that_the_gate_is_there(gate: Gate, upstream: RecordingUpstream) -> None:
    told = await gate.ask(gate.get("/healthz", key=""))

    assert (200, b"ok", "text/plain", "no-store", "llamagate") == (
        told.status,
        told.body,
        told.fields["content-type"],
        told.fields["cache-control"],
        told.fields["server"],
    )
    assert {"content-type", "content-length", "cache-control", "server", "date"} == told.fields.keys()
    assert told.keeps_alive
    assert [] == upstream.connections


async def test_a_probe_leaves_no_line_and_shows_no_credential_to_anybody(gate: Gate) -> None:
    for key in ("", gate.key, "sk-lg_wrong"):
        assert 200 == (await gate.ask(gate.get("/healthz", key=key))).status
    assert 404 == (await gate.ask(gate.get("/nowhere"))).status

    assert ["unknown"] == [entry.endpoint for entry in await gate.written(1)]
    assert {"api_key": 1} == gate.opened.who.status().counts


async def test_a_probe_may_ask_for_the_head_alone(gate: Gate) -> None:
    client = await gate.connect()
    await client.send(gate.get("/healthz", key="", method="HEAD"))
    told = await client.told(bodiless=True)
    await client.send(gate.get("/healthz", key=""))

    assert (200, "2") == (told.status, told.fields["content-length"])
    assert b"ok" == (await client.told()).body


async def test_a_probe_with_a_body_is_no_way_to_a_second_request(gate: Gate) -> None:
    smuggled = gate.get("/api/tags")
    client = await gate.connect()
    await client.send(gate.get("/healthz", f"Content-Length: {len(smuggled) + 9}", key=""))
    told = await client.told()

    assert (200, False) == (told.status, told.keeps_alive)
    assert b"" == await client.closed()


async def test_probes_are_not_counted_as_failures(open_gate: OpenGate) -> None:
    gate = await open_gate(failed_attempts_per_minute=1)
    client = await gate.connect()
    for _ in range(20):
        await client.send(gate.get("/healthz", key=""))

        assert 200 == (await client.told()).status
    assert 401 == (await gate.ask(gate.get("/api/tags", key=""))).status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_a_probe_that_does_more_than_read_is_a_call(patient: Gate, method: str) -> None:
    assert 401 == (await patient.ask(patient.get("/healthz", "Content-Length: 0", key="", method=method))).status


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_no_other_spelling_is_a_probe(
    patient: Gate, upstream: RecordingUpstream, spelling: str, method: str
) -> None:
    client = await patient.connect()
    await client.send(patient.get(spelling, "Content-Length: 0", key="", method=method))

    assert 401 == (await client.told(bodiless=method == "HEAD")).status
    assert [] == upstream.connections


@pytest.mark.parametrize("field", ["", *PROBES])
async def test_nothing_that_a_probe_may_send_opens_another_route(
    patient: Gate, upstream: RecordingUpstream, field: str
) -> None:
    client = await patient.connect()
    for endpoint in ENDPOINTS:
        asked = question_for(endpoint)
        fields = (f"Content-Type: {asked.content_type}", *([field] if field else []))
        await client.send(patient.post(asked.path, asked.body, *fields, key="", method=endpoint.method))
        told = await client.told(bodiless=endpoint.method == "HEAD")

        assert 401 == told.status, endpoint
        if not told.keeps_alive:
            client = await patient.connect()
    assert [] == upstream.connections


@pytest.mark.parametrize("target", ["/healthz", "http://a/healthz", "/healthz/", "/healthz?a", "*"])
def test_a_probe_is_known_by_its_target_alone(target: str) -> None:
    assert (target == "/healthz") == is_probe("GET", target) == is_probe("HEAD", target)
    assert not is_probe("POST", target)


def test_a_gate_is_ready_when_nothing_is_in_its_way() -> None:
    good = Readiness({"database": Check(True), "journal": Check(True, "away for 3 s")}, {"upstream": "answers"})
    bad = Readiness({"database": Check(True), "journal": Check(False, "full")}, {"upstream": "does not answer"})

    assert {
        "ready": True,
        "failing": [],
        "checks": {"database": "ok", "journal": "away for 3 s"},
        "upstream": "answers",
    } == good.told()
    assert (False, ["journal"]) == (bad.told()["ready"], bad.told()["failing"])
