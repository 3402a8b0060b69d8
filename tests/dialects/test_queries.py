from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.queries import read
from proxy.errors import NotUnderstood

KNOWN = ("since", "tz")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", {}),
        ("&", {}),
        ("since=2026-11-01", {"since": "2026-11-01"}),
        ("since=2026-11-01T00:00+01:00&tz=Europe/Berlin", {"since": "2026-11-01T00:00+01:00", "tz": "Europe/Berlin"}),
        (
            "since=2026-11-01T00:00%2B01:00&tz=Europe%2FBerlin",
            {"since": "2026-11-01T00:00+01:00", "tz": "Europe/Berlin"},
        ),
        ("tz=a=b", {"tz": "a=b"}),
        ("%74z=%C3%BC", {"tz": "ü"}),
    ],
)
def test_what_a_query_says_is_told_by_name(query: str, told: dict[str, str]) -> None:
    assert told == read(query, KNOWN)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("key=k1", "takes since, tz and nothing else"),
        ("Since=1", "nothing else"),
        ("tz=a&t%7A=a", "'tz' more than once"),
        ("tz=", "'tz' has no value"),
        ("tz", "'tz' has no value"),
        ("tz=%", "not well-formed"),
        ("tz=%4", "not well-formed"),
        ("tz=%zz", "not well-formed"),
        ("tz=%00", "not well-formed"),
        ("tz=%ff", "not in UTF-8"),
        ("tz=\udcff", "not in UTF-8"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: str, says: str) -> None:
    with pytest.raises(NotUnderstood, match=says):
        read(query, KNOWN)


def test_a_route_without_parameters_takes_none() -> None:
    assert {} == read("", ())
    with pytest.raises(NotUnderstood, match=r"This route takes no query\."):
        read("tz=UTC", ())


@given(st.text())
def test_whatever_it_is_it_is_read_or_refused(query: str) -> None:
    with suppress(NotUnderstood):
        assert set(KNOWN) >= read(query, KNOWN).keys()
