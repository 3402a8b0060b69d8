import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import NotUnderstood
from proxy.policy import members

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_an_object_comes_apart_into_the_texts_it_was_made_of(
    value: dict[str, object], indent: int | str | None, escaped: bool
) -> None:
    apart = members.object_of(json.dumps(value, indent=indent, ensure_ascii=escaped).encode())

    assert apart is not None
    assert list(value.items()) == [(name, json.loads(text)) for name, text in apart.items()]


@given(st.lists(JSON), st.sampled_from([None, 2]))
def test_a_list_comes_apart_and_together_again(value: list[object], indent: int | None) -> None:
    apart = members.list_of(json.dumps(value, indent=indent).encode())

    assert apart is not None
    assert value == json.loads(members.list_from(apart))


def test_what_comes_apart_keeps_its_bytes() -> None:
    assert {"a": b"1.50e+1", "b": b'{ "x" : "\\u00e9" }'} == members.object_of(
        b' { "a" : 1.50e+1 ,\n"b":{ "x" : "\\u00e9" } } '
    )


@pytest.mark.parametrize("text", [b"null", b"3", b'"{}"', b"true"])
def test_what_is_neither_object_nor_list_does_not_come_apart(text: bytes) -> None:
    assert (None, None) == (members.object_of(text), members.list_of(text))


def test_more_entries_than_anybody_needs_are_refused() -> None:
    with pytest.raises(NotUnderstood):
        members.list_of(b"[" + b"0," * 2000 + b"0]")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, b"0"),
        (0, b"-0"),
        (-12, b" -12 "),
        (10**18, b"9" * 5000),
        (-(10**18), b"-" + b"9" * 5000),
        (None, b"10.0"),
        (None, b"1e3"),
        (None, b'"10"'),
        (None, b"true"),
        (None, b"null"),
        (None, b"[]"),
    ],
)
def test_an_integer_is_what_go_takes_for_one(amount: int | None, text: bytes) -> None:
    assert amount == members.whole(text)
