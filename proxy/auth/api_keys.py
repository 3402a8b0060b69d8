"""The gate's own API keys: ``sk-lg_<id>_<secret>_<checksum>``. Nothing in this module does I/O.

- id: 12 characters, public, names the key in lists, logs and the ledger;
- secret: 43 base-62 characters, 256 random bits;
- checksum: CRC-32 of everything before its underscore, 6 base-62 characters, so that a mistyped or made-up string is
  refused without a look-up and scanners for leaked secrets find few false ones.

A secret of 256 random bits needs no slow hash: HMAC-SHA256 is stored, under a pepper that is not in the database.
"""

import hmac
import re
import string
import zlib
from collections.abc import Callable

PREFIX = "sk-lg"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 43, 6
SHAPE = re.compile(
    rf"{PREFIX}_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}"
)

RandomBytes = Callable[[int], bytes]
"""``secrets.token_bytes`` wherever keys are really made."""


def base62(number: int, length: int) -> str:
    """The number's lowest ``length`` digits in base 62, with leading zeros."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


_TWO_DIGITS = tuple(high + low for high in ALPHABET for low in ALPHABET)


def checksum(text: str) -> str:
    """As ``base62`` would write it, in a third of the time: each call has one looked at."""
    rest, low = divmod(zlib.crc32(text.encode("ascii")), len(_TWO_DIGITS))
    high, middle = divmod(rest, len(_TWO_DIGITS))
    return _TWO_DIGITS[high] + _TWO_DIGITS[middle] + _TWO_DIGITS[low]


def new(random_bytes: RandomBytes, key_id: str | None = None) -> tuple[str, str]:
    """A fresh key, or a fresh secret for the key with this id: the id and the whole key as its owner will hold it."""
    key_id = key_id or base62(int.from_bytes(random_bytes(16)), ID_LENGTH)
    secret = base62(int.from_bytes(random_bytes(32)), SECRET_LENGTH)
    unchecked = f"{PREFIX}_{key_id}_{secret}"
    return key_id, f"{unchecked}_{checksum(unchecked)}"


def key_id_of(presented: str) -> str | None:
    """The id inside a well-formed key; None for anything else, whatever bytes it holds."""
    match = SHAPE.fullmatch(presented)
    if match is None:
        return None
    unchecked, _, said = presented.rpartition("_")
    return match[1] if said == checksum(unchecked) else None


def digest(key: str, pepper: bytes) -> bytes:
    """What is stored of a key, 32 bytes."""
    return hmac.digest(pepper, key.encode("ascii"), "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Compared in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)
