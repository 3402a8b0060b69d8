"""Whoever somebody proves to be, and however: the same caller may do the same, and nobody else may do anything."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.auth.remembered import FRESH_SECONDS, LOOK_SECONDS
from proxy.errors import Why
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint, ModelIn, Outcome, Risk
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import answer_of, question_for
from tests.fakes.eventually import eventually
from tests.fakes.ollama_client import OllamaClient, new_key_file
from tests.fakes.raw_client import Told
from tests.fakes.tokens import HOSTILE, SECRET, Forge
from tests.fakes.upstream import RecordingUpstream

EVERYTHING = {"grants": [risk.value for risk in Risk], "owner": True, "key_in_path": True}
PLANS = {
    "all": EVERYTHING,
    "nothing": {**EVERYTHING, "grants": ["health"]},
    "others": {**EVERYTHING, "models": ["mistral"]},
}
SETTINGS = {"plans": PLANS, "auth": {"signature_age": "1h"}, "failed_attempts_per_minute": 1_000_000}
WAYS = ("bearer", "x-api-key", "basic", "basic without a user", "path", "token", "signed")


@dataclass
class Person:
    """Somebody with a plan, and everything that they can prove it with."""

    key: str
    token: Callable[[], str]
    client: OllamaClient

    def request(self, gate: Gate, way: str, method: str, path: str, body: bytes = b"", *fields: str) -> bytes:
        """One request, proven in one way. A signature is good once, so that each is for a second of its own."""
        proof: tuple[str, ...] = ()
        if way == "bearer":
            proof = (f"Authorization: Bearer {self.key}",)
        elif way == "x-api-key":
            proof = (f"x-api-key: {self.key}",)
        elif way.startswith("basic"):
            text = f"{self.key}:" if way.endswith("user") else f"anybody:{self.key}"
            proof = (f"Authorization: Basic {base64.b64encode(text.encode()).decode()}",)
        elif way == "path":
            path = f"/k/{self.key}{path}"
        elif way == "token":
            proof = (f"Authorization: Bearer {self.token()}",)
        else:
            ts = int(time.time()) + next(SECONDS)
            proof = (f"Authorization: {self.client.authorization(method, path, ts)}",)
            path = f"{path}?ts={ts}"
        return gate.post(path, body, *fields, *proof, key="", method=method)


SECONDS = iter(range(3, 10**6))
"""The gate takes what was signed an hour ahead, so that no request of a test is like another."""


@asynccontextmanager
async def serving_keys(forge: Forge) -> AsyncIterator[str]:
    """The URL at which an issuer's keys are found."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = forge.jwks()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


@dataclass
class World:
    gate: Gate
    forge: Forge
    people: dict[str, Person]
    """By their plan."""
    issuers: dict[str, Any]
    """As a gate is told of them."""


@pytest.fixture
async def world(open_gate: OpenGate, tmp_path: Path) -> AsyncIterator[World]:
    forge = Forge(now=datetime.now(UTC))
    async with serving_keys(forge) as jwks_url:
        issuers = {
            "forge": {
                "url": forge.url,
                "audience": [forge.audience, "other-gate"],
                "algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
                "jwks_url": jwks_url,
                "types": ["JWT"],
                "groups": {plan: plan for plan in PLANS},
            },
            "shared": {
                "url": forge.shared_url,
                "audience": forge.audience,
                "algorithms": "HS256",
                "secret_file": _file(tmp_path / "shared", SECRET),
                "plan": "all",
            },
        }
        gate = await open_gate(**SETTINGS, issuers=issuers)
        people = {}
        for plan in PLANS:
            client = OllamaClient(new_key_file(tmp_path / plan))
            await gate.desk.add_identity(client.public_line, plan, plan=plan)
            key = await gate.issue(plan, plan=plan)
            people[plan] = Person(key, partial(forge.good, sub=plan, groups=[plan]), client)
        yield World(gate, forge, people, issuers)


def _file(path: Path, secret: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(secret)
    return str(path)


def _asked(endpoint: Endpoint) -> tuple[str, str, bytes, tuple[str, ...]]:
    question = question_for(endpoint, stream=False)
    return endpoint.method, question.path, question.body, (f"Content-Type: {question.content_type}",)


async def _decided(
    world: World, upstream: RecordingUpstream, plan: str, way: str, endpoint: Endpoint
) -> tuple[int, int, str | None]:
    """The status, how often the upstream was asked, and what the ledger says of the plan."""
    upstream.forget()
    upstream.says(*answer_of(endpoint, stream=False))
    method, path, body, fields = _asked(endpoint)
    request = world.people[plan].request(world.gate, way, method, path, body, *fields)
    told = await world.gate.ask(request, bodiless=method == "HEAD")
    entry = await world.gate.entry()
    return told.status, len(upstream.asked), entry.plan


@pytest.mark.parametrize("way", WAYS)
async def test_on_every_route_each_way_of_proving_gets_the_same_decision(
    world: World, upstream: RecordingUpstream, way: str
) -> None:
    for endpoint in ENDPOINTS:
        allowed = await _decided(world, upstream, "all", way, endpoint)
        denied = await _decided(world, upstream, "nothing", way, endpoint)
        elsewhere = await _decided(world, upstream, "others", way, endpoint)
        names_a_model = endpoint.model_in is not ModelIn.NOWHERE and endpoint.risk in (Risk.INFERENCE, Risk.READ)

        assert (200 <= allowed[0] < 300, not endpoint.own, "all") == (True, allowed[1] > 0, allowed[2]), endpoint
        if endpoint.risk is not Risk.HEALTH and not endpoint.own:
            assert (403, 0, "nothing") == denied, endpoint
        if names_a_model:
            assert (404, 0, "others") == elsewhere, endpoint


async def test_every_way_of_proving_is_the_same_person_to_the_gate(world: World, upstream: RecordingUpstream) -> None:
    told = {}
    for way in WAYS:
        request = world.people["all"].request(world.gate, way, "GET", "/v1/key")
        told[way] = json.loads((await world.gate.ask(request)).body)
    by_key = {way: one for way, one in told.items() if way not in ("token", "signed")}

    assert 1 == len({json.dumps(one) for one in by_key.values()})
    assert {"all"} == {one["plan"] for one in told.values()}
    assert ("forge:all", "all") == (told["token"]["user"], told["signed"]["user"])
    assert 3 == len({one["id"] for one in told.values()})


@pytest.mark.parametrize("first", WAYS)
async def test_two_proofs_are_one_too_many_however_they_come(
    world: World, upstream: RecordingUpstream, first: str
) -> None:
    one = world.people["all"]
    for second in ("Authorization: Bearer x", f"x-api-key: {one.key}", "Authorization:", "x-api-key:"):
        told = await world.gate.ask(one.request(world.gate, first, "GET", "/api/tags", b"", second))

        assert 400 == told.status, (first, second)
    assert [] == upstream.asked


AHEAD = {Why.NOT_YET: timedelta(seconds=5), Why.EXPIRED: timedelta(seconds=-5)}
"""What stands at the very edge of its time has some more to go, for here time passes."""


async def test_no_hostile_token_gets_in_and_all_hear_the_same(world: World, upstream: RecordingUpstream) -> None:
    gate, words = world.gate, set()
    client = await gate.connect()
    for name, hostile in HOSTILE.items():
        text = hostile.make(replace(world.forge, now=datetime.now(UTC) + AHEAD.get(hostile.why, timedelta())))
        if not _can_be_sent(text):
            continue
        await client.send(gate.get("/api/tags", f"Authorization: Bearer {text}", key=""))
        told = await client.told()
        entry = await gate.entry()

        assert 401 == told.status, name
        assert (Outcome.REFUSED, f"invalid_api_key.{hostile.why}") == (entry.outcome, entry.reason), name
        words.add((told.body.replace(entry.id.encode(), b""), told.fields["www-authenticate"]))

    assert 1 == len(words)
    assert 120 <= len(gate.heard.entries)
    assert [] == upstream.connections


def _can_be_sent(text: str) -> bool:
    """Whether HTTP brings it as it is: one line of bytes, with no blanks behind it."""
    return (
        len(text) < 8000
        and text == text.rstrip()
        and all(" " <= letter <= "\xff" and letter != "\x7f" for letter in text)
    )


async def test_a_key_in_the_path_shows_nowhere(
    world: World, upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """In no answer, whatever goes wrong, in no log line, in no line of the ledger, and not upstream."""
    gate, person, wrong = world.gate, world.people["all"], await world.gate.issue("carol")
    mangled = person.key[:-1] + ("0" if person.key[-1] != "0" else "1")
    heard: list[Told] = []
    for key in (person.key, wrong, mangled):
        for method, path in (
            ("GET", "/api/tags"),
            ("GET", "/v1/models"),
            ("GET", "/nowhere"),
            ("PATCH", "/api/tags"),
            ("GET", f"/k/{key}/api/tags"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models/nothing"),
            ("GET", "/api/../x"),
            ("GET", ""),
        ):
            for fields in ((), ("Authorization: Bearer x",), (f"Referer: https://gate/k/{key}/v1/",)):
                request = gate.post(f"/k/{key}{path}", b"{", *fields, key="", method=method)
                heard.append(await gate.ask(request))
    upstream.says(*answer_of(ENDPOINTS[0], stream=False))
    entries = await gate.written(len(heard))
    everything = [*(one.head + one.body for one in heard), *(one.raw for one in upstream.asked), caplog.text.encode()]
    secrets = [key.rpartition("_")[0].rpartition("_")[2].encode() for key in (person.key, wrong, mangled)]

    assert {200, 400, 401, 403, 404, 405} == {one.status for one in heard}
    assert [] == [text for text in [*everything, repr(entries).encode()] if any(one in text for one in secrets)]


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_is_changed_bites_at_every_gate_within_a_second(
    world: World, open_gate: OpenGate, upstream: RecordingUpstream, way: str
) -> None:
    """Two gates on one database, of which only one is told; the clock is the gates' own."""
    first, person = world.gate, world.people["all"]
    second = await open_gate(**SETTINGS, issuers=world.issuers)
    user = "forge:all" if way == "token" else "all"
    upstream.says(*answer_of(ENDPOINTS[0], stream=False))

    async def statuses() -> list[int]:
        asked = [gate.ask(person.request(gate, way, "GET", "/v1/key")) for gate in (first, second)]
        return [told.status for told in await asyncio.gather(*asked)]

    async def are(expected: int) -> list[int] | None:
        return found if (found := await statuses()) == [expected, expected] else None

    assert [200, 200] == await statuses()
    for act, expected in ((first.desk.suspend_user, 401), (first.desk.resume_user, 200)):
        await act(user)
        began = time.monotonic()
        await eventually(lambda expected=expected: are(expected), 5, f"{expected} at both")  # type: ignore[misc]

        assert time.monotonic() - began < 1.5
    assert LOOK_SECONDS + FRESH_SECONDS < 1


async def test_a_signed_request_is_good_once_and_only_for_what_was_signed(
    world: World, upstream: RecordingUpstream
) -> None:
    gate, client = world.gate, world.people["all"].client
    upstream.says(*answer_of(ENDPOINTS[0], stream=False))
    ts = int(time.time()) + 2
    proof = f"Authorization: {client.authorization('GET', '/v1/key', ts)}"

    async def status(method: str, path: str, *fields: str) -> int:
        return (await gate.ask(gate.post(path, b"", *fields, key="", method=method))).status

    assert 200 == await status("GET", f"/v1/key?ts={ts}", proof)
    for method, path in (
        ("GET", f"/v1/key?ts={ts}"),
        ("GET", f"/v1/key?ts={ts}&ts={ts}"),
        ("GET", f"/v1/key?ts={ts + 1}"),
        ("GET", f"/v1/key?ts=0{ts}"),
        ("GET", "/v1/key"),
        ("POST", f"/v1/key?ts={ts}"),
        ("GET", f"/v1/usage?ts={ts}"),
        ("GET", f"/v1/key/?ts={ts}"),
        ("DELETE", f"/api/delete?ts={ts}"),
    ):
        assert 401 == await status(method, path, proof), (method, path)
    reasons = {entry.reason for entry in gate.heard.entries if entry.status == 401}
    assert {f"invalid_api_key.{why}" for why in (Why.REPLAYED, Why.MALFORMED, Why.WRONG_SIGNATURE)} == reasons
