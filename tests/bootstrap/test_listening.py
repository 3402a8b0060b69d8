import socket

import pytest
from aiohttp import web

from proxy.bootstrap.listening import address_of, listen
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
    port = listening.sockets[0].getsockname()[1]
    try:
        assert f"http://{host}:{port}" == address_of(address, listening)
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
