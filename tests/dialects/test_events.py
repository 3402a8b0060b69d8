import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.dialects.events import LONGEST_EVENT, Blocks, Event, data_of
from tests.dialects.recorded import cut

STREAM = b": hi\n\ndata: 1\n\nevent: x\r\ndata: 2\r\n\r\ndata: a\ndata: b\n\n\n\ndata: left over"


def events(*chunks: bytes) -> list[Event]:
    blocks = Blocks()
    whole = [event for chunk in chunks for event in blocks.feed(chunk)]
    return [*whole, blocks.rest()]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: 1\n\n", b"1"),
        (b"data:1\n\n", b"1"),
        (b"data:  1\r\n\r\n", b" 1"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"id: 7\nevent: x\ndata: 1\nretry: 3\n\n", b"1"),
        (b"data: 1", b"1"),
        (b"data: \xe2\x80\xa8 \x0b \x1c\n\n", b"\xe2\x80\xa8 \x0b \x1c"),
        (b": data: 1\n\n", b""),
        (b"database: 1\n\n", b""),
        (b" data: 1\n\n", b""),
        (b"\n", b""),
        (b"", b""),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes) -> None:
    assert data == data_of(event)


def test_a_stream_is_cut_after_each_blank_line() -> None:
    assert [
        (b": hi\n\n", b""),
        (b"data: 1\n\n", b"1"),
        (b"event: x\r\ndata: 2\r\n\r\n", b"2"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"\n\n", b""),
        (b"data: left over", b"left over"),
    ] == events(STREAM)


@given(some.sets(some.integers(0, len(STREAM))))
def test_events_are_the_same_however_the_stream_is_cut(places: set[int]) -> None:
    assert events(STREAM) == events(*cut(STREAM, *places))


@given(some.lists(some.text("\r\n:da t").map(str.encode)))
def test_events_put_together_again_are_the_stream(chunks: list[bytes]) -> None:
    assert b"".join(chunks) == b"".join(event.raw for event in events(*chunks))


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    blocks = Blocks()

    assert [] == list(blocks.feed(b"data: 1\n"))
    assert [Event(b"data: 1\n\n", b"1")] == list(blocks.feed(b"\ndata: 2"))


LONG = b"data: " + b"x" * LONGEST_EVENT
MIB = 1 << 20


@pytest.mark.parametrize("size", [len(LONG), MIB + 1])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_an_event_too_long_to_hold_passes_unread_and_the_next_is_read(size: int, end: bytes) -> None:
    blocks = Blocks()
    told = []
    passed = held = 0
    for begin in range(0, len(LONG), size):
        chunk = LONG[begin : begin + size]
        held += len(chunk)
        for event in blocks.feed(chunk):
            told.append(event)
            passed += len(event.raw)
        assert held - passed <= LONGEST_EVENT
    for byte in end + b"data: 1" + end:
        told += blocks.feed(bytes([byte]))

    assert LONG + end + b"data: 1" + end == b"".join(event.raw for event in told)
    assert [b"1"] == [event.data for event in told if event.data]


def test_the_longest_event_is_read_however_it_comes() -> None:
    event = b"data: " + b"x" * (LONGEST_EVENT - 8) + b"\n\n"

    for pieces in ([event], cut(event, MIB, len(event) - 1)):
        assert LONGEST_EVENT - 8 == len(events(*pieces)[0].data)
    for pieces in ([b" " + event], cut(b" " + event, MIB, len(event))):
        assert {b""} == {piece.data for piece in events(*pieces)}


def test_data_in_the_tail_of_an_event_too_long_is_not_taken_for_an_event() -> None:
    told = events(LONG, b"\ndata: [DONE]", b"\n\ndata: 1\n\n")

    assert [b"1"] == [event.data for event in told if event.data]


def test_many_events_at_once_cost_no_more_than_one_by_one() -> None:
    count = 50_000
    began = time.process_time()

    assert count + 1 == len(events(b"data: 123456789\n\n" * count))
    assert time.process_time() - began < 5  # Where each looks to the end of all, minutes.
