import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.web.app import Server
from proxy.web.back_door import BackDoor
from proxy.web.health import Check, Readiness
from proxy.web.manners import Manners
from tests.fakes.answers import question_for
from tests.fakes.raw_client import RawClient, Told

READY = Readiness({"database": Check(True), "draining": Check(True, "no")}, {"upstream": "answers"})
NOT_READY = Readiness({"database": Check(True), "draining": Check(False, "yes")})


@asynccontextmanager
async def admin(readiness: Readiness = READY, *, only_here: bool = True) -> AsyncIterator[int]:
    """The port of an admin listener."""

    async def figures() -> tuple[str, bytes]:
        return "text/plain; version=0.0.4", b"llamagate_up 1\n"

    door = BackDoor(lambda: readiness, figures, only_here=only_here)
    server = Server(door, Manners(1024))
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await server.shutdown(0)


async def ask(port: int, line: str, *fields: str, body: bytes = b"", host: str | None = "localhost") -> Told:
    client = await RawClient.connect("127.0.0.1", port)
    named = () if host is None else (f"Host: {host}",)
    try:
        await client.send("".join(f"{one}\r\n" for one in (line, *named, *fields, "")).encode("latin-1") + body)
        return await client.told(bodiless=line.startswith("HEAD"))
    finally:
        client.close()


async def test_a_ready_gate_says_so() -> None:
    async with admin() as port:
        told = await ask(port, "GET /readyz HTTP/1.1")

    assert (200, "application/json", "no-store") == (
        told.status,
        told.fields["content-type"],
        told.fields["cache-control"],
    )
    assert READY.told() == json.loads(told.body)


async def test_a_gate_that_is_not_ready_says_what_fails() -> None:
    async with admin(NOT_READY) as port:
        told = await ask(port, "GET /readyz HTTP/1.1")
        head = await ask(port, "HEAD /readyz HTTP/1.1")
        alive = await ask(port, "GET /healthz HTTP/1.1")

    assert (503, ["draining"]) == (told.status, json.loads(told.body)["failing"])
    assert (503, b"") == (head.status, head.body)
    assert (200, b"ok") == (alive.status, alive.body)


async def test_metrics_are_told_as_prometheus_asks_for_them() -> None:
    async with admin() as port:
        told = await ask(port, "GET /metrics?name[]=a HTTP/1.1", "Accept: application/openmetrics-text;version=1.0.0")

    assert (200, "text/plain; version=0.0.4", b"llamagate_up 1\n") == (
        told.status,
        told.fields["content-type"],
        told.body,
    )


async def test_no_public_route_is_here() -> None:
    async with admin() as port:
        for endpoint in ENDPOINTS:
            path = question_for(endpoint).path
            told = await ask(
                port, f"{endpoint.method} {path} HTTP/1.1", "Authorization: Bearer sk-lg_canary", "Content-Length: 0"
            )

            assert 404 == told.status, endpoint
            assert b"canary" not in told.body


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/readyz/../metrics", "//metrics", "/%6detrics", "/debug/pprof/heap"]
)
async def test_nothing_else_is_here(path: str) -> None:
    async with admin() as port:
        assert 404 == (await ask(port, f"GET {path} HTTP/1.1")).status


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_can_be_done_here(path: str, method: str) -> None:
    async with admin() as port:
        told = await ask(port, f"{method} {path} HTTP/1.1", "Content-Length: 0")

    assert (405, "GET, HEAD") == (told.status, told.fields["allow"])


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:11436", "localhost.evil.example", "10.0.0.1"])
async def test_a_browser_that_was_led_here_by_anothers_name_is_told_nothing(host: str) -> None:
    async with admin() as port:
        for path in ("/metrics", "/readyz", "/nowhere"):
            told = await ask(port, f"GET {path} HTTP/1.1", host=host)

            assert 421 == told.status
            assert b"llamagate" not in told.body


@pytest.mark.parametrize("host", ["localhost", "localhost:11436", "LOCALHOST", "127.0.0.1:9", "[::1]:9", "[::1]", None])
async def test_this_machine_has_names_of_its_own(host: str | None) -> None:
    line = "GET /readyz HTTP/1.1" if host is not None else "GET /readyz HTTP/1.0"
    async with admin() as port:
        assert 200 == (await ask(port, line, host=host)).status


async def test_where_others_are_let_in_they_may_call_it_as_they_like() -> None:
    async with admin(only_here=False) as port:
        assert 200 == (await ask(port, "GET /metrics HTTP/1.1", host="gate-0.gates.svc")).status


async def test_a_body_is_no_second_request() -> None:
    async with admin() as port:
        smuggled = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        told = await ask(port, "GET /healthz HTTP/1.1", f"Content-Length: {len(smuggled)}", body=smuggled)

    assert (200, False) == (told.status, told.keeps_alive)


async def test_another_protocol_is_not_spoken() -> None:
    async with admin() as port:
        told = await ask(port, "GET /metrics HTTP/2.0")

    assert told.status in (400, 505)
    assert b"llamagate_up" not in told.body


async def test_what_is_no_http_is_never_repeated(caplog: pytest.LogCaptureFixture) -> None:
    async with admin() as port:
        told = await ask(port, "GET /metrics HTTP/1.1", "Authorization: Bearer CANARY\x01")

    assert 400 == told.status
    assert b"CANARY" not in told.head + told.body
    assert "CANARY" not in caplog.text
