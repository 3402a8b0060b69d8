import socket

import pytest
from aiohttp import web

from proxy.bootstrap.listening import address_of, bound, close, listen, sharing
from proxy.errors import Misconfigured
from proxy.web.app import Server
from proxy.web.manners import Manners


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("localhost:0", "localhost")]
)
async def test_a_listener_says_where_this_machine_finds_it(address: str, host: str) -> None:
    listening = await listen(Server(answer, Manners(1024)), address)
    try:
        assert f"http://{host}:{listening.port}" == address_of(address, listening)
    finally:
        listening.close()


async def test_an_address_of_ipv6_has_its_brackets() -> None:
    try:
        listening = await listen(Server(answer, Manners(1024)), "[::]:0")
    except Misconfigured:
        pytest.skip("this machine has no IPv6")
    try:
        assert address_of("[::]:0", listening).startswith("http://[::1]:")
    finally:
        listening.close()


async def test_an_address_that_is_taken_is_the_owners_to_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Misconfigured, match=f"Cannot listen on {address}:"):
            await listen(Server(answer, Manners(1024)), address)


async def test_at_an_address_that_is_shared_nobody_listens_until_they_are_told_to() -> None:
    one = bound("127.0.0.1:0")
    other = sharing(one)
    there = one[0].getsockname()
    try:
        assert there == other[0].getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(there, 5)

        listening = await listen(Server(answer, Manners(1024)), "127.0.0.1:0", at=other)

        assert there[1] == listening.port

        socket.create_connection(there, 5).close()
        listening.close()
    finally:
        close((*one, *other))


def test_what_waits_at_one_of_several_stays_there_when_another_closes() -> None:
    sockets = bound("127.0.0.1:0")
    sockets += sharing(sockets)
    for one in sockets:
        one.listen()
    clients = [socket.create_connection(sockets[0].getsockname(), 5) for _ in range(20)]
    try:
        sockets[0].close()
        sockets[1].setblocking(True)
        sockets[1].settimeout(5)
        waiting, _ = sockets[1].accept()
        waiting.close()
    finally:
        close((*clients, *sockets))


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_address_where_somebody_listens_is_not_shared_with_them(is_shared: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=is_shared) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Misconfigured, match=f"Cannot listen on {address}:"):
            bound(address)


@pytest.mark.parametrize("address", ["256.0.0.1:0", "203.0.113.1:80"])
def test_an_address_that_is_none_of_this_machine_is_the_owners_to_correct(address: str) -> None:
    with pytest.raises(Misconfigured, match=f"Cannot listen on {address}:"):
        bound(address)
