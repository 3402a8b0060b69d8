"""What it costs to know a caller, by how they prove who they are: in CPU time of the process that wants to know.

Put together as in a gate, with keys and identities on record in SQLite, and asked from the loop of this process.
"""

import base64
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from proxy.admin.actor import Actor
from proxy.auth.authenticator import Authenticator
from proxy.auth.remembered import Remembered
from proxy.bootstrap import clocks
from proxy.bootstrap.authenticating import doorkeepers
from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.limiting import office_elsewhere
from proxy.bootstrap.storage import records
from proxy.config.settings import Settings
from proxy.vocabulary import Call, Carrier, Credential

KEY, SEEN, RS256, ES256, SIGNED = (
    "an API key",
    "a token seen before",
    "a new token, RS256",
    "a new token, ES256",
    "a request signed by Ollama's client",
)
KINDS = (KEY, SEEN, RS256, ES256, SIGNED)
_numbers = itertools.count()

MakeCall = Callable[[], Call]


@dataclass(frozen=True, slots=True)
class Proving:
    """Who knows callers, who is remembered, and how a call of each kind is made."""

    authenticator: Authenticator
    remembered: Remembered
    kinds: Mapping[str, MakeCall]


@asynccontextmanager
async def proving(folder: Path) -> AsyncIterator[Proving]:
    """Everything in this folder, which is there."""
    rsa_issuer, by_curve = by_rsa(), _by_curve()
    issuers = {one.name: one.told(folder) for one in (rsa_issuer, by_curve)}
    settings = Settings.model_validate({"state_dir": folder, "issuers": issuers, "auth": {"signature_age": 3600}})
    client = ed25519.Ed25519PrivateKey.generate()
    public = client.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    async with records(settings) as kept, office_elsewhere(settings, kept.book) as office:
        desk = desk_over(kept, settings, office, Actor("bench", "here"))
        key = (await desk.create_key("alice")).secret
        await desk.add_identity(public.decode(), "bob")
        async with doorkeepers(settings, kept, settings.plan_table()) as who:
            seen = rsa_issuer.token()
            yield Proving(
                who.authenticator,
                who.remembered,
                {
                    KEY: lambda: _call(Credential(Carrier.BEARER, key)),
                    SEEN: lambda: _call(Credential(Carrier.BEARER, seen)),
                    RS256: lambda: _call(Credential(Carrier.BEARER, rsa_issuer.token())),
                    ES256: lambda: _call(Credential(Carrier.BEARER, by_curve.token())),
                    SIGNED: lambda: _signed(client, public.split()[1].decode()),
                },
            )


async def spending(proving: Proving, kind: str, count: int) -> float:
    """CPU seconds of knowing one caller, of so many."""
    calls = [proving.kinds[kind]() for _ in range(count)]
    await proving.remembered.look()
    here = time.process_time()
    for call in calls:
        await proving.authenticator.caller(call)
    return (time.process_time() - here) / count


def _call(credential: Credential, path: str = "/api/tags", query: str = "") -> Call:
    return Call("bench", clocks.now(), "GET", path, (credential,), query=query)


def _signed(client: ed25519.Ed25519PrivateKey, public: str) -> Call:
    """Each to a path of its own, for none may come twice."""
    path, ts = f"/api/{next(_numbers)}", int(time.time())
    signature = base64.b64encode(client.sign(f"GET,{path}?ts={ts}".encode())).decode()
    return _call(Credential(Carrier.SIGNED, f"{public}:{signature}"), path, f"ts={ts}")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs tokens, each with a number of its own."""

    name: str
    algorithm: str
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    sign: Callable[[bytes], bytes]

    def told(self, folder: Path) -> Mapping[str, object]:
        """As its row in the configuration, with its key in a file in this folder."""
        file = folder / f"{self.name}.pem"
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        file.write_bytes(self.public.public_bytes(serialization.Encoding.PEM, public))
        return {
            "url": self._url,
            "audience": "bench",
            "algorithms": self.algorithm,
            "key_file": str(file),
            "plan": "default",
        }

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self._url,
            "aud": "bench",
            "sub": "carol",
            "iat": now,
            "exp": now + 3600,
            "jti": f"{next(_numbers)}-{secrets.token_hex(4)}",
        }
        text = f"{_part({'alg': self.algorithm, 'typ': 'JWT'})}.{_part(claims)}"
        return f"{text}.{_base64url(self.sign(text.encode()))}"

    @property
    def _url(self) -> str:
        return f"https://{self.name}.example"


def by_rsa() -> Issuer:
    """One that signs with RS256."""
    key = rsa.generate_private_key(65537, 2048)
    return Issuer("rsa", "RS256", key.public_key(), lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256()))


def _by_curve() -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(text: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)  # As RFC 7518 §3.4 wants it.

    return Issuer("curve", "ES256", key.public_key(), sign)


def _part(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
