import json
import re
from datetime import timedelta

import pytest

from proxy.auth import api_keys
from proxy.errors import BackendDown, BodyTooLarge, Forbidden, GateError, NoSuchModel, Unauthenticated, WrongMethod
from proxy.web.refusals import rendered
from tests.conftest import Gate
from tests.fakes.raw_client import Told
from tests.fakes.upstream import RecordingUpstream

PATHS = pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages", "/nowhere"])


def besides_id_and_date(told: Told) -> bytes:
    return re.sub(rb"req_[0-9a-f]+|Date: [^\r]+", b"", told.head + told.body)


@PATHS
async def test_every_bad_credential_gets_the_same_answer(gate: Gate, upstream: RecordingUpstream, path: str) -> None:
    revoked = await gate.issue("bob")
    await gate.desk.revoke(revoked)
    expired = await gate.issue("bob", lifetime=timedelta(microseconds=1))
    wrong = gate.key[:-50] + ("a" if gate.key[-50] != "a" else "b") + gate.key[-49:]
    unchecked = wrong.rpartition("_")[0]
    wrong_but_checked = f"{unchecked}_{api_keys.checksum(unchecked)}"
    unknown = api_keys.new(lambda count: bytes(range(count)))[1]
    attempts = [
        (),
        ("Authorization:",),
        ("Authorization: Bearer",),
        ("Authorization: Basic YTpi",),
        (f"Authorization: Bearer  {gate.key}",),
        (f"Authorization: Bearer {gate.key}, Bearer x",),
        (f"Authorization: Bearer {gate.key};",),
        (f'Authorization: Bearer "{gate.key}"',),
        (f"Authorization: Bearer {gate.key}\xa0",),
        (f"Authorization: Bearer {gate.key[:-1]}",),
        (f"Authorization: Bearer {gate.key}x",),
        (f"Authorization: Bearer {wrong}",),
        (f"Authorization: Bearer {wrong_but_checked}",),
        (f"Authorization: Bearer {unknown}",),
        (f"Authorization: Bearer {revoked}",),
        (f"Authorization: Bearer {expired}",),
        ("Authorization: Bearer \xff",),
        ("Authorization: Bearer ' OR '1'='1",),
        ("Authorization: Bearer " + "a" * 8000,),
        (f"Authorization: {gate.key}",),
        ("X-Api-Key: x",),
        (f"X-Api-Key: Bearer {gate.key}",),
        (f"Cookie: key={gate.key}",),
    ]
    told = [await gate.ask(gate.post(path, {}, *fields, key="")) for fields in attempts]
    told.append(await gate.ask(gate.post(f"{path}?api_key={gate.key}&access_token={gate.key}", {}, key="")))

    assert {401} == {one.status for one in told}
    # RFC 6750 §3.1: who has shown nothing gets no error code. Besides, nothing differs.
    shown = [one for one in told if one.fields["www-authenticate"] != 'Bearer realm="llamagate"']
    assert len(told) - 3 == len(shown)
    assert {'Bearer realm="llamagate", error="invalid_token"'} == {one.fields["www-authenticate"] for one in shown}
    assert 1 == len({besides_id_and_date(one).replace(b', error="invalid_token"', b"") for one in told})
    assert [] == upstream.connections
    reasons = ("nothing_shown", "malformed", "unknown", "revoked", "expired")
    assert {(None, f"invalid_api_key.{why}") for why in reasons} == {
        (entry.user, entry.reason) for entry in gate.heard.entries
    }
    assert len(told) == len(gate.heard.entries)


@pytest.mark.parametrize(
    "fields",
    [
        ("Authorization: Bearer {key}", "Authorization: Bearer {key}"),
        ("Authorization: Bearer {key}", "X-Api-Key: {key}"),
        ("X-Api-Key: {key}", "X-Api-Key: {key}"),
        ("Authorization: Basic YTpi", "X-Api-Key: {key}"),
        ("X-Api-Key: x", "Authorization: Bearer {key}"),
    ],
)
async def test_two_credentials_are_one_too_many(
    gate: Gate, upstream: RecordingUpstream, fields: tuple[str, ...]
) -> None:
    told = await gate.ask(gate.post("/api/chat", {}, *(line.format(key=gate.key) for line in fields), key=""))

    assert (400, "two_credentials") == (told.status, (await gate.entry()).reason)
    assert [] == upstream.connections


@pytest.mark.parametrize("line", ["X-Api-Key: {key}", "authorization: bearer {key}", "AUTHORIZATION: BEARER {key}"])
async def test_a_key_may_come_either_way(gate: Gate, line: str) -> None:
    assert 200 == (await gate.ask(gate.get("/api/version", line.format(key=gate.key), key=""))).status


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", {"error": {"message", "type", "param", "code"}}),
        ("/v1", {"error": {"message", "type", "param", "code"}}),
        ("/v1/messages", {"type": None, "error": {"type", "message"}, "request_id": None}),
        ("/v1/messages/count_tokens", {"type": None, "error": {"type", "message"}, "request_id": None}),
        ("/api/chat", {"error": None}),
        ("/", {"error": None}),
        ("/v1messages", {"error": None}),
    ],
)
@pytest.mark.parametrize(
    "error",
    [Unauthenticated(), Forbidden(), NoSuchModel(), BodyTooLarge(), BackendDown(), WrongMethod(("GET",)), GateError()],
)
def test_a_refusal_has_the_shape_of_the_route_that_was_asked(
    path: str, shape: dict[str, set[str] | None], error: GateError
) -> None:
    status, headers, body = rendered(error, path, "req_1")
    told = json.loads(body)

    assert error.status == status
    assert shape == {name: set(value) if isinstance(value, dict) else None for name, value in told.items()}
    assert {"Content-Type": "application/json", "Cache-Control": "no-store", **error.headers} == headers
    assert error.message in body.decode()


async def test_a_client_of_openai_is_told_which_member_is_wrong(gate: Gate) -> None:
    wrong_type = await gate.ask(gate.post("/v1/chat/completions", {"model": "llama3.2", "stream": "yes"}))
    no_zone = await gate.ask(gate.get("/v1/usage?tz=Moon/Far"))

    assert (400, "stream") == (wrong_type.status, json.loads(wrong_type.body)["error"]["param"])
    assert (400, "tz") == (no_zone.status, json.loads(no_zone.body)["error"]["param"])
