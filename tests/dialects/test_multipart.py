from contextlib import suppress
from dataclasses import replace
from functools import partial

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.dialects import multipart
from proxy.errors import NotUnderstood
from proxy.vocabulary import BOUNDARY, Part, form_of

KNOWN = frozenset({"file", "model", "response_format", "tags[]"})
KIND = "multipart/form-data; boundary=XX"
OURS = f"multipart/form-data; boundary={BOUNDARY}"
FIELD = 'form-data; name="model"'

parse = partial(multipart.parse, known=KNOWN, files=frozenset({"file"}))


def part(disposition: str = FIELD, *lines: str, data: bytes = b"gemma3") -> bytes:
    head = "\r\n".join([f"Content-Disposition: {disposition}", *lines])
    return head.encode() + b"\r\n\r\n" + data


def form(*parts: bytes) -> bytes:
    return b"".join(b"--XX\r\n" + one + b"\r\n" for one in parts) + b"--XX--\r\n"


def test_a_form_is_taken_apart_in_order() -> None:
    body = form(
        part('form-data; name="file"; filename="a b;ü.WAV"', "Content-Type: Audio/WAV", data=b"RIFF\r\n\x00--XX--"),
        part(),
        part(
            "form-data; name=response_format", "content-type: text/plain; charset=UTF-8", "Content-Length: 4", data=b""
        ),
    )

    assert (
        Part("file", b"RIFF\r\n\x00--XX--", "a b;ü.WAV", "audio/wav"),
        Part("model", b"gemma3"),
        Part("response_format", b"", None, "text/plain"),
    ) == parse(body, KIND)


@pytest.mark.parametrize(
    "content_type",
    [
        KIND,
        'multipart/form-data; boundary="XX"',
        "Multipart/Form-Data;boundary=XX",
        "multipart/form-data; charset=utf-8; Boundary=XX",
    ],
)
def test_the_boundary_is_found(content_type: str) -> None:
    assert (Part("model", b"gemma3"),) == parse(form(part()), content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=XX",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="XX "',
        'multipart/form-data; boundary="X\\X"',
        f"multipart/form-data; boundary={'X' * 71}",
        "multipart/form-data; boundary=XX; boundary=YY",
        "multipart/form-data; boundary=XX; BOUNDARY=XX",
        "multipart/form-data; boundary*=utf-8''XX",
        "multipart/form-data; boundary*0=X; boundary*1=X",
        "multipart/form-data; boundary=XX; charset=utf-16",
        "multipart/form-data; boundary=XX;",
        "multipart/form-data; boundary=XX, multipart/form-data; boundary=YY",
        "multipart/form-data boundary=XX",
        "multipart/form-data; boundary=Ü",
        "multipart/form-data; boundary=XX\n",
    ],
)
def test_any_other_content_type_is_not_understood(content_type: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(form(part()), content_type)


def test_a_boundary_of_70_characters_is_the_longest() -> None:
    body = form(part()).replace(b"XX", b"X" * 70)

    assert (Part("model", b"gemma3"),) == parse(body, f"multipart/form-data; boundary={'X' * 70}")


@pytest.mark.parametrize(
    "disposition",
    [
        "",
        "form-data",
        "attachment; name=model",
        'form-data; name=""',
        'form-data; name="model"; name="model"',
        'form-data; name="model"; NAME="other"',
        'form-data; name="mo\\del"',
        'form-data; name="mo"del"',
        'form-data; name="mo\x00del"',
        'form-data; name="mo\ndel"',
        'form-data; name="mo\rdel"',
        'form-data; name="mo\x85del"',
        'form-data; name="model',
        'form-data; name=" model"',
        'form-data; name="mo%64el"',
        "form-data; name=model;",
        "form-data, name=model",
        "form-data; name*=utf-8''model",
        "form-data; name*0=mo; name*1=del",
        'form-data; name="model"; size=6',
        'form-data; name="_charset_"',
        'form-data; name="Model"',
        'form-data; name="MODEL"',
        'form-data; name="Tags[]"',
        'form-data; name="re\u017fponse_format"',
        'form-data; name="model"; filename="m"',
        'form-data; name="model"; filename=""',
        'form-data; name="other"; filename="m"',
        'form-data; name="file"',
        'form-data; name="file"; filename=""',
        "form-data; name=\"file\"; filename*=utf-8''a.wav",
        'form-data; name="file"; filename="a.wav"; filename*=utf-8\'\'a.mp3',
        'form-data; name="file"; filename="a\\".wav"',
        'form-data; name="file"; filename="a\x1f.wav"',
        f'form-data; name="file"; filename="{"a" * 1001}"',
    ],
)
def test_a_part_whose_disposition_could_be_read_otherwise_is_not_understood(disposition: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(form(part(disposition)), KIND)


@pytest.mark.parametrize(
    "line",
    [
        "Content-Transfer-Encoding: quoted-printable",
        "content-transfer-encoding: binary",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: form-data; name=response_format",
        "Content-Encoding: gzip",
        "Content-Type: multipart/mixed; boundary=YY",
        "Content-Type: message/rfc822",
        "Content-Type: text/plain; charset=utf-7",
        "Content-Type: text",
        "Content-Type: text/plain\r\nContent-Type: text/plain",
        " folded",
        "Content-Type : text/plain",
        "no colon",
        "X-Any: thing",
        "Content-Type: text/plain\x00",
        "",
    ],
)
def test_a_part_with_any_other_header_is_not_understood(line: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(form(part(FIELD, line, data=b"=67emma3\r\n\r\n")) if line else form(b"\r\n\r\n" + part()), KIND)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XX",
        b"--XX\r\n",
        b"--XX\r\n\r\n",
        b"{}",
        form(part())[:-4],
        form(part())[:-6],
        form(part()) + b"x",
        form(part()) + b"\r\n",
        form(part()) + form(part()),
        b"preamble\r\n" + form(part()),
        b"\r\n" + form(part()),
        form(part()).replace(b"\r\n", b"\n"),
        form(part()).replace(b"\r\n--XX--", b"\n--XX--"),
        form(part()).replace(b"--XX\r\n", b"--XX \r\n"),
        form(part()).replace(b"--XX\r\n", b"--XXX\r\n"),
        form(part()).replace(b"--XX\r\n", b"--XXab"),
        form(part()).replace(b"--XX\r\n", b"--XX\n\n"),
        form(part(data=b"\r\n--XXX")),
        b"--XX\r\n" + part(data=b"")[:-2] + b"\r\n--XX--",
        form(b"\r\n\r\ngemma3"),
        form(part(), part(data=b"llama3")),
        form(part(), part("form-data; name=file"), part()),
        form(part(data=b"\xff")),
        form(part().replace(b"model", b"\xff")),
        form(part('form-data; name="file"; filename="a"', data=BOUNDARY.encode())),
        form(part(data=b"a\r\n--" + BOUNDARY.encode() + b"\r\n" + part("form-data; name=response_format"))),
    ],
)
def test_a_form_that_is_not_exactly_its_parts_is_not_understood(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        parse(body, KIND)


def test_only_a_list_may_come_more_than_once() -> None:
    twice = [part('form-data; name="tags[]"', data=b"a"), part('form-data; name="tags[]"', data=b"b")]

    assert (Part("tags[]", b"a"), Part("tags[]", b"b")) == parse(form(*twice), KIND)


def test_there_are_at_most_16_parts() -> None:
    many = [part(f"form-data; name=f{number}") for number in range(17)]

    assert 16 == len(parse(form(*many[:16]), KIND))
    with pytest.raises(NotUnderstood):
        parse(form(*many), KIND)


def test_a_header_has_at_most_8_kib() -> None:
    padding = 8 * 1024 - len(part(FIELD, "Content-Length: ", data=b"")) + 4

    assert (Part("model", b"gemma3"),) == parse(form(part(FIELD, "Content-Length: " + "1" * padding)), KIND)
    with pytest.raises(NotUnderstood):
        parse(form(part(FIELD, "Content-Length: " + "1" * (padding + 1))), KIND)


def test_what_a_message_says_quotes_nothing() -> None:
    with pytest.raises(NotUnderstood) as caught:
        parse(form(part("form-data; name=SECRET; name=SECRET")), KIND)

    assert "SECRET" not in caught.value.message


names = st.sampled_from(sorted(KNOWN - {"file"})) | st.from_regex(r"[0-9A-Za-z_.\-]{1,20}(\[\])?", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), min_size=1, max_size=40)
types = st.none() | st.sampled_from(["audio/wav", "text/plain", "application/x-any+thing"])
fields = st.builds(Part, names, st.text().map(str.encode), st.none(), types)
files = st.builds(Part, st.just("file"), st.binary(), words, types)


@given(st.lists(fields, max_size=15), st.none() | files)
def test_what_is_written_is_read_the_same(some: list[Part], file: Part | None) -> None:
    parts = tuple({one.name: one for one in [*some, *([file] if file else [])]}.values())
    if any(one.name not in KNOWN and one.name.casefold() in KNOWN for one in parts):
        return

    assert parts == parse(form_of(parts), OURS)


PIECES = [
    b"--XX", b"--", b"\r\n", b"\n", b"Content-Disposition: ", b"form-data", b"; name=", b'"model"', b"file", b";",
    b"; filename=", b'"a.wav"', b"Content-Type: ", b"text/plain", b": ", b"\r\n\r\n", b"\xff", b"x" * 9000, b'"',
    part(), form(part()), b"--" + BOUNDARY.encode(), b"; filename*=utf-8''",
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)


@given(
    st.binary() | pieces | pieces.map(lambda middle: b"--XX\r\n" + middle + b"\r\n--XX--"), st.just(KIND) | st.text()
)
@example(form(part()), KIND)
@example(form(part("FORM-DATA;NAME=file;filename=" + "f" * 127, "Content-Type:a/b")), KIND)
def test_no_bytes_at_all_break_it_and_what_passes_is_written_so_that_it_is_read_again(body: bytes, kind: str) -> None:
    with suppress(NotUnderstood):
        parts = parse(body, kind)

        assert parts == parse(form_of(parts), OURS)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_form_with_bytes_changed_passes_only_as_what_it_then_is(at: int, put: bytes) -> None:
    whole = form(part('form-data; name="file"; filename="a.wav"', "Content-Type: audio/wav", data=b"RIFF"), part())
    at %= len(whole)
    with suppress(NotUnderstood):
        parts = parse(whole[:at] + put + whole[at + len(put) :], KIND)

        assert parts == parse(form_of(parts), OURS)
        assert all(one.filename is None for one in parts if one.name == "model")


async def test_the_form_of_an_ordinary_client_is_understood() -> None:
    data = aiohttp.FormData()
    data.add_field("model", "gemma3")
    data.add_field("file", b"RIFF", filename="übung 1.wav", content_type="audio/wav")
    payload = data()
    written = Sink()
    await payload.write(written)
    assert payload.content_type

    model, file = parse(bytes(written.held), payload.headers["Content-Type"])
    assert Part("model", b"gemma3") == replace(model, content_type=None)
    assert ("file", b"RIFF", "audio/wav") == (file.name, file.data, file.content_type)


class Sink(aiohttp.abc.AbstractStreamWriter):
    """Keeps what is written."""

    def __init__(self) -> None:
        self.held = bytearray()

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.held += chunk

    async def write_eof(self, chunk: bytes = b"") -> None: ...
    async def drain(self) -> None: ...
    def enable_compression(self, *_: object, **__: object) -> None: ...
    def enable_chunking(self) -> None: ...
    async def write_headers(self, *_: object) -> None: ...
