import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.screen import LONGEST_LINE, Screen

PATH = "open /root/.ollama/models/blobs/sha256-aa: no such file"
HARMLESS = b'{"error":"the model crashed"}'
LINES = st.sampled_from(
    [
        b"",
        b"{",
        b'{"e',
        HARMLESS,
        b'{"errors":1}',
        b'{"message":{"content":"{\\"error\\""},"done":false}',
        b'{"done":true}',
    ]
)


def shown(*chunks: bytes) -> bytes:
    screen = Screen()
    return b"".join([*map(screen.feed, chunks), screen.end()])


@given(lines=st.lists(LINES), cuts=st.lists(st.integers(0, 300)))
def test_what_tells_nothing_passes_byte_for_byte_however_it_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"\n".join(lines)
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]

    assert stream == shown(*(stream[start:end] for start, end in pairwise(at)))


@given(cuts=st.lists(st.integers(0, 200)))
def test_an_error_is_said_without_what_is_not_the_callers_business(cuts: list[int]) -> None:
    said = json.dumps({"error": PATH, "signin_url": "https://ollama.com/connect?key=K"}, separators=(",", ":")).encode()
    stream = b'{"done":false}\n' + said + b"\n"
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    told = shown(*(stream[start:end] for start, end in pairwise(at)))

    assert b'{"done":false}\n{"error":"open (a file): no such file"}\n' == told


def test_a_line_that_is_no_error_is_shown_at_once() -> None:
    screen = Screen()

    assert b'{"model":"m"' == screen.feed(b'{"model":"m"')
    assert b"" == screen.feed(b'}\n{"erro')[2:]
    assert b'{"erro_' == screen.feed(b"_")


@pytest.mark.parametrize(
    "line",
    [b'{"error":{"message":"/root/x/y"}}', b'{"error":' + b"a" * 2 * LONGEST_LINE, b'{"error":"half of /root/x'],
)
def test_what_cannot_be_read_is_told_in_our_own_words(line: bytes) -> None:
    assert {"error": "The model server broke off in the middle of its answer."} == json.loads(shown(line))
