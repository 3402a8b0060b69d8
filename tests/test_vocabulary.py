import dataclasses
import inspect
import json
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import vocabulary
from proxy.vocabulary import (
    BOUNDARY,
    KNOBS,
    SEGMENT,
    Ask,
    Call,
    Endpoint,
    ModelIn,
    Part,
    Plan,
    Risk,
    Rule,
    Takes,
    Tongue,
    form_of,
    joined,
)

NOUNS = [noun for _, noun in inspect.getmembers(vocabulary, dataclasses.is_dataclass) if isinstance(noun, type)]
CHAT = Endpoint("POST", "/api/chat", Tongue.OLLAMA, Risk.INFERENCE, Takes.JSON, ModelIn.BODY, streams=True)
MODEL = Endpoint("GET", f"/v1/models/{SEGMENT}", Tongue.OPENAI, Risk.READ, Takes.NOTHING, ModelIn.PATH)
BLOB = Endpoint("POST", f"/api/blobs/{SEGMENT}", Tongue.OLLAMA, Risk.MANAGE, Takes.BYTES)
SPEECH = Endpoint("POST", "/v1/audio", Tongue.TRANSCRIPTION, Risk.INFERENCE, Takes.FORM, ModelIn.FORM)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_cannot_be_changed_by_whoever_it_is_handed_to(noun: type) -> None:
    assert noun.__dict__["__dataclass_params__"].frozen
    assert "__slots__" in noun.__dict__


def test_a_call_shows_none_of_its_secrets() -> None:
    assert "canary" not in repr(Call("c1", datetime(2026, 3, 1, tzinfo=UTC), "GET", "/", secrets=("canary",)))


def test_an_ask_shows_nothing_of_its_prompt() -> None:
    assert "canary" not in repr(Ask(CHAT, fields={"prompt": b'"canary"'}))
    assert "canary" not in repr(Ask(SPEECH, parts=(Part("prompt", b"canary"),)))


@pytest.mark.parametrize(
    ("ask", "path", "body"),
    [
        (Ask(CHAT, model="evil", spelling="m:1b", fields={"model": b'"m:1b"'}), "/api/chat", b'{"model":"m:1b"}'),
        (Ask(CHAT), "/api/chat", b"{}"),
        (Ask(MODEL, model="evil", segment="m:1b", fields={"x": b"1"}), "/v1/models/m:1b", None),
        (Ask(CHAT, segment="evil"), "/api/chat", b"{}"),
        (Ask(BLOB, segment="sha256:0", fields={"x": b"1"}), "/api/blobs/sha256:0", None),
        (
            Ask(SPEECH, model="evil", spelling="m:1b", fields={"x": b"1"}),
            "/v1/audio",
            form_of([Part("model", b"m:1b")]),
        ),
        (
            Ask(SPEECH, spelling="m:1b", parts=(Part("file", b"RIFF", "audio.wav"), Part("prompt", b"x"))),
            "/v1/audio",
            form_of([Part("model", b"m:1b"), Part("file", b"RIFF", "audio.wav"), Part("prompt", b"x")]),
        ),
    ],
)
def test_an_ask_is_sent_as_it_was_checked(ask: Ask, path: str, body: bytes | None) -> None:
    assert (path, body) == (ask.path, ask.body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_members_are_joined_to_the_object_they_came_from(members: dict[str, object]) -> None:
    text = joined({name: json.dumps(value).encode() for name, value in members.items()})

    assert members == json.loads(text)
    assert list(members) == list(json.loads(text))


def test_a_value_is_sent_byte_for_byte_as_it_was_written() -> None:
    assert b'{"a":1.0e2,"k\\u00e4se\\"":[ 1 ]}' == joined({"a": b"1.0e2", 'käse"': b"[ 1 ]"})


def test_a_form_is_written_as_the_standard_has_it() -> None:
    parts = [Part("model", b"m"), Part("file", b"\x00\r\n\xff", "audio.wav", "audio/wav"), Part("x", b"", "y")]

    assert (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="model"\r\n\r\n'
        "m\r\n"
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
        "\x00\r\n\xff\r\n"
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="x"; filename="y"\r\n\r\n'
        "\r\n"
        f"--{BOUNDARY}--\r\n"
    ).encode("latin-1") == form_of(parts)


def test_a_form_without_parts_is_its_end() -> None:
    assert f"--{BOUNDARY}--\r\n".encode() == form_of([])


words = st.text(st.sampled_from("abcXYZ_.-09"), min_size=1, max_size=9)


@given(st.lists(st.builds(Part, words, st.binary().filter(lambda data: BOUNDARY.encode() not in data)), max_size=4))
def test_a_form_is_read_by_others_as_it_was_meant(parts: list[Part]) -> None:
    head = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    read = BytesParser(policy=policy.HTTP).parsebytes(head + form_of(parts)) if parts else None

    found = list(read.iter_parts()) if isinstance(read, EmailMessage) else []
    assert [part.name for part in parts] == [one.get_param("name", header="content-disposition") for one in found]


def test_by_default_a_plan_lets_nobody_change_the_box_or_leave_the_house() -> None:
    plan = Plan("x")

    assert frozenset({Risk.HEALTH, Risk.READ, Risk.INFERENCE}) == plan.grants
    assert (False, False) == (plan.cloud, plan.owner)
    assert (("registry.ollama.ai",), ("library",)) == (plan.pulls.registries, plan.pulls.namespaces)


@pytest.mark.parametrize("name", KNOBS)
def test_a_knob_can_be_clamped_exactly_where_there_is_more_and_less_of_it(name: str) -> None:
    knob = KNOBS[name]

    assert (knob.unit is not None) == (Rule.CLAMP in knob.rules)
    assert Rule.ALLOW in knob.rules
