import struct

import pytest

from proxy.web.preamble import LONGEST_BLOCK, SIGNATURE, NoPreamble, Preamble, read

GET = b"GET / HTTP/1.1\r\n\r\n"
V4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 4711, 80)
V6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(15) + b"\1" + struct.pack("!HH", 4711, 80)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]) + bytes(16) + struct.pack("!HH", 4711, 80)


def block(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2) + rest


GOOD = {
    "IPv4": (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", "192.0.2.7"),
    "IPv6": (b"PROXY TCP6 2001:DB8:0::7 ::1 4711 80\r\n", "2001:db8::7"),
    "unknown": (b"PROXY UNKNOWN\r\n", None),
    "unknown with what is to be ignored": (b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n", None),
    "binary IPv4": (block(0x21, 0x11, V4), "192.0.2.7"),
    "binary IPv6": (block(0x21, 0x21, V6), "2001:db8::7"),
    "binary IPv4 within IPv6": (block(0x21, 0x21, MAPPED), "192.0.2.7"),
    "binary with more behind": (block(0x21, 0x11, V4 + b"\x04\x00\x01x"), "192.0.2.7"),
    "binary, of the balancer itself": (block(0x20, 0x00, b""), None),
    "binary, of a socket in a file": (block(0x21, 0x31, bytes(216)), None),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_whole_preamble_tells_who_the_client_is(what: str) -> None:
    data, client = GOOD[what]

    assert Preamble(len(data), client) == read(data) == read(data + GET)


@pytest.mark.parametrize("what", GOOD)
def test_half_a_preamble_may_become_one(what: str) -> None:
    data, _ = GOOD[what]

    assert {None} == {read(data[:count]) for count in range(len(data))}


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"proxy TCP4 192.0.2.7 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7  10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.07 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 ::1 10.0.0.1 4711 80\r\n",
        b"PROXY TCP6 192.0.2.7 ::1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 \r\n",
        b"PROXY TCP4 \xff 10.0.0.1 4711 80\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 80\r\n",
        b"PROXY UNKNOWN" + b" " * 100 + b"\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n" + GET * 6,
        b"\r\n\r\nGET",
        block(0x11, 0x11, V4),
        block(0x22, 0x11, V4),
        block(0x21, 0x11, V4[:-1]),
        block(0x21, 0x21, V4),
        block(0x21, 0x11, bytes(LONGEST_BLOCK)),
    ],
)
def test_what_is_none_is_told_at_once(data: bytes) -> None:
    with pytest.raises(NoPreamble):
        read(data)
