"""Where a backend is, and how a connection to it is made: over TCP, TLS or a socket in the file system."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

PROBES: Final = 3
UNIX: Final = "unix"


@dataclass(frozen=True, slots=True)
class Place:
    """What a backend's URL says."""

    host: str
    """A name or an address; of a socket in the file system its path."""
    port: int = 0
    """0 for a socket in the file system."""
    tls: bool = False
    netloc: str = "localhost"
    """What the header ``Host`` says."""

    @classmethod
    def of(cls, url: str) -> Self:
        """``http://host:port``, ``https://host`` or ``unix:/path``, as the settings have checked it."""
        parts = urlsplit(url)
        if parts.scheme == UNIX:
            return cls(parts.path)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls, parts.netloc)


async def connected(
    place: Place, protocol: Callable[[], asyncio.Protocol], seconds: float, trust: ssl.SSLContext | None
) -> asyncio.Transport:
    """A new connection. A peer that is gone without a word is noticed after about so many seconds.

    Raises OSError, of which ssl.SSLError is one.
    """
    loop = asyncio.get_running_loop()
    if not place.port:
        transport, _ = await loop.create_unix_connection(protocol, place.host)
        return transport
    transport, _ = await loop.create_connection(protocol, place.host, place.port, ssl=trust if place.tls else None)
    watch(transport.get_extra_info("socket"), seconds)
    return transport


def watch(connection: socket.socket, seconds: float) -> None:
    """Let the kernel look after a peer that is gone without a word.

    While nothing is under way the peer is asked whether it is there; what it was sent it has to take within that time
    (RFC 5482), also where it answers and takes nothing.
    """
    apart = max(1, round(seconds / (PROBES + 1)))
    with suppress(OSError):  # It may be gone already.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", apart),
            ("TCP_KEEPINTVL", apart),
            ("TCP_KEEPCNT", PROBES),
            ("TCP_USER_TIMEOUT", max(1, round(seconds * 1000))),
        ):
            if (option := getattr(socket, name, None)) is not None:  # Not every system has each of them.
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
