"""TLS with the owner's certificate, which may be replaced on disk while the gate goes on.

A connection keeps what it began with. A new one gets what the files held when they were last looked at and were good;
what is not good is told of once, and the old goes on.
"""

import asyncio
import logging
import ssl
import stat
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.auth.certificates import Certificate, digest_of, first_in
from proxy.config.files import CREDENTIALS, MOUNTS
from proxy.errors import Misconfigured
from proxy.vocabulary import Now

HANDSHAKE_SECONDS = 10.0
"""For a whole handshake, after which the connection is cut."""
GOODBYE_SECONDS = 5.0
"""For the client's part of the end of TLS, after which the connection is cut."""
LOOK_SECONDS = 3.0
"""Between two looks at the files."""
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all good. Each has forward secrecy and an AEAD (RFC 9325 §4.2)."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything is, in PEM."""

    certificate: Path
    """The server's own first, then whoever vouches for it."""
    key: Path
    client_authorities: Path | None = None
    """Whoever vouches for clients; None: no client is asked for a certificate."""
    client_required: bool = False
    """Whether a client without one is turned away."""

    def __iter__(self) -> Any:
        return iter(filter(None, (self.certificate, self.key, self.client_authorities)))


class Tls:
    """The server's end of TLS. Raises Misconfigured where the files are not good."""

    def __init__(self, files: Files, *, now: Now) -> None:
        self._files = files
        self._now = now
        self._log = logging.getLogger("proxy.web")
        self._seen = self._look_of_files()
        self._is_good = True
        self.context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        """What to listen with."""
        self.certificate = self._open()
        """The server's own, as it is shown to new connections."""

    def listening(self) -> Mapping[str, Any]:
        """What ``loop.create_server`` needs to know."""
        return {
            "ssl": self.context,
            "ssl_handshake_timeout": HANDSHAKE_SECONDS,
            "ssl_shutdown_timeout": GOODBYE_SECONDS,
        }

    async def keep(self, pause: Pause) -> None:
        """Look at the files, for ever."""
        while True:
            await pause(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take what the files hold, if one of them has changed. Does not raise."""
        if self._look_of_files() == self._seen:
            return
        try:
            self.again()
        except Misconfigured as error:
            self._log.error("certificate_refused", extra={"error": error.message})
        else:
            self._log.warning("certificate_reloaded", extra={"until": self.certificate.until.isoformat()})

    def again(self) -> None:
        """Take what the files hold. Raises Misconfigured, and the old goes on."""
        seen = self._look_of_files()
        if seen == self._seen and self._is_good:
            return
        self._seen, self._is_good = seen, False
        self.certificate = self._open()
        self._is_good = True

    def _open(self) -> Certificate:
        context, certificate = opened(self._files)
        now = self._now()
        if certificate.until <= now:
            self._log.warning("certificate_expired", extra={"until": certificate.until.isoformat()})
        if now < certificate.since:
            self._log.warning("certificate_not_yet_valid", extra={"since": certificate.since.isoformat()})
        self.context.newest = context
        return certificate

    def _look_of_files(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_look, self._files))


class _Newest(ssl.SSLContext):
    """Gives each new connection the newest context as a whole: certificate, authorities and the keys of its tickets.

    A context that is changed in place keeps the authorities that it ever had, and what half of a bad pair was loaded.
    """

    newest: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What asyncio asks for at each connection."""
        return self.newest.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def opened(files: Files) -> tuple[ssl.SSLContext, Certificate]:
    """A context with what the files hold, and the server's own certificate. Raises Misconfigured with the cure."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    # No compression (CRIME), and nobody may make the gate do one handshake after the other on one connection.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    certificate = _certificate(files.certificate)
    _check_mode(files.key)
    _load_pair(context, files)
    if files.client_authorities is not None:
        _load_authorities(context, files.client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
    return context, certificate


def _certificate(file: Path) -> Certificate:
    try:
        return first_in(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from error
    except ValueError as error:
        raise Misconfigured(f"{file} is no certificate. {error}") from None


def _check_mode(file: Path) -> None:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        parents = file.resolve().parents
    except OSError as error:
        raise _unreadable(file, error) from error
    # There the service manager or the container's engine sets the modes, and keeps others out of the folder.
    if mode & 0o077 and not any(Path(folder).resolve() in parents for folder in (*CREDENTIALS, *MOUNTS)):
        raise Misconfigured(f"{file} may be read by others (mode {mode:04o}): chmod 600 {file}")


def _load_pair(context: ssl.SSLContext, files: Files) -> None:
    def passphrase() -> str:
        # Else OpenSSL would ask at the terminal, and wait.
        raise Misconfigured(f"{files.key} needs a passphrase, which nobody could type when the gate starts by itself.")

    try:
        context.load_cert_chain(files.certificate, files.key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Misconfigured(
                f"The key in {files.key} is not that of the first certificate in {files.certificate}: "
                "it belongs to another one, or the order of the certificates is wrong."
            ) from None
        why = (error.reason or "it is no private key in PEM").replace("_", " ").lower()
        raise Misconfigured(f"{files.key} cannot be used with {files.certificate}: {why}.") from None
    except OSError as error:
        raise _unreadable(files.key, error) from error


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise Misconfigured(f"{file} holds no certificates of authorities in PEM.") from None
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> Misconfigured:
    return Misconfigured(f"{file} cannot be read: {error.strerror or 'no reason given'}")


def _look(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def certificate_of(
    transport: asyncio.BaseTransport | None, headers: Mapping[str, str], origins: Collection[str]
) -> str | None:
    """The SHA-256 of the client's certificate, in hexadecimal; None where it has shown none or did not mean to.

    A browser shows it unasked with whatever some page makes it send. Pages that the owner has named are believed, and
    of all others only what the user has typed in (Fetch Metadata, ``Sec-Fetch-Site``).
    """
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject) or tls.context.verify_mode is ssl.CERT_NONE:
        return None
    if not _is_meant(headers, origins):
        return None
    der = tls.getpeercert(binary_form=True)
    return digest_of(der).hex() if der else None


def _is_meant(headers: Mapping[str, str], origins: Collection[str]) -> bool:
    origin = headers.get("Origin")
    if origin is not None:
        return origin in origins
    return headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
