import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import written


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (7_776_000, "90d"),
        (86_400, "24h"),
        (5_400, "1h30m"),
        (600, "10m"),
        (0.5, "500ms"),
        (1_209_600, "2w"),
        (90, "90"),
        (1.5, "1.5"),
        (5_400, " 1.5h "),
        (0, "0"),
    ],
)
def test_a_duration_is_read_as_people_write_it(amount: float, text: str) -> None:
    assert amount == written.seconds(text)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-5s", "10M", "5 m", "30m1h", "1h1h", "1e3", "inf", "nan", "h", "1.h", "\u0665s", "0.1ms", "101000d"],
)
def test_what_is_no_duration_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 500ms|like 1h30m|hundred years|finer"):
        written.seconds(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(33_554_432, "32MiB"), (10_000_000, "10MB"), (4096, "4096"), (1536, "1.5 KiB"), (2**30, "1gib"), (7, "7B")],
)
def test_a_size_is_read_as_people_write_it(amount: int, text: str) -> None:
    assert amount == written.size(text)


@pytest.mark.parametrize("text", ["", "big", "32M", "-1", "1.5B", "1e6", "0x10", "10 000", "1PiB"])
def test_what_is_no_size_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 4096, 64KiB|whole number"):
        written.size(text)


@pytest.mark.parametrize(("text", "amount"), [("90d", 7_776_000), ("1h30m", 5_400), ("500ms", 0.5), ("0s", 0)])
def test_a_duration_is_told_as_people_write_it(text: str, amount: float) -> None:
    assert text == written.as_duration(amount)


@given(st.integers(0, 10**12).map(lambda ms: ms / 1000))
def test_a_duration_that_was_told_reads_the_same(amount: float) -> None:
    assert amount == pytest.approx(written.seconds(written.as_duration(amount)))


@given(st.integers(0, 2**50))
def test_a_size_that_was_told_reads_the_same(amount: int) -> None:
    assert amount == written.size(written.as_size(amount))
