"""Listen, and say where."""

import asyncio

from proxy.config.addresses import host_and_port, is_unspecified
from proxy.errors import Misconfigured
from proxy.web.app import Server
from proxy.web.tls import Tls

BACKLOG = 128
"""Connections that wait to be accepted; asyncio accepts as many in one turn of the loop, before any cap can act."""


async def listen(server: Server, address: str, tls: Tls | None = None) -> asyncio.Server:
    """Raises Misconfigured where that cannot be."""
    host, port = host_and_port(address)
    try:
        return await asyncio.get_running_loop().create_server(
            server, host, port, backlog=BACKLOG, **(tls.listening() if tls else {})
        )
    except OSError as error:
        raise Misconfigured(f"Cannot listen on {address}: {error.strerror or 'no such address'}.") from error


def address_of(address: str, listening: asyncio.Server) -> str:
    """Where a caller on this machine finds it, with the port that it got: nobody can call 0.0.0.0 everywhere."""
    host, _ = host_and_port(address)
    port = listening.sockets[0].getsockname()[1]
    if is_unspecified(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
