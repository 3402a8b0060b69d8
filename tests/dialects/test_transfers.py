import json
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from proxy.dialects.screen import BEGINNING
from proxy.dialects.transfers import LONGEST_LINE, TransferMeter
from proxy.errors import BackendRefused, PullTooLarge
from proxy.vocabulary import Usage
from tests.dialects.recorded import cut, seen


def layer(digest: str, total: int, completed: int = 0) -> dict[str, object]:
    return {"status": f"pulling {digest}", "digest": digest, "total": total, "completed": completed}


def lines(*told: dict[str, object]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in told)


SUCCESS: dict[str, object] = {"status": "success"}
PULL = lines(
    {"status": "pulling manifest"},
    layer("sha256:a", 600),
    layer("sha256:a", 600, 300),
    layer("sha256:a", 600, 600),
    layer("sha256:b", 400),
    {"status": "verifying sha256 digest"},
    SUCCESS,
)
FAILED = lines({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist at /root/x"})


def all_of_it(most: int | None = None) -> TransferMeter:
    return TransferMeter(most, shows_all=True)


def last_of_it(most: int | None = None) -> TransferMeter:
    return TransferMeter(most, shows_all=False)


def test_a_transfer_is_shown_as_it_goes_on() -> None:
    meter = all_of_it()

    assert (True, None) == (meter.rewrites, meter.content_type)
    fed = shown = b""
    for piece in cut(PULL, *range(0, len(PULL), 7)):
        assert not meter.complete
        fed, shown = fed + piece, shown + meter.feed(piece)
        assert fed.startswith(shown)
        assert BEGINNING.startswith(fed[len(shown) :])
    assert PULL == shown + meter.end()
    assert (True, False, Usage()) == (meter.complete, meter.failed, meter.usage)


def test_who_wants_no_lines_gets_the_last_alone_as_one_object() -> None:
    meter = last_of_it()

    assert (True, "application/json; charset=utf-8") == (meter.rewrites, meter.content_type)
    assert b"" == meter.feed(PULL)
    assert SUCCESS == json.loads(meter.end())
    assert (True, False) == (meter.complete, meter.failed)


def test_a_last_line_without_its_end_counts() -> None:
    assert seen(all_of_it(), PULL.rstrip()).complete
    assert SUCCESS == json.loads(seen(last_of_it(), PULL.rstrip()).shown)


@given(some.sets(some.integers(0, len(PULL))), some.booleans(), some.booleans())
def test_a_transfer_cut_anywhere_says_the_same(places: set[int], shows_all: bool, crlf: bool) -> None:
    content = PULL.replace(b"\n", b"\r\n") if crlf else PULL
    whole = seen(TransferMeter(1000, shows_all=shows_all), content)

    assert whole == seen(TransferMeter(1000, shows_all=shows_all), *cut(content, *places))
    assert whole.complete


@given(some.sets(some.integers(0, len(PULL))), some.booleans(), some.integers(0, 999))
def test_what_is_too_large_is_so_wherever_it_is_cut(places: set[int], shows_all: bool, most: int) -> None:
    with pytest.raises(PullTooLarge):
        seen(TransferMeter(most, shows_all=shows_all), *cut(PULL, *places))


@given(some.integers(0, len(PULL.rstrip()) - 1), some.booleans())
def test_a_transfer_that_stops_anywhere_is_not_complete(place: int, shows_all: bool) -> None:
    told = seen(TransferMeter(None, shows_all=shows_all), PULL[:place])

    assert (PULL[:place] if shows_all else b"", False) == (told.shown, told.complete)


@pytest.mark.parametrize("shows_all", [True, False])
def test_a_transfer_may_be_as_large_as_the_bound_and_not_a_byte_larger(shows_all: bool) -> None:
    assert seen(TransferMeter(1000, shows_all=shows_all), PULL).complete
    meter = TransferMeter(999, shows_all=shows_all)
    before, after = PULL.split(b'{"status": "pulling sha256:b"')
    meter.feed(before)
    with pytest.raises(PullTooLarge):
        meter.feed(b'{"status": "pulling sha256:b"' + after)


def test_a_transfer_is_stopped_by_its_first_lines_before_its_bytes_are_moved() -> None:
    with pytest.raises(PullTooLarge):
        all_of_it(599).feed(lines({"status": "pulling manifest"}, layer("sha256:a", 600)))


def test_a_transfer_without_a_bound_may_be_of_any_size() -> None:
    assert seen(all_of_it(), lines(layer("a", 10**15), SUCCESS)).complete


@pytest.mark.parametrize(
    "told",
    [
        layer("sha256:a", -(10**12)),
        {"status": "x", "digest": None, "total": 10**12},
        {"status": "x", "total": 10**12},
        {"digest": "sha256:z", "total": "many"},
        {"digest": "sha256:z", "total": True},
        {"digest": 7, "total": 7},
    ],
)
def test_a_strange_size_neither_counts_nor_makes_room(told: dict[str, object]) -> None:
    assert seen(all_of_it(1000), lines(told) + PULL).complete
    with pytest.raises(PullTooLarge):
        seen(all_of_it(999), lines(told) + PULL)


def test_a_layer_does_not_shrink() -> None:
    with pytest.raises(PullTooLarge):
        seen(all_of_it(999), lines(layer("a", 600), layer("a", 1), layer("b", 400)))


def test_an_error_in_the_lines_is_a_failure_and_is_shown() -> None:
    told = seen(all_of_it(), FAILED)
    *before, error, _ = told.shown.split(b"\n")

    assert FAILED.startswith(b"\n".join(before))
    assert b'{"error":"pull model manifest: file does not exist at (a file)"}' == error
    assert (False, True) == (told.complete, told.failed)


def test_an_error_is_told_instead_of_the_one_line_and_quotes_nothing() -> None:
    meter = last_of_it()
    with pytest.raises(BackendRefused) as raised:
        seen(meter, FAILED)

    assert 500 == raised.value.status
    assert "root" not in raised.value.message
    assert meter.failed


@pytest.mark.parametrize("content", [b"", b"\n", b"<html>", b"[]\n", b"null", b'{"status":"suc'])
def test_what_is_no_progress_is_not_complete_and_nothing_of_it_is_the_answer(content: bytes) -> None:
    told = seen(last_of_it(), content)

    assert (b"", False, False) == (told.shown, told.complete, told.failed)
    assert content == seen(all_of_it(), content).shown


@pytest.mark.parametrize("status", ["Success", "success ", None, True, ["success"]])
def test_only_success_is_success(status: object) -> None:
    assert not seen(all_of_it(), lines({"status": status})).complete


@pytest.mark.parametrize("filler", [b" ", b',"x":"y"', b"{"])
def test_a_line_too_long_to_hold_passes_unread_and_the_next_is_read(filler: bytes) -> None:
    long = b'{"status":"success"' + filler * LONGEST_LINE + b'}{"status":"success"}'
    for places in ([], [LONGEST_LINE], range(0, len(long), 100_000), [len(long) - 20]):
        meter = all_of_it(1000)
        pieces = cut(long, *places)

        assert pieces == [meter.feed(piece) for piece in pieces]
        meter.feed(b"\n")
        assert not meter.complete
        assert seen(meter, PULL).complete


@given(some.lists(some.binary(max_size=60), max_size=6), some.booleans())
def test_no_rubbish_makes_a_transfer_fail(rubbish: list[bytes], shows_all: bool) -> None:
    assume(b'{"error"' not in b"".join(rubbish))  # What begins as an error is said again.
    with suppress(BackendRefused):
        shown = seen(TransferMeter(10, shows_all=shows_all), *rubbish).shown

        assert shown == (b"".join(rubbish) if shows_all else shown)
