import itertools
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.api_keys import ALPHABET, base62, digest, key_id_of, new, same

KEY_ID, KEY = new(lambda count: bytes(range(count)))
"""One key, always the same."""


def test_a_key_has_the_shape_that_scanners_look_for() -> None:
    kind, key_id, secret, checksum = KEY.split("_")

    assert ("sk-lg", 12, 43, 6) == (kind, len(key_id), len(secret), len(checksum))
    assert KEY_ID == key_id


def test_a_new_key_is_never_the_old_one() -> None:
    made = [new(secrets.token_bytes) for _ in range(100)]

    assert 100 == len({key_id for key_id, _ in made}) == len({key for _, key in made})


@given(st.binary(min_size=32, max_size=32))
def test_every_minted_key_tells_its_id(chance: bytes) -> None:
    key_id, key = new(lambda count: chance[:count])

    assert key_id == key_id_of(key)


def test_all_of_the_randomness_is_in_the_secret() -> None:
    assert 2**256 <= 62**43

    _, one = new(lambda count: b"\x00" * count)
    _, other = new(lambda count: b"\x80" + b"\x00" * (count - 1))

    assert one.split("_")[2] != other.split("_")[2]


@pytest.mark.parametrize(("number", "text"), [(0, "000"), (61, "00z"), (62, "010"), (62**3 + 1, "001")])
def test_numbers_are_written_in_base_62_with_leading_zeros(number: int, text: str) -> None:
    assert text == base62(number, 3)


def test_one_wrong_ascii_character_anywhere_makes_it_no_key() -> None:
    mutants = [
        KEY[:place] + letter + KEY[place + 1 :]
        for place, letter in itertools.product(range(len(KEY)), map(chr, range(128)))
        if KEY[place] != letter
    ]

    assert [] == [mutant for mutant in mutants if key_id_of(mutant) is not None]


@given(st.integers(0, len(KEY) - 1), st.characters(exclude_categories=[]))
def test_one_wrong_character_of_any_script_makes_it_no_key(place: int, letter: str) -> None:
    mutant = KEY[:place] + letter + KEY[place + 1 :]

    assert (KEY_ID if mutant == KEY else None) == key_id_of(mutant)


def test_a_part_of_a_key_is_no_key() -> None:
    parts = [KEY[start:end] for start, end in itertools.combinations(range(len(KEY) + 1), 2) if end - start < len(KEY)]

    assert {None} == {key_id_of(part) for part in parts}


@given(st.text(st.characters(exclude_categories=[]), max_size=90))
def test_no_text_is_a_key_by_chance_and_none_raises(text: str) -> None:
    assert key_id_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        KEY + "\n",
        " " + KEY,
        KEY + KEY,
        "Bearer " + KEY,
        KEY.upper(),
        KEY.replace("_", "-"),
        KEY.replace("sk-lg", "sk-LG"),
        KEY.replace("0", "\u0660"),  # A digit in Arabic.
        KEY.replace("0", "\uff10"),  # And as wide as Chinese.
        "\xff" * len(KEY),
        "\udcff" * len(KEY),
        "\x00" * len(KEY),
        KEY[:-1] + "\udc80",
    ],
)
def test_what_only_looks_like_a_key_is_none(text: str) -> None:
    assert text != KEY
    assert key_id_of(text) is None


def test_the_alphabet_needs_no_escaping_anywhere() -> None:
    assert 62 == len(set(ALPHABET)) == sum(letter.isascii() and letter.isalnum() for letter in ALPHABET)


def test_a_digest_depends_on_the_key_and_on_the_pepper() -> None:
    _, other = new(bytes)
    digests = {digest(KEY, b"p" * 32), digest(other, b"p" * 32), digest(KEY, b"q" * 32)}

    assert 3 == len(digests)
    assert {32} == {len(made) for made in digests}
    assert digest(KEY, b"p" * 32) == digest(KEY, b"p" * 32)


def test_a_digest_is_the_hmac_that_stands_in_every_database_so_far() -> None:
    # RFC 4231, test case 2: another hash would lock out every key there is.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert expected == digest("what do ya want for nothing?", b"Jefe").hex()


def test_digests_are_the_same_only_where_every_byte_is() -> None:
    assert same(b"a" * 32, b"a" * 32)
    assert not same(b"a" * 32, b"a" * 31 + b"b")
    assert not same(b"a" * 32, b"a" * 31)
