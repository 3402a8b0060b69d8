"""A small public document at somebody else's address, such as the keys of an issuer of tokens.

Nothing of ours goes with the question: no credential, no cookie, no proxy of the environment; and no answer leads
elsewhere. Which addresses may be asked is for whoever asks to know.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from yarl import URL

from proxy.errors import BackendDown, BackendFailed, BackendSilent
from proxy.late import late, ready

if TYPE_CHECKING:
    from aiohttp import client, client_exceptions, connector, cookiejar
else:
    client = late("aiohttp.client")
    client_exceptions = late("aiohttp.client_exceptions")
    connector = late("aiohttp.connector")
    cookiejar = late("aiohttp.cookiejar")

SECONDS = 5.0
"""For all of it: looking the name up, connecting, and the whole answer."""
MOST_BYTES = 512 * 1024
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "llamagate"}


class Fetch:
    """Asks each time anew, over a connection of its own."""

    def __init__(
        self, *, seconds: float = SECONDS, most_bytes: int = MOST_BYTES, trust: ssl.SSLContext | None = None
    ) -> None:
        """``trust`` are the authorities that certificates must come from; None: those that the system trusts."""
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._trust = trust
        self._session: client.ClientSession | None = None
        """From the first question on: most gates never ask one."""
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def __call__(self, url: str) -> bytes:
        """What is there. Raises BackendFailed, with the reason in a few words of ours."""
        await ready(client, client_exceptions, connector, cookiejar)
        if self._closed:
            raise BackendFailed("the gate is stopping")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._got(URL(url, encoded=True))  # As it stands.
        except (client_exceptions.ClientConnectorError, client_exceptions.ConnectionTimeoutError) as error:
            raise BackendDown(f"no connection ({type(error).__name__})") from error
        except TimeoutError as error:
            raise BackendSilent(f"no whole answer within {self._seconds:g} seconds") from error
        except (client_exceptions.ClientError, OSError, ValueError) as error:
            raise BackendFailed(f"no answer that makes sense ({type(error).__name__})") from error

    async def _got(self, url: URL) -> bytes:
        if url.scheme not in ("http", "https") or not url.host or url.user is not None or url.password is not None:
            raise BackendFailed("not an address that can be asked")
        if self._session is None:
            self._session = self._begun()
        async with self._session.get(url, headers=HEADERS, allow_redirects=False) as answer:
            if answer.status != 200:
                raise BackendFailed(f"answered with status {answer.status}")
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise BackendFailed("answered in a coding that it was not asked for")
            read = bytearray()
            while piece := await answer.content.readany():
                read += piece
                if len(read) > self._most_bytes:
                    raise BackendFailed(f"answered with more than {self._most_bytes} bytes")
            return bytes(read)

    def _begun(self) -> "client.ClientSession":
        return client.ClientSession(
            connector=connector.TCPConnector(force_close=True, ssl=True if self._trust is None else self._trust),
            cookie_jar=cookiejar.DummyCookieJar(),
            timeout=client.ClientTimeout(total=None),  # There is one for all of it, above.
            auto_decompress=False,
            trust_env=False,
        )


@asynccontextmanager
async def fetching(*, trust: ssl.SSLContext | None = None) -> AsyncIterator[Fetch]:
    """A ``Fetch`` that is closed in the end."""
    fetch = Fetch(trust=trust)
    try:
        yield fetch
    finally:
        await fetch.close()
