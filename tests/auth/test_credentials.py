import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.credentials import LONGEST, presented

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=60)


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ([], ()),
        ([("Host", "x"), ("Cookie", "authorization=Bearer k")], ()),
        ([("Authorization", "Bearer k")], ("k",)),
        ([("authorization", "bearer k")], ("k",)),
        ([("AUTHORIZATION", "BEARER k")], ("k",)),
        ([("x-api-key", "k")], ("k",)),
        ([("X-Api-Key", "k")], ("k",)),
        ([("x-api-key", "Bearer k")], ("Bearer k",)),
        # An attempt that failed is an attempt: it must not make room for a second one.
        ([("Authorization", "Basic k")], ("",)),
        ([("Authorization", "Bearer")], ("",)),
        ([("Authorization", "Bearer ")], ("",)),
        ([("Authorization", "k")], ("",)),
        ([("Authorization", "")], ("",)),
        ([("Authorization", "Bearer\tk")], ("",)),
        ([("x-api-key", "")], ("",)),
        ([("Authorization", "Bearer \xff")], ("",)),
        ([("x-api-key", "k\udcff")], ("",)),
        ([("x-api-key", "k" * (LONGEST + 1))], ("",)),
        ([("Authorization", "Bearer " + "k" * LONGEST)], ("",)),
        # Only one space parts the scheme from the token; the rest is the token's own mistake.
        ([("Authorization", "Bearer  k")], (" k",)),
        ([("Authorization", "Bearer k, Bearer l")], ("k, Bearer l",)),
        # More than one is told as more than one, in order.
        ([("x-api-key", "a"), ("Host", "x"), ("Authorization", "Bearer b")], ("a", "b")),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer a")], ("a", "a")),
        ([("Authorization", "Basic x"), ("x-api-key", "a")], ("", "a")),
    ],
)
def test_the_credentials_in_the_headers_are(headers: list[tuple[str, str]], secrets: tuple[str, ...]) -> None:
    assert secrets == presented(headers)


@given(st.lists(st.tuples(st.sampled_from(["Authorization", "x-api-key", "Host"]), ANYTHING)))
def test_every_attempt_is_counted_whatever_it_holds(headers: list[tuple[str, str]]) -> None:
    attempts = sum(name != "Host" for name, _ in headers)

    assert attempts == len(presented(headers))
