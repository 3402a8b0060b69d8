"""Hosts and ports as people write them, and which of them only this machine can reach. Looks nothing up."""

import ipaddress
import re

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 within IPv6, RFC 4291 §2.5.5.2."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})")


def host_and_port(text: str) -> tuple[str, int]:
    """``[::1]:80`` is ("::1", 80). ValueError says what would be right."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError("needs a host and a port with a colon between them; 0.0.0.0 is every address of this machine")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("has no IPv6 address between its brackets") from None
    elif ":" in host:
        raise ValueError("needs brackets around an IPv6 address")
    elif not _HOST.fullmatch(host):
        raise ValueError("has a host that is neither an address nor a name")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("needs a port from 0 to 65535 after the colon")
    return host, int(port)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def network(text: str) -> Network:
    """``10.0.0.0/8``, or an address alone; IPv4 within IPv6 is IPv4. ValueError says what would be right."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"has {text[:64]!r} in it, which is neither an address nor a network") from None
    base, _, _ = text.partition("/")
    if ipaddress.ip_address(base) != found.network_address:
        raise ValueError(f"has {text} in it, whose address has bits that its length leaves out: {found}")
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        mapped = ipaddress.IPv4Address(int(found.network_address) & 0xFFFF_FFFF)
        found = ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED.prefixlen))
    if found.prefixlen == 0:
        raise ValueError(f"has {text} in it, and so everybody could say that they are somebody else")
    return found
