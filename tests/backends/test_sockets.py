import asyncio
import socket

import pytest

from proxy.backends.sockets import cut, noted, watched
from tests.fakes.upstream import RecordingUpstream

ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))


@pytest.mark.parametrize(("seconds", "apart", "milliseconds"), [(300.0, 75, 300_000), (0.05, 1, 50), (10.0, 2, 10_000)])
def test_a_peer_that_is_gone_is_noticed_within_the_patience(seconds: float, apart: int, milliseconds: int) -> None:
    with watched(seconds)(ADDRESS) as made:
        assert 1 == made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert apart == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert apart == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert milliseconds == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_a_socket_is_noted_where_somebody_wants_it() -> None:
    make = watched(1.0)
    noted_here: list[socket.socket] = []
    with noted(noted_here), make(ADDRESS) as inside:
        pass
    with make(ADDRESS):
        pass

    assert [inside] == noted_here


async def test_what_is_cut_is_gone_for_the_other_side(upstream: RecordingUpstream) -> None:
    there = upstream.url.removeprefix("http://").split(":")
    opened: list[socket.socket] = []
    with noted(opened):
        made = watched(1.0)(ADDRESS)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, (there[0], int(there[1])))
    await upstream.met.wait()
    cut(opened)
    async with asyncio.timeout(1):
        await upstream.connections[0].closed.wait()
    made.close()
    cut(opened)

    assert -1 == made.fileno()
