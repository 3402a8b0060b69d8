import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from proxy.doctor.looking.http import Place, ask, date_of, place_of
from tests.fakes.upstream import LAST_CHUNK, chunk, head, streaming, whole


@asynccontextmanager
async def saying(*pieces: bytes | asyncio.Event, heard: list[bytes] | None = None) -> AsyncIterator[Place]:
    """A server that says this to whoever has sent a head, and hangs up."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(told)
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        yield Place("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://gate.example", Place("http", "gate.example", 80)),
        ("https://gate.example/", Place("https", "gate.example", 443)),
        ("https://gate.example:8443/ollama/v1/", Place("https", "gate.example", 8443, "/ollama")),
        ("http://[::1]:11435/v1", Place("http", "::1", 11435)),
    ],
)
def test_a_url_is_a_place_and_one_for_openai_clients_will_do(url: str, place: Place) -> None:
    assert place == place_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "gate.example",
        "ftp://gate.example",
        "https://",
        "https://alice:key@gate.example",
        "https://gate.example/?a=b",
        "https://gate.example/#a",
        "https://gate.example/a b",
        "https://gate.example/\r\nX: y",
        "https://gäte.example",
        "https://gate.example:port",
        "https://gate.example:70000",
    ],
)
def test_what_is_no_url_of_a_gate_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        place_of(url)


@pytest.mark.parametrize(
    ("place", "authority"),
    [
        (Place("http", "gate.example", 80), "gate.example"),
        (Place("https", "gate.example", 443), "gate.example"),
        (Place("https", "gate.example", 80), "gate.example:80"),
        (Place("http", "::1", 11435), "[::1]:11435"),
    ],
)
def test_the_host_is_written_as_in_a_request(place: Place, authority: str) -> None:
    assert authority == place.authority


async def test_an_answer_with_its_length_is_read() -> None:
    heard: list[bytes] = []
    async with saying(whole(b'{"a":1}', "application/json", "X-A: b"), heard=heard) as place:
        told = await ask(place, "GET", "/x", fields={"X-Q": "1"}, clock=time.monotonic)

    assert (200, b'{"a":1}', "b", True) == (told.status, told.body, told.fields["x-a"], told.is_whole)
    assert heard[0].startswith(f"GET /x HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\n".encode())
    assert b"X-Q: 1\r\n" in heard[0]


async def test_pieces_are_noted_when_they_come() -> None:
    seconds, go_on = 0.0, asyncio.Event()

    def clock() -> float:
        nonlocal seconds
        seconds += 1.0
        go_on.set()
        return seconds

    async with saying(streaming("text/event-stream"), chunk(b"one"), go_on, chunk(b"two") + LAST_CHUNK) as place:
        told = await ask(place, "GET", "/", clock=clock)

    assert (((1.0, b"one"), (2.0, b"two")), True) == (told.pieces, told.is_whole)


@pytest.mark.parametrize(
    "said",
    [
        (streaming("text/plain"), chunk(b"half")),
        (head("Content-Length: 10"), b"half"),
        (streaming("text/plain"), chunk(b"half"), b"x\r\n"),
    ],
)
async def test_what_breaks_off_is_not_whole(said: tuple[bytes, ...]) -> None:
    async with saying(*said) as place:
        told = await ask(place, "GET", "/", clock=time.monotonic)

    assert (b"half", False) == (told.body, told.is_whole)


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 70_000, b"HTTP/2 200\r\n\r\n"])
async def test_what_is_no_http_is_an_error(said: bytes) -> None:
    async with saying(said) as place:
        with pytest.raises(OSError, match="no HTTP"):
            await ask(place, "GET", "/", clock=time.monotonic)


async def test_whoever_hangs_up_before_a_head_has_not_answered() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\n") as place:
        with pytest.raises(EOFError):
            await ask(place, "GET", "/", clock=time.monotonic)


async def test_an_answer_that_only_announces_another_is_passed_over() -> None:
    async with saying(b"HTTP/1.1 100 Continue\r\n\r\n", whole(b"x", "text/plain")) as place:
        told = await ask(place, "POST", "/", body=b"{}", clock=time.monotonic)

    assert (200, b"x") == (told.status, told.body)


async def test_a_refusal_before_all_of_a_body_was_taken_is_read() -> None:
    async with saying(whole(b"too large", "text/plain", status="413 Content Too Large")) as place:
        told = await ask(place, "POST", "/", body=bytes(8 * 2**20), clock=time.monotonic)

    assert 413 == told.status


async def test_no_answer_is_read_without_end() -> None:
    big = chunk(b"a" * 65_536)
    async with saying(streaming("text/plain"), *[big] * 40) as place:
        told = await ask(place, "GET", "/", clock=time.monotonic)

    assert not told.is_whole
    assert len(told.body) <= 2**20


def test_a_date_is_read_and_what_is_none_is_not() -> None:
    assert datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC) == date_of({"date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert None is date_of({"date": "yesterday"})
    assert None is date_of({})
