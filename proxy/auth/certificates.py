"""Certificates (RFC 5280) that clients show while they connect. Nothing in this module does I/O.

Whether one is genuine, the handshake has found out: an authority that the owner trusts has signed it, and the client
has its private key. Whose it is stands on record, under the SHA-256 of its DER: another certificate of the same name,
even for the same private key, is another one.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from proxy.auth import Holder, Kind
from proxy.auth.api_keys import ID_LENGTH, base62, same
from proxy.errors import Unauthenticated, Why
from proxy.late import late

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
else:
    x509 = late("cryptography.x509")
    serialization = late("cryptography.hazmat.primitives.serialization")

LONGEST_PEM = 100_000
"""Characters; a chain of ten large certificates takes less."""

_DIGEST = re.compile("[0-9a-f]{64}")

Find = Callable[[str], Awaitable[Holder | None]]
"""What is on record with this id, as ``KeyStore.find``."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the gate needs to know of one."""

    digest: bytes
    """The SHA-256 of its DER, 32 bytes."""
    since: datetime
    until: datetime

    @property
    def key_id(self) -> str:
        return key_id_of(self.digest)


def digest_of(der: bytes) -> bytes:
    """32 bytes."""
    return hashlib.sha256(der).digest()


def key_id_of(digest: bytes) -> str:
    """What a certificate is called: 12 base-62 characters of its SHA-256."""
    return base62(int.from_bytes(digest, "big"), ID_LENGTH)


def first_in(pem: bytes) -> Certificate:
    """The first certificate of a PEM file, which is a server's own where its chain follows. Raises ValueError."""
    return _told(_loaded(pem))


def of_client(pem: str) -> Certificate:
    """The certificate of a client, or the first of a chain.

    Raises ValueError, which never repeats what was pasted, for anything else: among it one that no client can use.
    """
    if "PRIVATE KEY" in pem:
        raise ValueError(
            "There is a private key in this file, which nobody but its owner may see: give the certificate alone. "
            "If others may have seen the key now, make a new pair."
        )
    if len(pem) > LONGEST_PEM:
        raise ValueError("This is too much for a certificate.")
    certificate = _loaded(pem.encode("utf-8", "replace"))
    if not _is_for_clients(certificate):
        raise ValueError("This certificate is not for clients: its extended key usage has no clientAuth.")
    return _told(certificate)


def _loaded(pem: bytes) -> "x509.Certificate":
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except (ValueError, IndexError):
        raise ValueError("There is no certificate in PEM in it: one begins with -----BEGIN CERTIFICATE-----.") from None


def _told(certificate: "x509.Certificate") -> Certificate:
    digest = digest_of(certificate.public_bytes(serialization.Encoding.DER))
    return Certificate(digest, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _is_for_clients(certificate: "x509.Certificate") -> bool:
    """Where it says what it is for (RFC 5280 §4.2.1.12), that has to be among it."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except (ValueError, x509.DuplicateExtension):
        raise ValueError("This certificate has extensions that cannot be read.") from None
    purpose = x509.oid.ExtendedKeyUsageOID
    return any(one in (purpose.CLIENT_AUTH, purpose.ANY_EXTENDED_KEY_USAGE) for one in usage)


async def holder(find: Find, shown: str) -> Holder:
    """Whose certificate it is that has this SHA-256, in hexadecimal. May be somebody who is suspended.

    Raises Unauthenticated (UNKNOWN) where it is not on record, MALFORMED for what is no digest, and what the look-up
    raises.
    """
    if not _DIGEST.fullmatch(shown):
        raise Unauthenticated(Why.MALFORMED)
    digest = bytes.fromhex(shown)
    found = await find(key_id_of(digest))
    if found is None or found.key.kind is not Kind.CERTIFICATE or not same(found.key.digest, digest):
        raise Unauthenticated(Why.UNKNOWN)
    return found
