import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from proxy.auth.certificates import digest_of
from proxy.errors import Misconfigured
from proxy.web.tls import HANDSHAKE_SECONDS, Files, Tls, certificate_of, opened

NOW = datetime.now(UTC)
NAME = "gate.example"
LOCAL = "127.0.0.1"


class House:
    """An authority, and a folder with what the gate has of it."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.files = Files(folder / "cert.pem", folder / "key.pem")
        self.authorities = folder / "clients.pem"
        self.ca.cert_pem.write_to_path(str(self.authorities))
        self.now = NOW
        self.put(self.ca.issue_cert(NAME))

    def put(self, issued: trustme.LeafCert) -> None:
        """In place of what is there, as whoever renews a certificate does: a new file with the old one's name."""
        for path, blob in (
            (self.files.certificate, b"".join(one.bytes() for one in issued.cert_chain_pems)),
            (self.files.key, issued.private_key_pem.bytes()),
        ):
            new = path.with_suffix(".new")
            new.write_bytes(blob)
            new.chmod(0o600)
            new.replace(path)

    def tls(self, *, clients: bool = False, required: bool = False) -> Tls:
        told = (self.authorities, required) if clients else ()
        return Tls(Files(self.files.certificate, self.files.key, *told), now=lambda: self.now)

    def client(self, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if own is not None:
            own.configure_cert(context)
        return context


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@asynccontextmanager
async def listening(tls: Tls, **changed: Any) -> AsyncIterator[int]:
    """A server that answers each line with the SHA-256 of the client's certificate, or nothing; its port."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while await reader.readline():
                writer.write(f"{certificate_of(writer.transport, {}, ()) or 'nothing'}\n".encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, LOCAL, 0, **{**tls.listening(), **changed})
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Talk:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.tls: ssl.SSLObject = writer.get_extra_info("ssl_object")

    async def said(self) -> str:
        self.writer.write(b"?\n")
        return (await self.reader.readline()).decode().strip()

    @property
    def shown(self) -> bytes:
        return digest_of(self.tls.getpeercert(binary_form=True) or b"")


@asynccontextmanager
async def talking(port: int, context: ssl.SSLContext) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection(LOCAL, port, ssl=context, server_hostname=NAME)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def is_turned_away(port: int, context: ssl.SSLContext) -> bool:
    """In the handshake, or with TLS 1.3 right after it, where the client believes itself connected."""
    try:
        async with talking(port, context) as talk:
            return await talk.said() == ""
    except (ssl.SSLError, ConnectionError):
        return True


def digest(issued: trustme.LeafCert) -> str:
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    return digest_of(der).hex()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_that_trusts_the_authority_is_served_by_both_versions(
    house: House, version: ssl.TLSVersion
) -> None:
    client = house.client()
    client.minimum_version = client.maximum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(house.tls()) as port, talking(port, client) as talk:
        cipher = talk.tls.cipher()

        assert "nothing" == await talk.said()
        assert version.name.replace("_", ".") == talk.tls.version()
        assert "http/1.1" == talk.tls.selected_alpn_protocol()
        assert talk.tls.compression() is None
        assert cipher is not None
        assert any(name in cipher[0] for name in ("GCM", "CHACHA20"))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_older_versions_are_refused(house: House, version: ssl.TLSVersion) -> None:
    client = house.client()
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    with pytest.raises(ssl.SSLError, match="unsupported protocol"):
        _shaken(opened(house.files)[0], client)
    async with listening(house.tls()) as port:
        assert await is_turned_away(port, client)


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"])
def test_a_cipher_without_forward_secrecy_or_an_aead_is_refused(house: House, ciphers: str) -> None:
    client = house.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="no shared cipher"):
        _shaken(opened(house.files)[0], client)


def test_nobody_may_renegotiate_or_compress(house: House) -> None:
    context, _ = opened(house.files)

    assert ssl.OP_NO_RENEGOTIATION & context.options
    assert ssl.OP_NO_COMPRESSION & context.options


async def test_plain_http_is_cut_and_the_next_client_is_served(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(house.tls()) as port:
        reader, writer = await asyncio.open_connection(LOCAL, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer CANARY\r\n\r\n")
        told = await reader.read()
        writer.close()

        assert b"HTTP" not in told
        assert b"CANARY" not in told
        assert [] == caplog.records
        async with talking(port, house.client()) as talk:
            assert "nothing" == await talk.said()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_stalls_is_cut(house: House, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    tls = house.tls()

    assert HANDSHAKE_SECONDS == tls.listening()["ssl_handshake_timeout"]
    async with listening(tls, ssl_handshake_timeout=0.05) as port:
        reader, writer = await asyncio.open_connection(LOCAL, port)
        writer.write(sent)

        with suppress(ConnectionError):
            assert b"" == await reader.read()
        writer.close()
        assert [] == caplog.records


async def test_a_new_pair_is_for_new_connections_and_the_old_one_goes_on_where_it_was(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    tls = house.tls()
    before = tls.certificate.digest
    async with listening(tls) as port, talking(port, house.client()) as old:
        house.put(house.ca.issue_cert(NAME))
        tls.look()
        async with talking(port, house.client()) as new:
            assert ("nothing", before) == (await old.said(), old.shown)
            assert ("nothing", tls.certificate.digest) == (await new.said(), new.shown)
            assert before != new.shown
    tls.look()

    assert ["certificate_reloaded"] == [record.message for record in caplog.records]


async def test_a_bad_pair_is_told_of_once_and_the_old_one_goes_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    tls = house.tls()
    before = tls.certificate.digest
    house.files.key.write_bytes(house.ca.issue_cert(NAME).private_key_pem.bytes())
    for _ in range(3):
        tls.look()

    assert ["certificate_refused"] == [record.message for record in caplog.records]
    assert [logging.ERROR] == [record.levelno for record in caplog.records]
    assert "is not that of the first certificate" in caplog.records[0].__dict__["error"]
    async with listening(tls) as port, talking(port, house.client()) as talk:
        assert before == talk.shown
    with pytest.raises(Misconfigured, match="is not that of"):
        tls.again()
    house.put(house.ca.issue_cert(NAME))
    tls.look()

    assert ["certificate_refused", "certificate_reloaded"] == [record.message for record in caplog.records]
    assert before != tls.certificate.digest


async def test_a_file_that_is_gone_for_a_moment_ends_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    tls = house.tls()
    aside = house.files.key.rename(house.files.key.with_suffix(".aside"))
    tls.look()
    aside.rename(house.files.key)
    tls.look()

    assert ["certificate_refused", "certificate_reloaded"] == [record.message for record in caplog.records]


async def test_the_files_are_looked_at_again_and_again(house: House) -> None:
    tls = house.tls()
    before = tls.certificate.digest
    pauses = 0

    async def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 2:
            raise asyncio.CancelledError
        house.put(house.ca.issue_cert(NAME))

    with pytest.raises(asyncio.CancelledError):
        await tls.keep(pause)

    assert before != tls.certificate.digest


def test_what_has_not_changed_is_not_read_again(house: House) -> None:
    tls = house.tls()
    newest = tls.context.newest
    tls.again()
    tls.look()

    assert newest is tls.context.newest


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused_with_the_cure(house: House, mode: int) -> None:
    house.files.key.chmod(mode)
    with pytest.raises(Misconfigured, match=rf"mode {mode:04o}\): chmod 600 .*key\.pem"):
        house.tls()


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        ("certificate", "", "cert.pem is no certificate"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cert.pem is no certificate"),
        ("key", "", "key.pem cannot be used with"),
        ("key", "HUSH", "key.pem cannot be used with"),
        ("authorities", "nothing", "clients.pem holds no certificates"),
        ("authorities", "", "clients.pem holds no certificates"),
        ("certificate", None, "cert.pem cannot be read: No such file"),
        ("key", None, "key.pem cannot be read: No such file"),
        ("authorities", None, "clients.pem cannot be read: No such file"),
    ],
)
def test_a_file_that_will_not_do_is_named(house: House, which: str, text: str | None, words: str) -> None:
    path = house.authorities if which == "authorities" else getattr(house.files, which)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(Misconfigured) as refused:
        house.tls(clients=True)

    assert words in refused.value.message
    assert "HUSH" not in refused.value.message


def test_a_key_of_another_certificate_is_told(house: House) -> None:
    house.files.key.write_bytes(house.ca.issue_cert(NAME).private_key_pem.bytes())
    with pytest.raises(Misconfigured, match="is not that of the first certificate"):
        house.tls()


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(house: House) -> None:
    encrypted = (
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        f"DEK-Info: AES-128-CBC,{'0' * 32}\n\n"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END EC PRIVATE KEY-----\n"
    )
    house.files.key.write_text(encrypted)
    with pytest.raises(Misconfigured, match="needs a passphrase"):
        house.tls()


def test_dates_that_are_not_now_are_warned_of_and_the_pair_is_used(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put(house.ca.issue_cert(NAME, not_after=NOW - timedelta(days=1), not_before=NOW - timedelta(days=2)))
    house.tls()
    house.put(house.ca.issue_cert(NAME, not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=2)))
    house.tls()

    assert ["certificate_expired", "certificate_not_yet_valid"] == [record.message for record in caplog.records]
    assert {logging.WARNING} == {record.levelno for record in caplog.records}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_may_come_with_a_certificate_or_without(house: House, version: ssl.TLSVersion) -> None:
    alice = house.ca.issue_cert("alice@example.org")
    with_one, without = house.client(alice), house.client()
    with_one.maximum_version = without.maximum_version = version
    async with listening(house.tls(clients=True)) as port:
        async with talking(port, with_one) as talk:
            assert digest(alice) == await talk.said()
        async with talking(port, without) as talk:
            assert "nothing" == await talk.said()


async def test_a_certificate_is_known_again_where_the_session_is_resumed(house: House) -> None:
    alice = house.ca.issue_cert("alice@example.org")
    client = house.client(alice)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(house.tls(clients=True)) as port:
        said = []
        session = None
        for _ in range(2):
            said.append(await asyncio.to_thread(_asked, port, client, session))
            session = said[-1][2]

    assert [(digest(alice), False), (digest(alice), True)] == [one[:2] for one in said]


def _asked(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[str, bool, Any]:
    """With sockets that block, for only those resume sessions."""
    with (
        socket.create_connection((LOCAL, port)) as plain,
        client.wrap_socket(plain, server_hostname=NAME, session=session) as tls,
    ):
        tls.sendall(b"?\n")
        return tls.recv(1000).decode().strip(), bool(tls.session_reused), tls.session


async def test_a_session_ends_with_the_authorities_it_began_under(house: House) -> None:
    client = house.client(house.ca.issue_cert("alice@example.org"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = house.tls(clients=True)
    async with listening(tls) as port:
        _, _, session = await asyncio.to_thread(_asked, port, client, None)
        trustme.CA().cert_pem.write_to_path(str(house.authorities))
        tls.look()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(_asked, port, client, session)


async def test_a_certificate_of_a_stranger_ends_the_handshake(house: House) -> None:
    stranger = trustme.CA().issue_cert("alice@example.org")
    client = house.client(stranger)
    async with listening(house.tls(clients=True)) as port:
        assert await is_turned_away(port, client)


async def test_where_it_is_required_nobody_comes_without(house: House) -> None:
    async with listening(house.tls(clients=True, required=True)) as port:
        assert await is_turned_away(port, house.client())
        async with talking(port, house.client(house.ca.issue_cert("a@example.org"))) as talk:
            assert 64 == len(await talk.said())


async def test_where_none_is_asked_for_none_is_known(house: House) -> None:
    async with (
        listening(house.tls()) as port,
        talking(port, house.client(house.ca.issue_cert("a@example.org"))) as talk,
    ):
        assert "nothing" == await talk.said()


@pytest.mark.parametrize(
    ("headers", "is_meant"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
async def test_what_a_page_makes_a_browser_send_shows_no_certificate(
    house: House, headers: dict[str, str], is_meant: bool
) -> None:
    alice = house.ca.issue_cert("alice@example.org")
    server, client = opened(Files(house.files.certificate, house.files.key, house.authorities))[0], house.client(alice)
    ours = _shaken(server, client)
    transport = SimpleNamespace(get_extra_info={"ssl_object": ours}.get)
    shown = certificate_of(transport, headers, ("https://chat.example", "*"))  # type: ignore[arg-type]

    assert (digest(alice) if is_meant else None) == shown


def _shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The server's end of a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname=NAME)
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ours


def test_without_tls_there_is_no_certificate() -> None:
    assert certificate_of(None, {}, ()) is None
    assert certificate_of(asyncio.Transport(), {}, ()) is None


def test_the_files_of_tls_are_looked_at_as_they_are(house: House) -> None:
    tls = house.tls()
    about = house.files.certificate.stat()
    os.utime(house.files.certificate, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    newest = tls.context.newest
    tls.look()

    assert newest is not tls.context.newest
