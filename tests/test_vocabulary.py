import dataclasses
import inspect
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import vocabulary
from proxy.vocabulary import Ask, Call, Endpoint, Risk, Tongue, joined

NOUNS = [noun for _, noun in inspect.getmembers(vocabulary, dataclasses.is_dataclass) if isinstance(noun, type)]
CHAT = Endpoint("POST", "/api/chat", Tongue.OLLAMA, Risk.INFERENCE, names_model=True, streams=True)
MODEL = Endpoint("GET", "/v1/models/{model}", Tongue.OPENAI, Risk.READ, names_model=True)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_cannot_be_changed_by_whoever_it_is_handed_to(noun: type) -> None:
    assert noun.__dict__["__dataclass_params__"].frozen
    assert "__slots__" in noun.__dict__


def test_a_call_shows_none_of_its_secrets() -> None:
    assert "canary" not in repr(Call("c1", datetime(2026, 3, 1, tzinfo=UTC), "GET", "/", secrets=("canary",)))


def test_an_ask_shows_nothing_of_its_prompt() -> None:
    assert "canary" not in repr(Ask(CHAT, fields={"prompt": b'"canary"'}))


@pytest.mark.parametrize(
    ("ask", "path", "body"),
    [
        (Ask(CHAT, model="evil", spelling="m:1b", fields={"model": b'"m:1b"'}), "/api/chat", b'{"model":"m:1b"}'),
        (Ask(CHAT), "/api/chat", b"{}"),
        (Ask(MODEL, model="evil", spelling="m:1b", fields={"x": b"1"}), "/v1/models/m:1b", None),
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
