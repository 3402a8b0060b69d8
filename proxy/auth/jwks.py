"""What an issuer's keys are: of a JWK Set (RFC 7517), a PEM file or a shared secret. Nothing in this module does I/O.

A key is bound to the algorithms that it may be used with when it is read; no token can make it serve for another.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from proxy.auth.jose import Unreadable, read_object, unbase64url
from proxy.errors import Misconfigured, Unauthenticated, Why
from proxy.vocabulary import Issuer

PublicKey = RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey

MOST_KEYS = 100
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
"""RFC 7518 §3.3 says the least; a longer key than the most would only make us work."""
MOST_EXPONENT = 2**32
CURVES: Mapping[str, Callable[[], ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""RFC 7518 §3.4: one algorithm for each curve."""
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 §3.2: no shorter than the digest."""
ALGORITHMS = frozenset({*RSA, *OF_CURVE.values(), *SECRET_BYTES, "EdDSA"})


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """Something that signatures of an issuer can be checked with."""

    key: PublicKey | bytes = field(repr=False)
    """Bytes are a shared secret."""
    algorithms: frozenset[str]
    """Those of the issuer that it fits."""
    kid: str | None = None
    mark: str = ""
    """The same only for the same key under the same name and for the same algorithms; tells nothing of a secret."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys of an issuer at one time."""

    keys: tuple[VerifyingKey, ...]
    is_told: bool = False
    """The owner gave the one key, which is meant whatever a token calls it."""
    marks: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", frozenset(key.mark for key in self.keys))

    def knows(self, kid: str | None) -> bool:
        """Whether to look for newer keys would be in vain."""
        return self.is_told or kid is None or any(key.kid == kid for key in self.keys)

    def choose(self, algorithm: str, kid: str | None) -> VerifyingKey:
        """The one key that is meant. Raises Unauthenticated where there is none, or more than one: no key is tried."""
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        if kid is not None and not self.is_told:
            fitting = [key for key in fitting if key.kid == kid]
        if len(fitting) != 1:
            raise Unauthenticated(Why.WRONG_KEY)
        return fitting[0]


def told_keys(issuer: Issuer) -> KeySet | None:
    """The key in the configuration; None where keys have to be fetched. Raises Misconfigured, without any of it."""
    where = f"issuer {issuer.name}"
    algorithms = frozenset(issuer.algorithms)
    if not algorithms or not algorithms <= ALGORITHMS:
        raise Misconfigured(f"{where}: there are the algorithms {', '.join(sorted(ALGORITHMS))}")
    shared = algorithms & SECRET_BYTES.keys()
    if (issuer.secret is None) == bool(shared) or (shared and shared != algorithms):
        raise Misconfigured(f"{where}: a secret goes with the algorithms {', '.join(SECRET_BYTES)} and no others")
    if issuer.secret is not None:
        least = max(SECRET_BYTES[name] for name in algorithms)
        if len(issuer.secret) < least:
            raise Misconfigured(f"{where}: the secret has {len(issuer.secret)} bytes and needs at least {least}")
        if b"-----BEGIN" in issuer.secret or issuer.secret.startswith((b"ssh-", b"ecdsa-")):
            raise Misconfigured(f"{where}: the secret is a key that others may know; it belongs in a PEM file")
        return KeySet((VerifyingKey(issuer.secret, algorithms, mark="secret"),), is_told=True)
    if issuer.pem is None:
        return None
    key = _read_pem(issuer.pem, where)
    fitting = _fitting(key) & algorithms
    if not fitting:
        raise Misconfigured(
            f"{where}: the key in the PEM file does not fit {', '.join(issuer.algorithms)}, or is too short"
        )
    return KeySet((_verifying(key, fitting, None),), is_told=True)


def read_jwks(text: bytes, algorithms: Sequence[str]) -> KeySet:
    """The keys of a JWK Set that fit these algorithms; what does not is skipped, as RFC 7517 §5 has it.

    Raises Unreadable where it is no JWK Set, holds more than a hundred keys, or none that fits.
    """
    found = read_object(text).get("keys")
    if not isinstance(found, list):
        raise Unreadable("not a JWK Set")
    if len(found) > MOST_KEYS:
        raise Unreadable(f"more than {MOST_KEYS} keys")
    wanted = frozenset(algorithms)
    keys = [key for jwk in found if (key := _read_jwk(jwk, wanted)) is not None]
    if not keys:
        raise Unreadable("no key that fits the issuer's algorithms")
    return KeySet(tuple(keys))


def _read_jwk(jwk: object, wanted: frozenset[str]) -> VerifyingKey | None:
    """None where it is of no use, or not fit to be used."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:  # Its private half is no secret.
        return None
    operations, kid, alg = jwk.get("key_ops", ["verify"]), jwk.get("kid"), jwk.get("alg")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if not (kid is None or isinstance(kid, str)) or not (alg is None or isinstance(alg, str)):
        return None
    try:
        key = _public_key(jwk)
    except (ValueError, UnsupportedAlgorithm):  # A point that is not on its curve, a modulus that is none …
        return None
    fitting = _fitting(key) & wanted if key is not None else frozenset()
    if alg is not None:
        fitting &= {alg}
    return _verifying(key, fitting, kid) if key is not None and fitting else None


def _public_key(jwk: Mapping[str, Any]) -> PublicKey | None:
    """RFC 7518 §6.2 and §6.3, RFC 8037 §2. Raises ValueError."""
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            n, e = int.from_bytes(_bytes(jwk, "n")), int.from_bytes(_bytes(jwk, "e"))
            if not LEAST_RSA_BITS <= n.bit_length() <= MOST_RSA_BITS or not 3 <= e < MOST_EXPONENT:
                return None
            return RSAPublicNumbers(e, n).public_key()
        case "EC", str(curve) if curve in CURVES:
            made = CURVES[curve]()
            x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
            if not len(x) == len(y) == (made.key_size + 7) // 8:
                return None
            return ec.EllipticCurvePublicKey.from_encoded_point(made, b"\x04" + x + y)
        case "OKP", "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x"))
    return None


def _bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    written = jwk.get(name)
    if not isinstance(written, str):
        raise Unreadable("a part of a key is missing")
    return unbase64url(written)


def _fitting(key: PublicKey) -> frozenset[str]:
    """Every algorithm that the key can be used with."""
    if isinstance(key, RSAPublicKey):
        return RSA if LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset({OF_CURVE[key.curve.name]} if key.curve.name in OF_CURVE else ())
    return frozenset({"EdDSA"})


def _verifying(key: PublicKey, algorithms: frozenset[str], kid: str | None) -> VerifyingKey:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named = "\0".join(["" if kid is None else f"={kid}", *sorted(algorithms), ""])
    mark = hashlib.sha256(named.encode() + der).hexdigest()
    return VerifyingKey(key, algorithms, kid, mark)


def _read_pem(pem: str, where: str) -> PublicKey:
    if "PRIVATE KEY" in pem:
        raise Misconfigured(
            f"{where}: the PEM file holds a private key; the gate needs the public one, or a certificate"
        )
    try:
        text = pem.encode("ascii")
        if "BEGIN CERTIFICATE" in pem:
            key: object = x509.load_pem_x509_certificate(text).public_key()
        else:
            key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise Misconfigured(f"{where}: the PEM file does not hold a public key or a certificate") from None
    if not isinstance(key, PublicKey):
        raise Misconfigured(f"{where}: the PEM file holds a kind of key that no algorithm here uses")
    return key
