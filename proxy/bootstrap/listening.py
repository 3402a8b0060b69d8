"""Listen, and say where."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config.addresses import host_and_port, is_unspecified
from proxy.errors import Misconfigured
from proxy.web.app import Server
from proxy.web.tls import Tls

BACKLOG = 128
"""Connections that wait to be accepted; asyncio accepts as many in one turn of the loop, before any cap can act."""

Sockets = tuple[socket.socket, ...]
"""One for each address that a name stands for, bound and not listening yet."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a gate takes connections."""

    servers: tuple[asyncio.Server, ...]

    @property
    def port(self) -> int:
        """The one that it got."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take no more."""
        for server in self.servers:
            server.close()


async def listen(server: Server, address: str, tls: Tls | None = None, at: Sockets = ()) -> Listening:
    """Take connections at the sockets that there are, or at some of its own. Raises Misconfigured where it cannot."""
    host, port = host_and_port(address)
    more: dict[str, Any] = {"backlog": BACKLOG, **(tls.listening() if tls else {})}
    loop = asyncio.get_running_loop()
    try:
        if at:
            return Listening(tuple([await loop.create_server(server, sock=one, **more) for one in at]))
        return Listening((await loop.create_server(server, host, port, **more),))
    except OSError as error:
        raise _cannot(address, error) from error


def bound(address: str) -> Sockets:
    """Sockets at this address that nobody else listens on, and that ``sharing`` may share. Raises Misconfigured."""
    host, port = host_and_port(address)
    alone: list[socket.socket] = []
    try:
        for family, kind, protocol, _, there in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            # The kernel would let whoever runs as the same user share it, such as another gate by mistake.
            with _made(family, kind, protocol, there, is_shared=False) as first:
                there = first.getsockname()
            alone.append(_made(family, kind, protocol, there, is_shared=True))
    except OSError as error:
        close(alone)
        raise _cannot(address, error) from error
    return tuple(alone)


def sharing(like: Sockets) -> Sockets:
    """Further sockets at where these are: of all that listen, each gets its part of the connections. Raises OSError."""
    return tuple(_made(one.family, one.type, one.proto, one.getsockname(), is_shared=True) for one in like)


def _made(family: int, kind: int, protocol: int, there: Any, *, is_shared: bool) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(there)
    except OSError:
        made.close()
        raise
    return made


def close(sockets: Sequence[socket.socket]) -> None:
    """In this process; another that has them too goes on with them."""
    for one in sockets:
        one.close()


def address_of(address: str, listening: Listening) -> str:
    """Where a caller on this machine finds it, with the port that it got: nobody can call 0.0.0.0 everywhere."""
    host, _ = host_and_port(address)
    if is_unspecified(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{listening.port}" if ":" in host else f"http://{host}:{listening.port}"


def _cannot(address: str, error: OSError) -> Misconfigured:
    return Misconfigured(f"Cannot listen on {address}: {error.strerror or 'no such address'}.")
