import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
import trustme

from proxy.backends.fetch import MOST_BYTES, Fetch, fetching
from proxy.errors import BackendDown, BackendFailed, BackendSilent
from tests.fakes.upstream import ABORT, CLOSE, RecordingUpstream, Step, chunk, head, recording, streaming, whole

JSON = "application/json"


@pytest.fixture
async def web() -> AsyncIterator[RecordingUpstream]:
    async with recording() as web:
        yield web


@pytest.fixture
async def fetch() -> AsyncIterator[Fetch]:
    async with fetching() as fetch:
        yield fetch


async def test_what_is_there_is_fetched_as_it_is(web: RecordingUpstream, fetch: Fetch) -> None:
    web.says(whole(b'{"keys":[]}'))

    assert b'{"keys":[]}' == await fetch(f"{web.url}/jwks?a=b%2Fc")
    assert "GET /jwks?a=b%2Fc HTTP/1.1" == web.asked[0].line


async def test_an_answer_in_pieces_is_put_together(web: RecordingUpstream, fetch: Fetch) -> None:
    web.says(streaming(JSON), chunk(b'{"ke'), chunk(b'ys":[]}'), b"0\r\n\r\n")

    assert b'{"keys":[]}' == await fetch(web.url)


async def test_nothing_of_ours_goes_with_the_question(
    web: RecordingUpstream, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password CANARY\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    web.says(whole(b"{}", JSON, "Set-Cookie: a=CANARY; Path=/"))
    await fetch(web.url)
    await fetch(web.url)
    expected = {"host", "accept", "accept-encoding", "user-agent"}

    assert [expected, expected] == [set(asked.fields) - {"connection"} for asked in web.asked]
    assert "identity" == web.asked[1].fields["accept-encoding"]
    assert 0 == len(SimpleCookie(web.asked[1].fields.get("cookie", "")))


WRONG: dict[str, tuple[tuple[Step, ...], str]] = {
    "somewhere else": ((head("Location: http://127.0.0.1:1/", "Content-Length: 0", status="302 Found"),), "status 302"),
    "somewhere else for ever": ((head("Location: /", "Content-Length: 0", status="308 Moved"),), "status 308"),
    "not there": ((whole(b"CANARY", status="404 Not Found"),), "status 404"),
    "broken": ((whole(b"CANARY", status="500 Oh"),), "status 500"),
    "no content": ((head(status="204 No Content"),), "status 204"),
    "a part": ((whole(b"{}", status="206 Partial Content"),), "status 206"),
    "compressed": ((whole(b"\x1f\x8b\x08", JSON, "Content-Encoding: gzip"),), "coding"),
    "no HTTP": ((b"CANARY\r\n\r\n", CLOSE), "makes sense"),
    "nothing": ((CLOSE,), "makes sense"),
    "a reset": ((ABORT,), "makes sense"),
    "half of it": ((head("Content-Length: 100"), b"{", CLOSE), "makes sense"),
    "half of the pieces": ((streaming(JSON), chunk(b"{"), CLOSE), "makes sense"),
    "too long": ((whole(b" " * (MOST_BYTES + 1)),), "more than 524288 bytes"),
    "too long, in pieces": (
        (streaming(JSON), chunk(b" " * MOST_BYTES), chunk(b" "), asyncio.Event()),
        "more than 524288",
    ),
    "endless fields": ((head(*[f"X-{n}: {'x' * 1000}" for n in range(1000)]),), "makes sense"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_whatever_else_comes_is_a_failure_in_our_own_words(
    web: RecordingUpstream, fetch: Fetch, name: str
) -> None:
    script, words = WRONG[name]
    web.says(*script)
    with pytest.raises(BackendFailed, match=words) as raised:
        await fetch(web.url)

    assert "CANARY" not in raised.value.message
    # aiohttp asks once more where it lost the connection before a word came.
    assert (2 if name in ("nothing", "a reset") else 1) == len(web.asked)


async def test_as_much_as_is_allowed_is_taken(web: RecordingUpstream, fetch: Fetch) -> None:
    web.says(whole(b" " * MOST_BYTES))

    assert MOST_BYTES == len(await fetch(web.url))


async def test_more_than_is_allowed_is_not_even_read_to_its_end(web: RecordingUpstream, fetch: Fetch) -> None:
    web.says(head("Content-Length: 1000000000"), *[b" " * 65536 for _ in range(9)], asyncio.Event())
    with pytest.raises(BackendFailed, match="more than"):
        await fetch(web.url)
    async with asyncio.timeout(20):
        await web.connections[0].closed.wait()


@pytest.mark.parametrize("script", [(), (head("Content-Length: 5"), b"{"), (b"HTTP/1.1 200",)])
async def test_a_slow_answer_is_given_up_as_a_whole(web: RecordingUpstream, script: tuple[Step, ...]) -> None:
    web.says(*script, asyncio.Event())
    fetch = Fetch(seconds=0.05)
    with pytest.raises(BackendSilent, match=r"within 0\.05 seconds"):
        await fetch(web.url)
    await fetch.close()


async def test_nobody_there_is_a_failure(fetch: Fetch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(BackendDown, match="no connection"):
            await fetch(f"http://127.0.0.1:{unheard.getsockname()[1]}/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jwks",
        "/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "unix:///run/docker.sock",
        "http://",
        "http://alice:CANARY@127.0.0.1/",
        "http://alice@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[/",
        "http://" + "a" * 300 + "/",
        "http://a..b/",
    ],
)
async def test_what_is_no_address_is_not_asked(fetch: Fetch, url: str) -> None:
    with pytest.raises(BackendFailed) as raised:
        await fetch(url)

    assert "CANARY" not in raised.value.message


async def test_a_closed_one_asks_nobody(web: RecordingUpstream) -> None:
    async with fetching() as fetch:
        pass
    with pytest.raises(BackendFailed, match="stopping"):
        await fetch(web.url)

    assert [] == web.asked


async def test_a_server_has_to_prove_its_name() -> None:
    ca, other = trustme.CA(), trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(served)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(b"{}", JSON, "Connection: close"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    trusting, doubting = ssl.create_default_context(), ssl.create_default_context()
    ca.configure_trust(trusting)
    other.configure_trust(doubting)
    async with fetching(trust=trusting) as one, fetching(trust=doubting) as another, fetching() as plain:
        assert b"{}" == await one(f"https://localhost:{port}/")
        for fetch, url in ((one, f"https://127.0.0.1:{port}/"), (another, f"https://localhost:{port}/")):
            with pytest.raises(BackendDown, match="Certificate"):
                await fetch(url)
        with pytest.raises(BackendDown, match="Certificate"):
            await plain(f"https://localhost:{port}/")
    server.close()
    await server.wait_closed()
