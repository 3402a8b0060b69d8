import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.dialects import strict_json
from proxy.errors import NotUnderstood
from proxy.vocabulary import joined

KNOWN = frozenset({"model", "stream", "messages", "options", "keep_alive"})
LONG_S, KELVIN = "\N{LATIN SMALL LETTER LONG S}", "\N{KELVIN SIGN}"
MARK = "sesame"
"""Stands in every refused body that has a place for it, and must stand in no message."""

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t",
    "null": b"null",
    "an array": b'["sesame"]',
    "a string": b'"sesame"',
    "a number": b"7",
    "true": b"true",
    "a name in capitals": b'{"MODEL":"sesame"}',
    "a name twice in two spellings": b'{"model":"a","Model":"sesame"}',
    "the same, the other way round": b'{"Model":"sesame","model":"a"}',
    "a name twice": b'{"model":"sesame","model":"b"}',
    "a name twice, once null": b'{"model":"sesame","model":null}',
    "a name twice, once escaped": b'{"model":"sesame","\\u006dodel":"b"}',
    "an unknown name twice": b'{"model":"a","sesame":1,"sesame":1}',
    "objects that Go would merge": b'{"options":{"num_ctx":1},"options":{"sesame":2}}',
    "the same, in two spellings": b'{"options":{"num_ctx":1},"OPTIONS":{"sesame":999}}',
    "a name twice, deep inside": b'{"messages":[{"role":"user","content":[{"sesame":1,"sesame":2}]}]}',
    "a long s, raw": f'{{"{LONG_S}tream":false,"x":"sesame"}}'.encode(),
    "a long s, escaped": b'{"\\u017ftream":false,"x":"sesame"}',
    "a long s in the middle": f'{{"me{LONG_S}{LONG_S}ages":["sesame"]}}'.encode(),
    "a long s at the end": f'{{"option{LONG_S}":{{"num_ctx":9}}}}'.encode(),
    "a Kelvin sign, raw": f'{{"{KELVIN}eep_alive":-1}}'.encode(),
    "a Kelvin sign, escaped": b'{"\\u212aeep_alive":-1}',
    "a second object": b'{"model":"a"}{"model":"sesame"}',
    "rubbish after the end": b'{"model":"a"} sesame',
    "a NUL after the end": b'{"model":"sesame"}\0',
    "a byte order mark": b'\xef\xbb\xbf{"model":"sesame"}',
    "UTF-16": '{"model":"sesame"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"model":"sesame"}'.encode("utf-16-le"),
    "UTF-32": '{"model":"sesame"}'.encode("utf-32-be"),
    "NaN": b'{"sesame":NaN}',
    "Infinity": b'{"sesame":Infinity}',
    "minus infinity": b'{"sesame":[-Infinity]}',
    "single quotes": b"{'model':'sesame'}",
    "a comment": b'{"model":"sesame"/* */}',
    "a comma too many": b'{"model":"sesame",}',
    "a raw line end in a string": b'{"model":"ses\name"}',
    "a raw NUL in a string": b'{"model":"ses\0ame"}',
    "an unknown escape": b'{"model":"sesame\\x41"}',
    "a leading zero": b'{"sesame":01}',
    "a leading plus": b'{"sesame":+1}',
    "a bare point": b'{"sesame":.5}',
    "invalid UTF-8": b'{"model":"sesame\xff"}',
    "invalid UTF-8 in a name": b'{"sesame\xc3":1}',
    "an overlong slash": b'{"model":"sesame\xc0\xaf"}',
    "a raw surrogate": b'{"model":"sesame\xed\xa0\x80"}',
    "a lone high surrogate": b'{"model":"sesame\\ud800"}',
    "a lone low surrogate": b'{"model":"sesame\\uDC00"}',
    "surrogates the wrong way round": b'{"x":["sesame\\udc00\\ud800"]}',
    "a lone surrogate in a name": b'{"sesame\\ud800":1}',
    "an unfinished object": b'{"model":"sesame"',
    "an unfinished string": b'{"model":"sesame',
    "an unfinished escape": b'{"model":"sesame\\',
    "101 levels": b'{"sesame":' + b"[" * 100 + b"]" * 100 + b"}",
    "101 levels of objects": b'{"a":' * 100 + b'{"sesame":1}' + b"}" * 100,
    "5000 levels": b'{"sesame":' + b"[" * 4999 + b"]" * 4999 + b"}",
    "100000 levels": b'{"sesame":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100000 levels never closed": b'{"sesame":' + b"[" * 100_000,
    "100000 levels never closed, of objects": b'{"a":' * 100_000,
    "closed before opened": b"]" * 200 + b"[" * 100_000,
    "an integer of 4301 digits": b'{"sesame":' + b"9" * 4301 + b"}",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_go_could_read_otherwise_is_refused_without_being_quoted(body: bytes) -> None:
    with pytest.raises(NotUnderstood) as refused:
        strict_json.read_object(body, KNOWN)

    assert (400, "invalid_request") == (refused.value.status, refused.value.code)
    assert MARK not in refused.value.message


ACCEPTED: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "an empty object": (b"{}", {}),
    "white space around": (b' \r\n{ "model" :\t"a" } \n', {"model": b'"a"'}),
    "an unknown name": (b'{"Model-Path":1}', {"Model-Path": b"1"}),
    "a known name inside a value": (b'{"options":{"MODEL":1,"model":2}}', {"options": b'{"MODEL":1,"model":2}'}),
    "the same name in two objects": (b'{"messages":[{"a":1},{"a":1}]}', {"messages": b'[{"a":1},{"a":1}]'}),
    "an escaped name": (b'{"\\u006dodel":"a"}', {"model": b'"a"'}),
    "a pair of surrogates": (b'{"model":"\\ud83d\\uDE00"}', {"model": b'"\\ud83d\\uDE00"'}),
    "an escaped backslash before what looks like one": (b'{"model":"\\\\ud800"}', {"model": b'"\\\\ud800"'}),
    "100 levels": (b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", {"a": b"[" * 99 + b"]" * 99}),
    "brackets in strings": (b'{"a":"' + b"[{" * 500 + b'\\"["}', {"a": b'"' + b"[{" * 500 + b'\\"["'}),
    "many values side by side": (b'{"a":[' + b"[]," * 500 + b"{}]}", {"a": b"[" + b"[]," * 500 + b"{}]"}),
    "an integer of 4300 digits": (b'{"a":' + b"9" * 4300 + b"}", {"a": b"9" * 4300}),
}


@pytest.mark.parametrize(("body", "members"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_strict_is_not_narrow(body: bytes, members: dict[str, bytes]) -> None:
    assert members == strict_json.read_object(body, KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "1e5",
        "1E+2",
        "10",
        "-0",
        "0.1e-7",
        '"\\u00e9"',
        '"é"',
        '"\\/"',
        '{ "b" : [ 1 , 2.50 ] }',
        "[1e999]",
        "{}",
    ],
)
def test_a_value_keeps_its_bytes(text: str) -> None:
    body = f'{{ "a" : {text} , "model" : "m" }}'.encode()

    assert b'{"a":' + text.encode() + b',"model":"m"}' == joined(strict_json.read_object(body, KNOWN))


INNER_REFUSED = [
    '{"messages":[{"Role":"system"}]}',
    '{"messages":[{"role":"user","Content":"sesame"}]}',
    '{"messages":[{"role":"user","role ":1,"CONTENT":[]}]}',
    '{"messages":[{"content":[{"Type":"text"}]}]}',
    '{"messages":[{"content":[{"type":"image_url","Image_URL":{}}]}]}',
    '{"messages":[{"content":[{"image_url":{"URL":"sesame"}}]}]}',
    '{"messages":[{"content":[{"source":{"Media_Type":"sesame"}}]}]}',
    '{"messages":[{"Images":["sesame"]}]}',
    '{"messages":[{"image\u017f":["sesame"]}]}',
    '{"messages":[{"image\\u017f":["sesame"]}]}',
    '{"messages":[{"thin\u212aing":"sesame"}]}',
    '{"messages":[{"Tool_Calls":[]}]}',
    '{"messages":[{"tool_calls":[{"Function":{}}]}]}',
    '{"messages":[{"tool_calls":[{"function":{"Arguments":{}}}]}]}',
    '{"tools":[{"Type":"web_search"}]}',
    '{"tools":[{"type":"function","Function":{}}]}',
    '{"tools":[{"function":{"Name":"sesame"}}]}',
    '{"tools":[{"function":{"Parameters":{}}}]}',
    '{"stream_options":{"Include_Usage":true}}',
    '{"response_format":{"Type":"json_object"}}',
    '{"response_format":{"json_schema":{"Schema":{}}}}',
    '{"input":[{"Role":"user"}]}',
    '{"input":[{"content":[{"Type":"input_image"}]}]}',
    '{"x":[[[{"y":{"Role":"sesame"}}]]]}',
    '{"Role":"sesame"}',
]


@pytest.mark.parametrize("body", INNER_REFUSED)
def test_a_look_alike_inside_of_the_body_is_refused_too(body: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        strict_json.read_object(body.encode(), KNOWN)

    assert MARK not in refused.value.message


INNER_ACCEPTED = [
    '{"messages":[{"role":"Role","content":"Content: Type"}]}',
    '{"messages":[{"role":"user","Something":1,"anotherName":{"X-Y":2}}]}',
    '{"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"Name":{"Type":"string"}}}}}]}',
    '{"tools":[{"name":"f","input_schema":{"properties":{"Content":{"Type":"x"}},"Required":["Content"]}}]}',
    '{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":{"Role":"x","URL":"y"}}}]}]}',
    '{"messages":[{"content":[{"type":"tool_use","input":{"Type":"x","Content":{"Role":1}}}]}]}',
    '{"format":{"properties":{"Name":{"Type":"string"}},"$defs":{"Text":{"Type":"x"}}}}',
    '{"response_format":{"json_schema":{"name":"n","schema":{"properties":{"ID":{"type":"string"}}}}}}',
    '{"options":{"Name":1,"STOP":["x"]}}',
    '{"metadata":{"Role":"x","User_ID":"y"}}',
    '{"parameters":{"Type":"x"},"files":{"Text.bin":"sha256:0"},"info":{"Name":"x"}}',
]


@pytest.mark.parametrize("body", INNER_ACCEPTED)
def test_where_names_are_anybodys_any_spelling_passes(body: str) -> None:
    assert json.loads(body) == json.loads(joined(strict_json.read_object(body.encode(), KNOWN)))


@pytest.mark.parametrize("name", sorted(strict_json.INNER))
def test_every_name_that_ollama_looks_for_inside_is_held_to_its_letters(name: str) -> None:
    odd = [name.upper(), name.capitalize(), name.replace("s", LONG_S), name.replace("k", KELVIN)]
    for spelling in {*odd} - {name}:
        with pytest.raises(NotUnderstood):
            strict_json.read_object(json.dumps({"messages": [{spelling: "x"}]}).encode(), KNOWN)

    assert strict_json.read_object(json.dumps({"messages": [{name: "x"}]}).encode(), KNOWN)


texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=8)
names = texts.filter(lambda name: name in strict_json.INNER or name.casefold() not in strict_json.INNER)
leaves = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | texts
values: some.SearchStrategy[Any] = some.recursive(
    leaves, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(names, inner, max_size=4), max_leaves=6
)


@given(
    some.dictionaries(names, values, max_size=6),
    some.booleans(),
    some.sampled_from([None, 1]),
)
def test_any_object_comes_out_as_it_went_in(members: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(members, ensure_ascii=ascii_only, indent=indent).encode()

    read = strict_json.read_object(body, frozenset())

    assert members == json.loads(joined(read))
    assert list(members) == list(read)
    assert all(text in body for text in read.values())
    assert read == strict_json.read_object(joined(read), frozenset())


@given(some.binary() | some.text('{}[]",:\\u0d8nul1.e-é \n').map(str.encode))
def test_rubbish_is_refused_or_is_an_object_to_everyone(body: bytes) -> None:
    try:
        read = strict_json.read_object(body, KNOWN)
    except NotUnderstood:
        return

    assert json.loads(body) == json.loads(joined(read))


@pytest.mark.parametrize(
    "tail",
    [b'"' + b'\\"' * 500_000, b'"' + b'\\"' * 500_000 + b"\\", b'"' * 1_000_001, b'"\\' * 500_000, b"[]" * 500_000],
    ids=["escaped quotes", "and a last backslash", "quotes", "quotes and backslashes", "brackets"],
)
def test_no_body_is_gone_through_twice(tail: bytes) -> None:
    began = time.process_time()

    with pytest.raises(NotUnderstood):
        strict_json.read_object(b"[" * 101 + tail, KNOWN)
    with pytest.raises(NotUnderstood):
        strict_json.read_object(b'{"a":[' + b"[]," * 101 + tail, KNOWN)

    assert time.process_time() - began < 5  # A megabyte takes milliseconds, and would take hours.


def test_a_body_has_so_many_lists_and_objects_and_no_more() -> None:
    most = strict_json.MOST_BRACKETS // 2 - 2  # Beside the body itself and its one list.
    talk = b'{"a":[' + b",".join([b"{}"] * most)

    assert talk[5:] + b',"[{"]' == strict_json.read_object(talk + b',"[{"]}', KNOWN)["a"]
    with pytest.raises(NotUnderstood):
        strict_json.read_object(talk + b",{}]}", KNOWN)


@pytest.mark.parametrize(("text", "found"), [(b'"a"', "a"), (b"null", ""), (b'"\\u00e9"', "é")])
def test_a_text_is_read(text: bytes, found: str) -> None:
    assert found == strict_json.text_of({"model": text}, "model")


@pytest.mark.parametrize("text", [b"5", b"true", b"[]", b'{"a":1}', b"1e999", b"-1E400", b"9" * 4300])
def test_what_must_be_a_text_and_is_none_is_named(text: bytes) -> None:
    with pytest.raises(NotUnderstood) as refused:
        strict_json.text_of(strict_json.read_object(b'{"model":' + text + b"}", KNOWN), "model")

    assert "model" == refused.value.param


@pytest.mark.parametrize("text", [b'"true"', b"1", b"0", b"[]", b"{}", b'""', b"1e999"])
def test_what_must_be_a_flag_and_is_none_is_named(text: bytes) -> None:
    with pytest.raises(NotUnderstood) as refused:
        strict_json.flag_of(strict_json.read_object(b'{"stream":' + text + b"}", KNOWN), "stream", True)

    assert "stream" == refused.value.param


@pytest.mark.parametrize("default", [True, False])
def test_an_absent_flag_and_a_null_are_the_default(default: bool) -> None:
    assert default is strict_json.flag_of({}, "stream", default)
    assert default is strict_json.flag_of({"stream": b"null"}, "stream", default)
    assert (not default) is strict_json.flag_of({"stream": str(not default).lower().encode()}, "stream", default)


def test_an_absent_text_is_empty() -> None:
    assert "" == strict_json.text_of({}, "model")
    assert strict_json.value({}, "model") is None


def test_what_is_dumped_is_compact() -> None:
    assert '{"error":"é","n":[1,null]}'.encode() == strict_json.dump({"error": "é", "n": [1, None]})


CHAT_OF_MANY = b'{"messages":[' + b",".join([b'{"role":"user","content":"a, [b] {c}"}'] * 40_000) + b"]}"
CONTEXT = b'{"context":[' + b",".join([b"1"] * 140_000) + b"]}"


@pytest.mark.parametrize("body", [CHAT_OF_MANY, CONTEXT], ids=["messages", "context"])
def test_a_long_talk_is_taken(body: bytes) -> None:
    assert 1 == len(strict_json.read_object(body, frozenset()))


def test_commas_and_brackets_within_a_text_count_for_nothing() -> None:
    text = b'[{,\\"]},\\\\\\",' * 20_000
    body = b'{"a":"' + text + b'","b":[[],{"c":"\\\\"}]}'

    assert json.loads(body).keys() == strict_json.read_object(body, frozenset()).keys()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"context":[' + b"1," * strict_json.MOST_VALUES + b"1,1]}", "more than 150000 members and entries"),
        (b'{"context":[' + b"1," * 1_000_000 + b"1", "more than 150000 members and entries"),
        (b"{" + b",".join(b'"a%d":1' % n for n in range(10_001)) + b"}", "more than 10000 members"),
        (b'{"x":[' + b'["\\\\",{"a":' + b"1," * 10_000 + b'"":1}]]}', "more than 10000 members"),
        (b'{"input":[' + b'"a",' * 300_000 + b'"a"]}', "more than 200000 texts"),
        (b'{"input":[' + b'"\\\\",' * 450_000 + b'"a"]}', "more than 200000 texts"),
    ],
    ids=["numbers", "unended numbers", "members", "members within", "texts", "texts of a backslash"],
)
def test_a_body_of_more_values_than_anybody_has_is_refused_before_it_is_read(body: bytes, says: str) -> None:
    """Else whoever has a key makes everybody wait, half a second for eight megabytes."""
    with pytest.raises(NotUnderstood, match=says):
        strict_json.read_object(body, frozenset())


def test_as_many_members_as_may_be_are_taken() -> None:
    body = b"{" + b",".join(b'"a%d":1' % n for n in range(10_000)) + b"}"

    assert 10_000 == len(strict_json.read_object(body, frozenset()))
