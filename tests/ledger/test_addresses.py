import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.api_keys import digest
from proxy.ledger.addresses import hashed

PEPPER = b"0123456789abcdef0123456789abcdef"


@given(st.text(min_size=1), st.binary(max_size=200))
def test_any_address_becomes_sixteen_hexadecimal_characters_that_stay_the_same(peer: str, secret: bytes) -> None:
    told = hashed(peer, secret)

    assert re.fullmatch("[0-9a-f]{16}", told)
    assert told == hashed(peer, secret)


def test_a_hash_is_the_same_in_every_process_and_version() -> None:
    assert "f4a9a41cf222eea7" == hashed("192.0.2.7", PEPPER)


def test_no_address_has_no_hash() -> None:
    assert "" == hashed("", PEPPER)


def test_another_address_or_another_secret_has_another_hash() -> None:
    told = [hashed(f"192.0.2.{last}", PEPPER) for last in range(256)]

    assert 256 == len(set(told))
    assert told[0] != hashed("192.0.2.0", PEPPER[::-1])
    assert hashed("192.0.2.0", b"a" * 64 + b"b") != hashed("192.0.2.0", b"a" * 64 + b"c")


@pytest.mark.parametrize(
    "same",
    [
        ("192.0.2.7", "192.0.2.7:443", "192.0.2.7:50000", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:443"),
        ("2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443", "2001:DB8:0:0::1"),
        ("box.lan", "box.lan:443"),
    ],
)
def test_however_an_address_is_written_and_whatever_its_port_it_is_one(same: tuple[str, ...]) -> None:
    assert 1 == len({hashed(peer, PEPPER) for peer in same})


def test_the_secret_makes_other_digests_of_keys() -> None:
    assert not digest("192.0.2.7", PEPPER).hex().startswith(hashed("192.0.2.7", PEPPER))
