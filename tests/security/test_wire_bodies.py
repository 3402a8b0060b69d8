"""The wire tests about what stands in a body; the docstrings number them."""

import json

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import BOUNDARY, Endpoint, ModelIn, Outcome, Part, Risk, Takes, Tongue, form_of
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import MODEL, SOUND, question_for
from tests.fakes.raw_client import Told
from tests.fakes.upstream import RecordingUpstream, whole
from tests.fakes.wire import all_sent, as_sent

ONLY_ONE = {"default": {"models": [MODEL]}}
JSON_ROUTES = [
    endpoint for endpoint in ENDPOINTS if endpoint.takes is Takes.JSON and endpoint.risk in (Risk.INFERENCE, Risk.READ)
]
EVERY_JSON = pytest.mark.parametrize("endpoint", JSON_ROUTES, ids=lambda endpoint: endpoint.path)


def has_the_shape_of(endpoint: Endpoint, told: Told) -> bool:
    """Whether it is a refusal as this route's clients know it."""
    said = json.loads(told.body)
    within = set(said["error"]) if isinstance(said["error"], dict) else None
    match endpoint.tongue:
        case Tongue.OLLAMA:
            return ({"error"}, None) == (set(said), within)
        case Tongue.ANTHROPIC:
            return ({"type", "error", "request_id"}, {"type", "message"}) == (set(said), within)
    return ({"error"}, {"message", "type", "param", "code"}) == (set(said), within)


async def refused(gate: Gate, upstream: RecordingUpstream, endpoint: Endpoint, bodies: dict[str, bytes]) -> None:
    """Each is a 400 in the caller's own shape, and the backend hears of none."""
    for what, body in bodies.items():
        told = await gate.ask(gate.post(endpoint.path, body))

        assert (400, True) == (told.status, has_the_shape_of(endpoint, told)), what
        assert (Outcome.REFUSED, "invalid_request") == ((entry := await gate.entry()).outcome, entry.reason), what
        assert [] == upstream.connections, what


@EVERY_JSON
async def test_a_name_in_other_letters_is_refused(
    open_gate: OpenGate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    """wire-06"""
    gate = await open_gate(plans=ONLY_ONE)
    bodies = {
        "capitals": b'{"MODEL":"forbidden","messages":[]}',
        "one capital, last": b'{"model":"llama3.2:1b","Model":"forbidden"}',
        "one capital, first": b'{"Model":"forbidden","model":"llama3.2:1b"}',
        "an escape": b'{"model":"llama3.2:1b","\\u004dodel":"forbidden"}',
    }
    await refused(gate, upstream, endpoint, bodies)


@EVERY_JSON
async def test_a_member_twice_or_a_look_alike_is_refused(
    gate: Gate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    """wire-07"""
    bodies = {
        "null after all": b'{"model":"forbidden","model":null}',
        "null before": b'{"model":null,"model":"forbidden"}',
        "options merged": b'{"model":"llama3.2:1b","options":{"num_ctx":9},"options":{}}',
        "within options": b'{"model":"llama3.2:1b","options":{"num_ctx":9,"num_ctx":10}}',
        "an escape": b'{"model":"llama3.2:1b","mode\\u006c":"forbidden"}',
    }
    if endpoint.tongue is Tongue.OLLAMA:
        bodies |= {
            "a long s": '{"model":"llama3.2:1b","option\u017f":{"num_ctx":9}}'.encode(),
            "an escaped long s": b'{"model":"llama3.2:1b","option\\u017f":{"num_ctx":9}}',
            "the kelvin sign": '{"model":"llama3.2:1b","\u212aeep_alive":-1}'.encode(),
            "an escaped kelvin sign": b'{"model":"llama3.2:1b","\\u212aeep_alive":-1}',
            "long s for stream": '{"model":"llama3.2:1b","\u017ftream":false}'.encode(),
            "long s for messages": '{"model":"llama3.2:1b","me\u017f\u017fages":[]}'.encode(),
        }
    await refused(gate, upstream, endpoint, bodies)


@EVERY_JSON
async def test_what_is_not_one_json_object_in_utf_8_is_refused(
    gate: Gate, upstream: RecordingUpstream, endpoint: Endpoint
) -> None:
    """wire-08"""
    good = b'{"model":"llama3.2:1b"}'
    bodies = {
        "two values": good + b'{"model":"forbidden"}',
        "rubbish behind": good + b"x",
        "a zero behind": good + b"\0",
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-16 without a mark": good.decode().encode("utf-16-le"),
        "UTF-32": good.decode().encode("utf-32"),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "NaN": b'{"model":"llama3.2:1b","seed":NaN}',
        "Infinity": b'{"model":"llama3.2:1b","seed":-Infinity}',
        "half a surrogate": b'{"model":"llama3.2:1b","user":"\\ud800"}',
        "surrogates the wrong way": b'{"model":"llama3.2:1b","user":"\\udc00\\ud800"}',
        "broken UTF-8": b'{"model":"llama3.2:1b","user":"\xff"}',
        "a surrogate in UTF-8": b'{"model":"llama3.2:1b","user":"\xed\xa0\x80"}',
        "a raw control character": b'{"model":"llama3.2:1b","user":"\n"}',
        "depth 5000": b'{"model":"llama3.2:1b","user":' + b"[" * 5000 + b"]" * 5000 + b"}",
        "depth 100000, open": b'{"model":' + b"[" * 100_000,
        "single quotes": b"{'model':'llama3.2:1b'}",
        "a comma too many": b'{"model":"llama3.2:1b",}',
        "null": b"null",
        "a list": b"[]",
        "nothing": b"",
    }
    await refused(gate, upstream, endpoint, bodies)


CLOUD = ("llama3.2:1b:cloud", "llama3.2:1b-cloud", "llama3.2:1B-CLOUD", "llama3.2: 1b-cloud", "llama3.2:1b: Cloud")
NAMED = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.risk in (Risk.INFERENCE, Risk.READ) and endpoint.model_in is not ModelIn.NOWHERE
]


@pytest.mark.parametrize("name", CLOUD)
async def test_a_model_that_would_leave_the_house_is_absent(
    open_gate: OpenGate, upstream: RecordingUpstream, name: str
) -> None:
    """wire-10"""
    upstream.installed += [{"name": "llama3.2:1b-cloud", "remote_host": "https://ollama.com:443"}]
    gate = await open_gate(plans={"default": {"models": ["llama3.2:*", "llama3.2"]}})
    for endpoint in NAMED:
        asking = question_for(endpoint, model=name.replace(" ", "%20") if "segment" in endpoint.path else name)
        told = await gate.ask(gate.post(asking.path, asking.body, *_type_of(endpoint), method=endpoint.method))

        assert 404 == told.status, endpoint
    assert [] == upstream.connections


def _type_of(endpoint: Endpoint) -> tuple[str, ...]:
    return (f"Content-Type: {question_for(endpoint).content_type}",) if endpoint.takes is Takes.FORM else ()


async def test_a_stub_that_runs_elsewhere_is_absent_whatever_its_name(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """wire-10"""
    upstream.installed += [{"name": "helper:latest", "remote_host": "https://ollama.com:443"}]
    gate = await open_gate()
    told = await gate.ask(gate.post("/api/chat", {"model": "helper", "messages": []}))

    assert (404, []) == (told.status, upstream.connections)


SPEECH = "/v1/audio/transcriptions"


def form(*parts: Part) -> tuple[bytes, str]:
    return form_of(parts), f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


def named(model: str) -> Part:
    return Part("model", model.encode())


async def test_a_form_is_written_anew_and_its_model_alone_counts(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """wire-11"""
    gate = await open_gate(plans=ONLY_ONE)
    upstream.says(whole(b'{"text":"Because."}', "application/x-ndjson"))
    body, content_type = form(SOUND, named("LLAMA3.2:1B"), Part("language", b"en"))
    told = await gate.ask(gate.post(f"{SPEECH}?model=forbidden", body, content_type))
    entry = await gate.entry()
    sent, _ = form(named(MODEL), Part("file", SOUND.data, "audio.wav", "audio/wav"), Part("language", b"en"))

    assert (200, b'{"text":"Because."}') == (told.status, told.body)
    assert "application/json" == told.fields["content-type"]
    assert [as_sent(upstream, f"POST {SPEECH}", sent, f"multipart/form-data; boundary={BOUNDARY}")] == all_sent(
        upstream
    )
    assert (Outcome.SERVED, MODEL, False) == (entry.outcome, entry.model, entry.usage.exact)


async def test_a_form_that_could_be_read_two_ways_runs_nothing(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """wire-11"""
    gate = await open_gate(plans=ONLY_ONE)
    good = form(named(MODEL), SOUND)[0]
    forms = {
        "two models": form(named(MODEL), named("forbidden"), SOUND)[0],
        "two models, the other first": form(named("forbidden"), named(MODEL), SOUND)[0],
        "a model in other letters": form(named(MODEL), Part("Model", b"forbidden"), SOUND)[0],
        "a model that is a file": form(Part("model", MODEL.encode(), "m.txt"), SOUND)[0],
        "quoted-printable": good.replace(
            b'name="model"', b'name="model"\r\nContent-Transfer-Encoding: quoted-printable'
        ),
        "two names": good.replace(b'name="model"', b'name="model"; name="x"'),
        "a name in another alphabet": good.replace(b'name="model"', b"name*=utf-8''model"),
        "no end": good[:-4],
        "more behind": good + form(named("forbidden"))[0],
        "JSON": b'{"model":"llama3.2:1b"}',
    }
    for what, body in forms.items():
        told = await gate.ask(gate.post(SPEECH, body, form()[1]))

        assert 400 == told.status, what
    for content_type in ("application/json", "multipart/mixed; boundary=x", "multipart/form-data", ""):
        assert 400 == (await gate.ask(gate.post(SPEECH, good, f"Content-Type: {content_type}"))).status, content_type
    for query in ("?model=llama3.2:1b", ""):
        told = await gate.ask(gate.post(f"{SPEECH}{query}", *form(named("forbidden"), SOUND)))

        assert 404 == told.status, query
    assert [] == upstream.connections


async def test_a_form_that_is_too_large_is_refused_before_the_backend_hears(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    """wire-11"""
    gate = await open_gate(max_body="4096")
    body, content_type = form(named(MODEL), Part("file", b"\0" * 5000, "a.wav"))

    assert 413 == (await gate.ask(gate.post(SPEECH, body, content_type))).status
    assert [] == upstream.connections
