"""Inputs that are nearly good: recorded ones with a few bytes changed, as a seeded chance has it."""

import random
from collections.abc import Callable, Iterator, Sequence

LONGEST = 4096
"""Bytes; what is longer is cut."""

TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf"),
    *(b" ", b"\t", b":", b";", b",", b"=", b'"', b"\\", b"/", b"%", b"%00", b"%2f", b"&", b"?", b"#", b"@", b"-", b"."),
    *(b"[", b"]", b"{", b"}", b"[" * 200, b'{"a":' * 101, b"null", b"true", b"NaN", b"1e999", b"-1", b"0", b"00"),
    *(b"9" * 30, b"18446744073709551616", b"\\ud800", b"\\u0000", b"\\udc00", b"\xc5\xbf", b"\xe2\x84\xaa", b"\\u017f"),
    *(b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"HTTP/1.0", b"*", b"A"),
    *(b"done", b"usage", b"error", b"data: ", b"event: ", b"[DONE]", b"model", b"stream", b"MODEL", b"::1", b"%eth0"),
)
"""What parsers trip over."""


def inputs(chance: random.Random, seeds: Sequence[bytes]) -> Iterator[bytes]:
    """For ever: the seeds themselves, and then what becomes of them."""
    yield from seeds
    while True:
        yield changed(chance, seeds)


def changed(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    text = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        chance.choice(_WAYS)(chance, text, seeds)
    del text[LONGEST:]
    return bytes(text)


def _put(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(text))
    text[at:at] = chance.choice(TOKENS)


def _replace(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(text))
    text[at : at + chance.randint(1, 4)] = chance.choice(TOKENS)


def _flip(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    if text:
        text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)


def _any_byte(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(text))
    text[at : at + chance.randint(0, 1)] = bytes([chance.randrange(256)])


def _leave_out(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(text))
    del text[at : at + chance.choice((1, 2, 4, 16, 64))]


def _say_again(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(text))
    text[at:at] = text[at : at + chance.choice((1, 4, 16, 64))] * chance.choice((1, 2, 16))


def _end(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    del text[chance.randint(0, len(text)) :]


def _cross(chance: random.Random, text: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    text[chance.randint(0, len(text)) :] = other[chance.randint(0, len(other)) :]


_WAYS: Sequence[Callable[[random.Random, bytearray, Sequence[bytes]], None]] = (
    _put,
    _put,
    _replace,
    _flip,
    _any_byte,
    _leave_out,
    _say_again,
    _end,
    _cross,
)
