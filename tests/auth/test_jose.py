import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.jose import DEEPEST, Unreadable, read_object, unbase64url


@given(st.binary(min_size=1))
def test_what_was_written_is_read(data: bytes) -> None:
    assert data == unbase64url(base64.urlsafe_b64encode(data).rstrip(b"=").decode())


@given(st.text(st.sampled_from("AQgw-_+/= \n\u00e9"), max_size=8))
def test_a_text_is_refused_or_the_only_one_for_its_bytes(text: str) -> None:
    try:
        found = unbase64url(text)
    except Unreadable:
        return

    assert text == base64.urlsafe_b64encode(found).rstrip(b"=").decode()


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(-(2**63), 2**63) | st.text('a\\"[]{}\u00e9')))
def test_an_object_is_read_as_it_was_written(written: dict[str, Any]) -> None:
    assert written == read_object(json.dumps(written).encode())
    assert written == read_object(json.dumps(written, ensure_ascii=False).encode())


@given(st.binary())
def test_no_bytes_make_anything_but_an_object_or_a_refusal(data: bytes) -> None:
    try:
        found: object = read_object(data)
    except Unreadable as error:
        found = {"refused": str(error)}

    assert isinstance(found, dict)


def nested(depth: int) -> bytes:
    """The object itself is a level."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_an_object_may_be_so_deep_and_no_deeper() -> None:
    assert {"a"} == read_object(nested(DEEPEST)).keys()
    with pytest.raises(Unreadable, match="levels deep"):
        read_object(nested(DEEPEST + 1))


def test_brackets_in_texts_are_no_levels() -> None:
    assert {"a": "[" * 100 + '"' + "{" * 100} == read_object(b'{"a":"' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"}')


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"a"',
        b"{}x",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"\\u0062":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"1" * 21 + b"}",
        b'{"a":' + b"1" * 5000 + b"}",
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b"{" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_has_two_readings_or_none_is_refused_without_a_word_of_it(text: bytes) -> None:
    with pytest.raises(Unreadable) as raised:
        read_object(text)

    assert "1" * 5 not in str(raised.value)
