"""Hosts and ports as people write them, and which of them only this machine can reach. Looks nothing up."""

import ipaddress
import re

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
