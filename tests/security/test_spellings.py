"""A forbidden model is forbidden however it is spelled, wherever its name stands and however the key is sent."""

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import BOUNDARY, Endpoint, ModelIn, Outcome, Part, Risk, Takes, form_of
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import BESIDES_MODEL, MODEL, SOUND, answer_of
from tests.fakes.upstream import RecordingUpstream

SPELLINGS = (
    "llama3.2:1b",
    "LLAMA3.2:1B",
    "library/llama3.2:1b",
    "LIBRARY/Llama3.2:1b",
    "registry.ollama.ai/library/llama3.2:1b",
    "REGISTRY.OLLAMA.AI/LIBRARY/LLAMA3.2:1B",
    "https://registry.ollama.ai/library/llama3.2:1b",
    "http://registry.ollama.ai/library/llama3.2:1b",
    "ftp://registry.ollama.ai/library/llama3.2:1b",
    "://registry.ollama.ai/library/llama3.2:1b",
    "mistral:latest://registry.ollama.ai/library/llama3.2:1b",
    "any / text \u2603 mistral://registry.ollama.ai/library/llama3.2:1b",
    "  llama3.2:1b\n",
    "\u3000llama3.2:1b\u2003",
    "llama3.2:1b:local",
    "llama3.2:1b:LOCAL",
    "llama3.2:1b: local",
    "llama3.2:1b:\u00a0Local",
    "https://Registry.Ollama.AI/Library/LLAMA3.2:1B: LoCaL",
)
"""All of them run one model in Ollama."""
ACCEPTED = {1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18}
"""By their number from one; the others hold a scheme, in which anything can stand."""
CLOUD = (
    "llama3.2:1b:cloud",
    "llama3.2:1b-cloud",
    "llama3.2:1B-CLOUD",
    "llama3.2:cloud",
    "llama3.2: 1b-cloud",
    "llama3.2:1b: Cloud",
)
"""These leave the house."""
OTHERS = (
    "registry.ollama.ai/llama3.2",
    "llama3.2:",
    "library//llama3.2",
    "registry.ollama.ai:443/library/llama3.2:1b",
    "registry.ollama.ai./library/llama3.2:1b",
    "llama3.2:1b@sha256:0",
    "llama3.2:1b:local:local",
    "llama3.2:1b\u200b",
    "llama3.2:1b\x1c",
    "llama3.2:1b\0",
    "\uff4clama3.2:1b",
)
"""These look like it and are another model or none."""

ROUTES = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.model_in is not ModelIn.NOWHERE and endpoint.risk in (Risk.INFERENCE, Risk.READ)
]
CARRIERS = ("Authorization: Bearer {key}", "X-Api-Key: {key}")


def requests(endpoint: Endpoint, spelling: str) -> Iterator[tuple[str, bytes, str]]:
    """Path, body and type of each way in which this route can be told the model."""
    besides = {**BESIDES_MODEL.get(endpoint.path, {}), **({"stream": False} if endpoint.streams is not None else {})}
    match endpoint.model_in:
        case ModelIn.PATH:
            yield endpoint.path.replace("{segment}", quote(spelling, safe="")), b"", ""
        case ModelIn.FORM:
            form = form_of((Part("model", spelling.encode()), SOUND))
            yield endpoint.path, form, f"multipart/form-data; boundary={BOUNDARY}"
        case ModelIn.BODY_OR_NAME:
            yield endpoint.path, json.dumps({"model": spelling, **besides}).encode(), "application/json"
            yield endpoint.path, json.dumps({"name": spelling, **besides}).encode(), "application/json"
            yield endpoint.path, json.dumps({"model": "", "name": spelling}).encode(), "application/json"
            yield endpoint.path, json.dumps({"name": "gemma3", "model": spelling}).encode(), "application/json"
        case _:
            yield endpoint.path, json.dumps({"model": spelling, **besides}).encode(), "application/json"


def asking(gate: Gate, endpoint: Endpoint, spelling: str) -> Iterator[bytes]:
    for path, body, content_type in requests(endpoint, spelling):
        for carrier in CARRIERS:
            fields = (carrier.format(key=gate.key), *((f"Content-Type: {content_type}",) if content_type else ()))
            yield gate.post(path, body, *fields, key="", method=endpoint.method)


def names_in(endpoint: Endpoint, upstream: RecordingUpstream) -> list[str]:
    """The model's name in everything that the upstream was asked."""
    read: Callable[[bytes], str] = lambda raw: str(json.loads(raw.partition(b"\r\n\r\n")[2])["model"])  # noqa: E731
    if endpoint.takes is Takes.FORM:
        read = lambda raw: re.findall(rb'name="model"\r\n\r\n([^\r]*)\r\n', raw)[0].decode()  # noqa: E731
    if endpoint.model_in is ModelIn.PATH:
        read = lambda raw: raw.split(b" ")[1].decode().removeprefix("/v1/models/")  # noqa: E731
    return [read(asked.raw) for asked in upstream.asked]


EVERY_ROUTE = pytest.mark.parametrize("endpoint", ROUTES, ids=lambda endpoint: endpoint.path)


@EVERY_ROUTE
async def test_an_allowed_model_is_asked_for_by_the_name_that_was_checked(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    """wire-09"""
    gate = await open_gate(plans={"default": {"models": ["Library/LLAMA3.2:1b"]}})
    upstream.says(*answer_of(endpoint, stream=False))
    for number, spelling in enumerate(SPELLINGS, start=1):
        for request in asking(gate, endpoint, spelling):
            told = await gate.ask(request)
            heard = names_in(endpoint, upstream)
            upstream.forget()

            if number in ACCEPTED:
                assert (200, [MODEL]) == (told.status, heard), spelling
            else:
                assert (404, []) == (told.status, heard), spelling
    assert {MODEL} == {entry.model for entry in gate.heard.entries if entry.outcome is Outcome.SERVED}


@EVERY_ROUTE
@pytest.mark.parametrize(
    "models", [["mistral", "gemma3:*"], ["llama3.2:3b"], ["llama3.2:1b*", "mistral"]], ids=["others", "tag", "absent"]
)
async def test_a_forbidden_model_is_absent_in_every_spelling(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint, models: list[str]
) -> None:
    """wire-09, wire-10"""
    if "llama3.2:1b*" in models:
        upstream.installed = [entry for entry in upstream.installed if not entry["name"].startswith("llama3.2")]
    gate = await open_gate(plans={"default": {"models": models}})
    told = {
        (spelling, number): await gate.ask(request)
        for spelling in (*SPELLINGS, *CLOUD, *OTHERS, "never-heard-of:1b")
        for number, request in enumerate(asking(gate, endpoint, spelling))
    }

    assert {404} == {one.status for one in told.values()}, [what for what, one in told.items() if one.status != 404]
    assert 1 == len({besides_what_differs(one.body) for one in told.values()})
    assert [] == upstream.connections
    assert {(Outcome.REFUSED, "model_not_found")} == {(entry.outcome, entry.reason) for entry in gate.heard.entries}


def besides_what_differs(body: bytes) -> bytes:
    """The refusal without the id of its call, and without the names, all of them the caller's own, that are nearest."""
    return re.sub(rb"req_[0-9a-f]+| Nearest are: [^\"]*\.(?=\")", b"", body)


async def test_the_names_that_are_said_to_be_nearest_are_the_callers_own(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(plans={"default": {"models": ["mistral", "gemma3:*"]}})
    for spelling in (*SPELLINGS, *CLOUD):
        told = await gate.ask(gate.post("/api/chat", {"model": spelling}))

        assert b"llama" not in told.body.lower()
    assert [] == upstream.connections


@pytest.mark.parametrize(
    ("endpoint", "owned"),
    [
        pytest.param(endpoint, owned, id=f"{endpoint.path} {owned}")
        for endpoint in ROUTES
        for owned in ("Mixed-CaSe:Q4_K_M", "hf.co/Bart/Gemma:Q4")
        if endpoint.model_in is not ModelIn.PATH or "/" not in owned  # Such a name has no place in a path.
    ],
)
async def test_a_model_is_said_as_it_is_spelled_on_the_disk(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint, owned: str
) -> None:
    """wire-09"""
    upstream.installed += [{"name": owned, "model": owned}]
    gate = await open_gate()
    upstream.says(*answer_of(endpoint, stream=False))
    for request in asking(gate, endpoint, owned.lower()):
        told = await gate.ask(request)

        if b'"gemma3"' not in request:
            assert (200, owned) == (told.status, names_in(endpoint, upstream)[-1])
