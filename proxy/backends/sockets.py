"""The sockets to a backend: watched while they are silent, and cut when a call is left.

A connection that is closed first sends what it still has to send, which never ends where the other side takes nothing.
So whoever leaves a call shuts its sockets down as well.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from aiohttp import AddrInfoType

PROBES = 3

_opened: ContextVar[list[socket.socket] | None] = ContextVar("opened", default=None)


def watched(seconds: float) -> Callable[[AddrInfoType], socket.socket]:
    """Makes sockets by which a peer that is gone without a word is noticed after about so many seconds.

    While nothing is under way the peer is asked whether it is there; what it was sent it has to take within that time
    (RFC 5482), also where it answers and takes nothing.
    """
    apart = max(1, round(seconds / (PROBES + 1)))

    def made(address: AddrInfoType) -> socket.socket:
        family, kind, proto, *_ = address
        new = socket.socket(family, kind, proto)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", apart),
            ("TCP_KEEPINTVL", apart),
            ("TCP_KEEPCNT", PROBES),
            ("TCP_USER_TIMEOUT", max(1, round(seconds * 1000))),
        ):
            if (option := getattr(socket, name, None)) is not None:  # Not every system has each of them.
                new.setsockopt(socket.IPPROTO_TCP, option, value)
        if (opened := _opened.get()) is not None:
            opened.append(new)
        return new

    return made


@contextmanager
def noted(opened: list[socket.socket]) -> Iterator[None]:
    """Every socket that is made in here is put on the list."""
    token = _opened.set(opened)
    try:
        yield
    finally:
        _opened.reset(token)


def cut(opened: list[socket.socket]) -> None:
    """Disconnect whatever of it is still connected, with nothing more sent or taken."""
    for one in opened:
        with suppress(OSError):  # It is closed already, as nearly always.
            one.shutdown(socket.SHUT_RDWR)
