import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.credentials import LONGEST, or_certificate, presented
from proxy.vocabulary import Carrier, Credential

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=60)
BEARER, HEADER, BASIC, SIGNED, PATH = (
    Carrier.BEARER,
    Carrier.HEADER,
    Carrier.BASIC,
    Carrier.SIGNED,
    Carrier.PATH,
)


def basic(text: str) -> tuple[str, str]:
    return "Authorization", f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], []),
        ([("Host", "x"), ("Cookie", "authorization=Bearer k")], []),
        ([("Authorization", "Bearer k")], [(BEARER, "k")]),
        ([("authorization", "bearer k")], [(BEARER, "k")]),
        ([("AUTHORIZATION", "BEARER k")], [(BEARER, "k")]),
        ([("x-api-key", "k")], [(HEADER, "k")]),
        ([("X-Api-Key", "k")], [(HEADER, "k")]),
        ([("x-api-key", "Bearer k")], [(HEADER, "Bearer k")]),
        # An attempt that failed is an attempt: it must not make room for a second one.
        ([("Authorization", "Digest k")], [(BEARER, "")]),
        ([("Authorization", "Bearer")], [(BEARER, "")]),
        ([("Authorization", "Bearer ")], [(BEARER, "")]),
        ([("Authorization", "k")], [(BEARER, "")]),
        ([("Authorization", "")], [(BEARER, "")]),
        ([("Authorization", "Bearer\tk")], [(BEARER, "")]),
        ([("x-api-key", "")], [(HEADER, "")]),
        ([("Authorization", "Bearer \xff")], [(BEARER, "")]),
        ([("x-api-key", "k\udcff")], [(HEADER, "")]),
        ([("x-api-key", "k" * (LONGEST + 1))], [(HEADER, "")]),
        ([("Authorization", "Bearer " + "k" * LONGEST)], [(BEARER, "")]),
        # Only one space parts the scheme from the token; the rest is the token's own mistake.
        ([("Authorization", "Bearer  k")], [(BEARER, " k")]),
        ([("Authorization", "Bearer k, Bearer l")], [(BEARER, "k, Bearer l")]),
        # A user and a password, of which one is a key.
        ([basic("alice:k")], [(BASIC, "k")]),
        ([basic("k:")], [(BASIC, "k")]),
        ([basic(":k")], [(BASIC, "k")]),
        ([basic("alice:k:l")], [(BASIC, "k:l")]),
        ([("Authorization", "basic " + base64.b64encode(b"alice:k").decode())], [(BASIC, "k")]),
        ([basic("k")], [(BASIC, "")]),
        ([basic(":")], [(BASIC, "")]),
        ([basic("alice:ключ")], [(BASIC, "")]),
        ([("Authorization", "Basic YWxpY2U6aw")], [(BASIC, "")]),  # Without its last signs.
        ([("Authorization", "Basic alice:k")], [(BASIC, "")]),
        ([("Authorization", "Basic ")], [(BASIC, "")]),
        # A public key and a signature, without a scheme.
        ([("Authorization", "AAAA:BBBB==")], [(SIGNED, "AAAA:BBBB==")]),
        ([("Authorization", "AAAA:BB:BB")], [(BEARER, "")]),
        ([("Authorization", "AAAA:")], [(BEARER, "")]),
        ([("Authorization", ":BBBB")], [(BEARER, "")]),
        ([("Authorization", "AAAA:BBBB ")], [(BEARER, "")]),
        # More than one is told as more than one, in order.
        ([("x-api-key", "a"), ("Host", "x"), ("Authorization", "Bearer b")], [(HEADER, "a"), (BEARER, "b")]),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer a")], [(BEARER, "a"), (BEARER, "a")]),
        ([("Authorization", "Digest x"), ("x-api-key", "a")], [(BEARER, ""), (HEADER, "a")]),
        ([("Authorization", "Bearer ollama"), ("x-api-key", "a")], [(BEARER, "ollama"), (HEADER, "a")]),
    ],
)
def test_the_credentials_in_the_headers_are(headers: list[tuple[str, str]], found: list[tuple[Carrier, str]]) -> None:
    assert (tuple(Credential(*one) for one in found), "/v1/models") == presented(headers, "/v1/models")


@pytest.mark.parametrize(
    ("path", "key", "rest"),
    [
        ("/k/KEY/v1/models", "KEY", "/v1/models"),
        ("/k/KEY/", "KEY", "/"),
        ("/k/KEY", "KEY", "/"),
        ("/k/KEY//v1/models", "KEY", "//v1/models"),
        ("/k/KEY/k/KEY/v1/models", "KEY", "/k/KEY/v1/models"),
        ("/k//v1/models", "", "/v1/models"),
        ("/k/", "", "/"),
        ("/k/\xff/v1", "", "/v1"),
        ("/k/%4bEY/v1", "%4bEY", "/v1"),
        ("/k/" + "k" * (LONGEST + 1) + "/v1", "", "/v1"),
    ],
)
def test_a_key_in_the_path_is_a_credential_and_not_part_of_the_path(path: str, key: str, rest: str) -> None:
    assert ((Credential(PATH, key),), rest) == presented([], path)


@pytest.mark.parametrize("path", ["/", "/k", "/K/KEY/v1", "//k/KEY/v1", "/v1/k/KEY", "/kk/KEY", "", "*"])
def test_no_other_path_has_a_key_in_it(path: str) -> None:
    assert ((), path) == presented([], path)


def test_beside_a_key_in_the_path_a_placeholder_is_no_second_credential() -> None:
    path = "/k/KEY/v1/models"

    assert (Credential(PATH, "KEY"),) == presented([("Authorization", "Bearer ollama")], path)[0]
    assert (Credential(PATH, "KEY"),) == presented([("x-api-key", "EMPTY")], path)[0]
    assert 2 == len(presented([("Authorization", "Bearer k")], path)[0])
    assert 2 == len(presented([("Authorization", "")], path)[0])


@given(st.lists(st.tuples(st.sampled_from(["Authorization", "x-api-key", "Host"]), ANYTHING)))
def test_every_attempt_is_counted_whatever_it_holds(headers: list[tuple[str, str]]) -> None:
    attempts = sum(name != "Host" for name, _ in headers)

    assert attempts == len(presented(headers, "/")[0])


@given(ANYTHING)
def test_any_path_can_be_looked_at(path: str) -> None:
    found, rest = presented([], path)

    assert rest == path or (len(found) == 1 and path.startswith("/k/") and path.endswith(rest.removeprefix("/")))


def test_no_credential_shows_in_what_is_printed_of_it() -> None:
    assert "canary" not in repr(presented([("Authorization", "Bearer canary")], "/k/canary/v1"))


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ([], True),
        ([(BEARER, "ollama")], True),
        ([(HEADER, "NONE"), (BEARER, "dummy")], True),
        ([(BEARER, "k")], False),
        ([(BEARER, "")], False),
        ([(HEADER, "none"), (BEARER, "k")], False),
        ([(PATH, "k")], False),
    ],
)
def test_a_certificate_counts_where_nothing_is_presented_but_a_placeholder(
    found: list[tuple[Carrier, str]], counts: bool
) -> None:
    shown = tuple(Credential(carrier, text) for carrier, text in found)

    assert ((Credential(Carrier.CERTIFICATE, "c" * 64),) if counts else shown) == or_certificate(shown, "c" * 64)
    assert shown == or_certificate(shown, None)
