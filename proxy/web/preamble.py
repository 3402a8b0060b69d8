"""What a balancer says of its client before the first byte of HTTP: the PROXY protocol, versions 1 and 2.

The balancer's word is taken whole or not at all. Nothing in this module does I/O.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from proxy.web.addresses import normal

LONGEST_LINE: Final = 107
"""Bytes of a version 1 preamble, with its end."""
LONGEST_BLOCK: Final = 16 + 2048
"""Bytes of a version 2 preamble. It may have 64 KiB by the book; what balancers add is some hundred."""
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [\x20-\x7e]*)?|(TCP[46]) (\S{1,39}) (\S{1,39}) ([0-9]{1,5}) ([0-9]{1,5}))"
)
_HEADER: Final = 16
_LOCAL: Final = 0x20
_PROXIED: Final = 0x21
_ADDRESSES: Final = {0x11: 4, 0x21: 16}
"""Bytes of one address of TCP over IPv4 and over IPv6."""


class NoPreamble(ValueError):
    """It is none, and never will be."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """What was said."""

    size: int
    """Bytes, after which HTTP begins."""
    client: str | None
    """Its address in normal form; None where the balancer speaks for itself, or of something that has none."""


def read(data: bytes) -> Preamble | None:
    """The preamble at the beginning of all that came so far; None while it is not whole. Raises NoPreamble."""
    if data.startswith(SIGNATURE[: len(data)]):
        return _block(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _line(data)
    raise NoPreamble


def _line(data: bytes) -> Preamble | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise NoPreamble
        return None
    line = _LINE.fullmatch(data, 0, end)
    if line is None:
        raise NoPreamble
    if line[1] is None:
        return Preamble(end + 2, None)
    kind = ipaddress.IPv4Address if line[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        client, _ = kind(line[2].decode()), kind(line[3].decode())
    except ValueError:
        raise NoPreamble from None
    if int(line[4]) > 65_535 or int(line[5]) > 65_535:
        raise NoPreamble
    return Preamble(end + 2, normal(str(client)))


def _block(data: bytes) -> Preamble | None:
    if len(data) < _HEADER:
        return None
    command, family, size = data[12], data[13], _HEADER + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXIED) or size > LONGEST_BLOCK:
        raise NoPreamble
    if len(data) < size:
        return None
    length = _ADDRESSES.get(family) if command == _PROXIED else None
    if length is None:
        return Preamble(size, None)
    if size < _HEADER + 2 * length + 4:  # Two addresses and two ports.
        raise NoPreamble
    return Preamble(size, normal(str(ipaddress.ip_address(data[_HEADER : _HEADER + length]))))
