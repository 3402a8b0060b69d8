"""A network address as it may be kept where nobody shall know it: the same address always has the same hash. No I/O.

There are so few IPv4 addresses that without a secret all could be tried; with it, the hash tells only who is the same.
"""

from hashlib import blake2b
from ipaddress import ip_address

_PERSON = b"llamagate.peer"
"""So that the secret, which digests keys too, makes other digests here (BLAKE2's personalisation, 16 bytes at most)."""
_LENGTH = 8
"""Bytes, each of which is told in two characters."""


def hashed(peer: str, secret: bytes) -> str:
    """16 hexadecimal characters for an address, its port left aside; nothing for no address.

    However an address is written it is one: an IPv4 address within IPv6 has the same hash as alone.
    """
    if not peer:
        return ""
    key = blake2b(secret, person=_PERSON).digest()  # BLAKE2 takes 64 bytes as its key; a secret may have more.
    return blake2b(
        _one_form(peer).encode("utf-8", "surrogatepass"), digest_size=_LENGTH, key=key, person=_PERSON
    ).hexdigest()


def _one_form(peer: str) -> str:
    host = peer
    if peer.startswith("["):
        host = peer[1:].partition("]")[0]
    elif peer.count(":") == 1:
        host = peer.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)
