"""Tokens of made-up issuers, good ones and hostile ones: made with joserfc, with cryptography and by hand.

Never with PyJWT, which is what they are to be shown to.
"""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws
from joserfc.errors import SecurityWarning

from proxy.errors import Why
from proxy.vocabulary import Issuer
from tests.fakes.moments import NOON

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey | bytes

GOOD = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256")
"""The algorithms in which a good token is made."""
KIDS = {"RS256": "rsa", "PS256": "rsa", "ES256": "ec", "ES384": "ec384", "EdDSA": "ed"}
SECRET = bytes(range(32, 64))
GONE = object()
"""In place of what shall not be there."""


@cache
def private(kid: str) -> PrivateKey:
    """The issuer's key of that name, or one of somebody else."""
    if kid in ("rsa", "stranger", "encrypting"):
        return rsa.generate_private_key(65537, 2048)
    if kid == "weak":
        return rsa.generate_private_key(65537, 1024)  # noqa: S505
    if kid in ("ec", "ec-stranger", "ec-hs"):
        return ec.generate_private_key(ec.SECP256R1())
    if kid == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    if kid == "ec521":
        return ec.generate_private_key(ec.SECP521R1())
    return Ed25519PrivateKey.generate()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, length: int | None = None) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8))


def jwk(name: str, /, **more: Any) -> dict[str, Any]:
    """The public half of the key of that name, RFC 7517, as an entry of a set, with other members in place of these."""
    members = {"kid": name, **public(private(name)), **more}
    return {member: value for member, value in members.items() if value is not GONE}


def public(key: PrivateKey) -> dict[str, Any]:
    """The same of any key."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        length = (key.key_size + 7) // 8
        point = key.public_key().public_numbers()
        return {"kty": "EC", "crv": f"P-{key.key_size}", "x": _number(point.x, length), "y": _number(point.y, length)}
    if isinstance(key, Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}
    return {"kty": "oct", "k": b64(key)}


def pem(kid: str) -> str:
    key = private(kid)
    assert not isinstance(key, bytes)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signature(algorithm: str, key: PrivateKey, text: bytes) -> bytes:
    """As RFC 7518 and RFC 8037 have it."""
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(algorithm[2:])
    if isinstance(key, bytes):
        return hmac.digest(key, text, f"sha{algorithm[2:]}")
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(text)
    assert digest is not None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        length = (key.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(digest)))
        return r.to_bytes(length) + s.to_bytes(length)
    if algorithm.startswith("PS"):
        return key.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(text, padding.PKCS1v15(), digest)


@dataclass(frozen=True, slots=True)
class Forge:
    """Where tokens are made: who the issuers are, for whom, and what time it is."""

    now: datetime = NOON
    url: str = "https://id.example"
    """It has many keys, in a JWK Set at ``/jwks``."""
    shared_url: str = "https://shared.example"
    """It shares a secret with the gate."""
    audience: str = "llamagate"

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def issuers(self, **told: Any) -> tuple[Issuer, Issuer]:
        """Both, as the gate is told of them; more may be told of the first."""
        signing = {
            "algorithms": tuple(KIDS),
            "jwks_url": f"{self.url}/jwks",
            "types": ("JWT",),
            "groups": (("ml-team", "lab"), ("staff", "default")),
            "plan": "default",
        }
        first = Issuer("forge", self.url, (self.audience, "other-gate"), **{**signing, **told})
        shared = Issuer("shared", self.shared_url, (self.audience,), ("HS256",), secret=SECRET, plan="default")
        return first, shared

    def jwks(self) -> bytes:
        """The issuer's keys, and some that must not be used."""
        good = [jwk("rsa"), jwk("ec", alg="ES256", use="sig"), jwk("ec384", key_ops=["verify"]), jwk("ed")]
        tiny = {"kty": "RSA", "kid": "tiny", "n": _number(2**511 + 111), "e": "AQAB"}
        shared = {"kty": "oct", "kid": "oct", "k": b64(SECRET), "alg": "HS256"}
        bad = [jwk("weak"), tiny, shared, jwk("ec-hs", alg="HS256"), jwk("encrypting", use="enc")]
        return json.dumps({"keys": [*bad, *good]}).encode()

    def payload(self, **claims: Any) -> dict[str, Any]:
        """What is said of Alice, with other claims in place of these."""
        usual = {"iss": self.url, "aud": self.audience, "sub": "alice", "jti": "1"}
        times = {"iat": self.seconds - 60, "exp": self.seconds + 3600}
        return {name: value for name, value in {**usual, **times, **claims}.items() if value is not GONE}

    def good(self, algorithm: str = "RS256", **claims: Any) -> str:
        """A token that is let in, as joserfc makes it, with other claims."""
        if algorithm == "HS256":
            claims = {"iss": self.shared_url, **claims}
        header = {"alg": algorithm, "typ": "JWT"} | ({"kid": KIDS[algorithm]} if algorithm in KIDS else {})
        text = json.dumps(self.payload(**claims)).encode()
        key = private(KIDS[algorithm]) if algorithm in KIDS else SECRET
        made: Any
        match key:
            case bytes():
                made = joserfc_jwk.OctKey.import_key(key)
            case rsa.RSAPrivateKey():
                made = joserfc_jwk.RSAKey.import_key(key)
            case ec.EllipticCurvePrivateKey():
                made = joserfc_jwk.ECKey.import_key(key)
            case _:
                made = joserfc_jwk.OKPKey.import_key(key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # RFC 9864 has a newer name for EdDSA; few use it yet.
            return joserfc_jws.serialize_compact(header, text, made, algorithms=[algorithm])

    def signed(
        self,
        header: Mapping[str, Any] | bytes | None = None,
        payload: Mapping[str, Any] | bytes | None = None,
        *,
        algorithm: str = "RS256",
        key: PrivateKey | None = None,
    ) -> str:
        """Whatever header and payload, with a signature that is right for them; members replace the usual ones."""
        if not isinstance(header, bytes):
            usual = {"alg": algorithm, "typ": "JWT", "kid": KIDS.get(algorithm, GONE), **(header or {})}
            header = json.dumps({name: value for name, value in usual.items() if value is not GONE}).encode()
        if not isinstance(payload, bytes):
            payload = json.dumps(self.payload(**(payload or {}))).encode()
        text = f"{b64(header)}.{b64(payload)}"
        by = key if key is not None else private(KIDS[algorithm])
        return f"{text}.{b64(signature(algorithm, by, text.encode()))}"

    def with_signature(self, of: Callable[[bytes], bytes], algorithm: str = "RS256", **header: Any) -> str:
        """A token whose signature is made, out of the right one, by somebody's trick."""
        text, _, right = self.signed(header, algorithm=algorithm).rpartition(".")
        return f"{text}.{b64(of(base64.urlsafe_b64decode(right + '==')))}"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One that must be refused, and why it is."""

    make: Callable[[Forge], str]
    why: Why


_Case = tuple[str, Why, Callable[[Forge], str]]


def _with(make: Callable[..., str], *told: Any) -> Callable[[Forge], str]:
    """Makes it of what is told now, and a forge later."""
    return lambda f: make(f, *told)


def _algorithms() -> Iterator[_Case]:
    for name in ("none", "nOnE", "NONE", "None", "none "):
        yield (
            f"alg {name!r}, no signature",
            Why.MALFORMED,
            _with(lambda f, n: f.signed({"alg": n}).rpartition(".")[0] + ".", name),
        )
        yield f"alg {name!r}, a signature", Why.WRONG_ALGORITHM, _with(lambda f, n: f.signed({"alg": n}), name)
    odd = [GONE, None, 1, True, ["RS256"], {"RS256": 1}, "", "rs256", "RS256 ", "RS256\x00", "RS512", "PS512", "ES256K"]
    odd += ["dir", "A128KW", "RSA-OAEP", "HS512"]
    for value in odd:
        name = "missing" if value is GONE else ascii(value)
        yield f"alg {name}", Why.WRONG_ALGORITHM, _with(lambda f, v: f.signed({"alg": v}), value)
    yield (
        "ES512, which is not allowed",
        Why.WRONG_ALGORITHM,
        lambda f: f.signed(algorithm="ES512", key=private("ec521")),
    )
    yield "alg twice", Why.MALFORMED, lambda f: f.signed(b'{"alg":"RS256","alg":"none","kid":"rsa"}')
    yield "alg twice, the good one last", Why.MALFORMED, lambda f: f.signed(b'{"alg":"none","alg":"RS256","kid":"rsa"}')
    texts: dict[str, Callable[[], bytes]] = {
        "PEM": lambda: pem("rsa").encode(),
        "PEM without its last newline": lambda: pem("rsa").strip().encode(),
        "PEM with a byte order mark": lambda: b"\xef\xbb\xbf" + pem("rsa").encode(),
        "DER": lambda: base64.b64decode("".join(pem("rsa").splitlines()[1:-1])),
        "JWK": lambda: json.dumps(jwk("rsa")).encode(),
        "modulus": lambda: base64.urlsafe_b64decode(jwk("rsa")["n"] + "=="),
        "nothing": lambda: b"",
    }
    for name, text in texts.items():
        yield (
            f"HS256 with the public key as {name}",
            Why.WRONG_ALGORITHM,
            _with(lambda f, t: f.signed({"kid": "rsa"}, algorithm="HS256", key=t()), text),
        )
    yield (
        "HS256 with a key of the set",
        Why.WRONG_ALGORITHM,
        lambda f: f.signed({"kid": "oct"}, algorithm="HS256", key=SECRET),
    )
    yield "ES256 with the name of an RSA key", Why.WRONG_KEY, lambda f: f.signed({"kid": "rsa"}, algorithm="ES256")
    yield "RS256 with the name of an EC key", Why.WRONG_KEY, lambda f: f.signed({"kid": "ec"})
    yield "EdDSA with the name of an EC key", Why.WRONG_KEY, lambda f: f.signed({"kid": "ec"}, algorithm="EdDSA")
    yield "ES256 with the name of a P-384 key", Why.WRONG_KEY, lambda f: f.signed({"kid": "ec384"}, algorithm="ES256")
    yield "RS256 that was signed as PS256", Why.WRONG_SIGNATURE, lambda f: f.signed({"alg": "RS256"}, algorithm="PS256")
    yield "PS256 that was signed as RS256", Why.WRONG_SIGNATURE, lambda f: f.signed({"alg": "PS256"})
    yield "RS256 of who shares a secret", Why.WRONG_ALGORITHM, lambda f: f.signed(None, {"iss": f.shared_url})
    for name, secret in {"no": b"", "another": bytes(32), "half the": SECRET[:16]}.items():
        yield (
            f"HS256 with {name} secret",
            Why.WRONG_SIGNATURE,
            _with(lambda f, s: f.signed(None, {"iss": f.shared_url}, algorithm="HS256", key=s), secret),
        )
    yield (
        "HS512 with the secret for HS256",
        Why.WRONG_ALGORITHM,
        lambda f: f.signed(None, {"iss": f.shared_url}, algorithm="HS512", key=SECRET),
    )


def _keys() -> Iterator[_Case]:
    kids = ["../../dev/null", "' OR 1=1--", "k" * 4096, "k" * 256, "k" * 255, 1, ["rsa"], None, {}, True, "\x00", ""]
    kids += [
        "rsa\n",
        " rsa",
        "rsa ",
        "RSA",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "rs\u00e1",
        "$(id)",
        "%00",
        "*",
    ]
    kids += ["tiny", "oct", "encrypting", "ec-hs"]
    for kid in kids:
        yield f"kid {ascii(kid)[:40]} ({len(str(kid))})", Why.WRONG_KEY, _with(lambda f, k: f.signed({"kid": k}), kid)
    yield "kid with half a surrogate", Why.MALFORMED, lambda f: f.signed(b'{"alg":"RS256","kid":"\\ud800"}')
    yield "kid twice", Why.MALFORMED, lambda f: f.signed(b'{"alg":"RS256","kid":"rsa","kid":"stranger"}')
    yield "a key of 1024 bits", Why.WRONG_KEY, lambda f: f.signed({"kid": "weak"}, key=private("weak"))
    yield "a key for encrypting", Why.WRONG_KEY, lambda f: f.signed({"kid": "encrypting"}, key=private("encrypting"))
    yield "a stranger under a good name", Why.WRONG_SIGNATURE, lambda f: f.signed(key=private("stranger"))
    yield "a stranger without a name", Why.WRONG_SIGNATURE, lambda f: f.signed({"kid": GONE}, key=private("stranger"))
    yield "another P-256 key", Why.WRONG_SIGNATURE, lambda f: f.signed(algorithm="ES256", key=private("ec-stranger"))
    yield "another Ed25519 key", Why.WRONG_SIGNATURE, lambda f: f.signed(algorithm="EdDSA", key=private("ed-stranger"))
    brought: dict[str, Callable[[], Any]] = {
        "jku": lambda: "https://evil.example/jwks",
        "x5u": lambda: "https://evil.example/chain.pem",
        "jwk": lambda: public(private("stranger")),
        "x5c": lambda: ["MIIB"],
    }
    for name, value in brought.items():
        yield (
            f"{name} in the header",
            Why.WRONG_KEY,
            _with(lambda f, n, v: f.signed({n: v()}, key=private("stranger")), name, value),
        )
        yield f"{name} in a good header", Why.WRONG_KEY, _with(lambda f, n, v: f.signed({n: v()}), name, value)
        yield f"{name} of nothing", Why.WRONG_KEY, _with(lambda f, n: f.signed({n: None}), name)


def _claims() -> Iterator[_Case]:
    def claim(name: str, value: Any, why: Why = Why.WRONG_CLAIMS) -> _Case:
        said = "missing" if value is GONE else f"{ascii(value)[:40]} ({len(str(value))})"
        return f"{name} {said}", why, lambda f: f.signed(None, {name: value})

    def later(name: str, seconds: float, why: Why) -> _Case:
        return f"{name} {seconds:+g} s", why, lambda f: f.signed(None, {name: f.seconds + seconds})

    value: Any
    for time in ("exp", "iat", "nbf"):
        for value in ("1772366400", None, True, False, [1772366400], {}, -1, 10**18, "now"):
            yield claim(time, value)
        yield later(time, 0.5, Why.WRONG_CLAIMS)
        yield claim(time, 10**30, Why.MALFORMED)
    yield claim("exp", GONE)
    yield claim("iat", GONE)
    yield later("exp", -3600, Why.EXPIRED)
    yield later("exp", -10, Why.EXPIRED)
    yield later("iat", 11, Why.NOT_YET)
    yield later("iat", 3000, Why.NOT_YET)
    yield later("nbf", 11, Why.NOT_YET)
    yield "exp before iat", Why.WRONG_CLAIMS, lambda f: f.signed(None, {"iat": f.seconds + 5, "exp": f.seconds + 4})
    yield "exp at iat", Why.WRONG_CLAIMS, lambda f: f.signed(None, {"iat": f.seconds, "exp": f.seconds})
    yield later("exp", 86_400 - 59, Why.TOO_LONG)
    yield later("exp", 10**9, Why.TOO_LONG)
    yield "iat long ago", Why.TOO_LONG, lambda f: f.signed(None, {"iat": 0})
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "0x1", "01", "1" * 4301):
        yield f"exp {text[:10]}", Why.MALFORMED, _with(lambda f, t: f.signed(None, _raw(f, "exp", t)), text)
    for value in (
        GONE,
        "",
        "llamagat",
        "llamagatex",
        "LLAMAGATE",
        [["llamagate"]],
        [],
        None,
        1,
        True,
        {"llamagate": 1},
    ):
        yield claim("aud", value, Why.WRONG_AUDIENCE)
    for value in (["somebody"], ["llamagate", 1], "llamagate other-gate", "*"):
        yield claim("aud", value, Why.WRONG_AUDIENCE)
    for value in (GONE, "", "https://id.exampl", "https://id.example/", "https://id.example.evil.example", None, 1):
        yield claim("iss", value, Why.WRONG_ISSUER)
    for value in ("https://ID.example", ["https://id.example"], "forge", True, {}, "https://id.example\n"):
        yield claim("iss", value, Why.WRONG_ISSUER)
    for value in (
        GONE,
        "",
        1,
        None,
        ["alice"],
        {},
        True,
        "a\nb",
        " alice",
        "alice ",
        "a" * 256,
        "a\x00",
        "a\u202eb",
        "\u2003",
    ):
        yield claim("sub", value)
    yield "sub with half a surrogate", Why.MALFORMED, lambda f: f.signed(None, _raw(f, "sub", '"\\udfff"'))
    yield claim("sub", "a" * 200)  # No more than 128 are a user.
    for value in (1, "", None, [], {}, True, "j" * 256, "j\nj", " j"):
        yield claim("jti", value)
    for value in (1, {}, {"ml-team": True}, [1], [["ml-team"]], ["ml-team", None], None, True):
        yield claim("groups", value)


def _raw(f: Forge, name: str, text: str) -> bytes:
    """A payload in which one claim is written by hand."""
    return json.dumps(f.payload(**{name: "HERE"})).replace('"HERE"', text).encode()


def _headers() -> Iterator[_Case]:
    value: Any
    for name, value, why in (
        ("crit", ["exp"], Why.MALFORMED),
        ("crit", [], Why.MALFORMED),
        ("crit", "exp", Why.MALFORMED),
        ("crit", None, Why.MALFORMED),
        ("b64", False, Why.MALFORMED),
        ("b64", True, Why.MALFORMED),
        ("zip", "DEF", Why.MALFORMED),
        ("enc", "A256GCM", Why.MALFORMED),
        ("cty", "JWT", Why.WRONG_TYPE),
        ("cty", "application/json", Why.WRONG_TYPE),
    ):
        yield f"{name} {value!r}", why, _with(lambda f, n, v: f.signed({n: v}), name, value)
    yield "b64 that is crit", Why.MALFORMED, lambda f: f.signed({"b64": False, "crit": ["b64"]})
    for value in (
        "at+jwt",
        "JWE",
        "id+jwt",
        "logout+jwt",
        "dpop+jwt",
        "JWT ",
        "",
        "application/",
        1,
        None,
        ["JWT"],
        "JWT\x00",
    ):
        yield f"typ {value!r}", Why.WRONG_TYPE, _with(lambda f, v: f.signed({"typ": v}), value)
    yield "five parts, as of a JWE", Why.MALFORMED, lambda f: f.signed({"enc": "A256GCM"}) + ".AAAA.AAAA"
    yield "a payload that is elsewhere", Why.MALFORMED, lambda f: _parts(f, payload="")
    yield "a token within a token", Why.MALFORMED, lambda f: f.signed(None, f.good().encode())
    yield "a token as a JSON text", Why.MALFORMED, lambda f: f.signed(None, json.dumps(f.good()).encode())
    yield (
        "the JSON serialization",
        Why.MALFORMED,
        lambda f: json.dumps(dict(zip(("protected", "payload", "signature"), f.good().split("."), strict=True))),
    )


def _parts(f: Forge, **other: str) -> str:
    header, payload, signed = f.good().split(".")
    return ".".join({"header": header, "payload": payload, "signature": signed, **other}.values())


def _uncanonical(segment: str) -> str:
    """Other letters for the same bytes: the last one has bits that no byte is made of, which are set here."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


def _padded(f: Forge, which: int) -> str:
    parts = f.signed(b'{"alg":"RS256","kid":"rsa" }', json.dumps(f.payload(pad="")).encode()).split(".")
    parts[which] += "=" * (-len(parts[which]) % 4 or 4)
    return ".".join(parts)


def _loose(f: Forge, which: int) -> str:
    """A token of which one segment is written in another way than it would be."""
    payload = next(
        text for n in range(3) if len(text := json.dumps(f.payload(pad="x" * n)).encode()) % 3 and len(b64(text)) % 4
    )
    parts = f.signed(b'{"alg":"RS256","kid":"rsa" }', payload).split(".")
    parts[which] = _uncanonical(parts[which])
    return ".".join(parts)


def _writing() -> Iterator[_Case]:
    for name, around in {
        "a newline behind": "{}\n",
        "CR LF behind": "{}\r\n",
        "a header behind": "{}\r\nX-User: root",
        "a blank before": " {}",
        "a blank behind": "{} ",
        "a tab before": "\t{}",
        "a byte order mark before": "\ufeff{}",
        "no-break space before": "\xa0{}",
        "a zero-width space behind": "{}\u200b",
        "a byte that is not ASCII behind": "{}\udcff",
        "a letter that is not ASCII behind": "{}\u00e9",
        "NUL behind": "{}\x00",
        "quotes around": '"{}"',
        "a comma and another one": "{0},{0}",
        "a semicolon": "{};",
        "Bearer before": "Bearer {}",
        "a dot before": ".{}",
        "a dot behind": "{}.",
        "a part more": "{}.AAAA",
        "two equals signs": "{}==",
    }.items():
        yield name, Why.MALFORMED, _with(lambda f, a: a.format(f.good()), around)
    for which, part in enumerate(("header", "payload", "signature")):
        yield f"padding behind the {part}", Why.MALFORMED, _with(_padded, which)
        yield f"loose bits in the {part}", Why.MALFORMED, _with(_loose, which)
        yield f"no {part}", Why.MALFORMED, _with(lambda f, p: _parts(f, **{p: ""}), part)
        yield f"one letter for a {part}", Why.MALFORMED, _with(lambda f, p: _parts(f, **{p: "A"}), part)
        yield f"plus and slash in the {part}", Why.MALFORMED, _with(lambda f, p: _parts(f, **{p: "ab+/"}), part)
        yield f"a Cyrillic letter in the {part}", Why.MALFORMED, _with(lambda f, p: _parts(f, **{p: "\u0430bcd"}), part)
        yield f"a newline in the {part}", Why.MALFORMED, _with(lambda f, p: _parts(f, **{p: "ab\ncd"}), part)
    for name, text in {
        "nothing": "",
        "one dot": ".",
        "two dots": "..",
        "two parts": "eyJh.eyJh",
        "three letters": "a.b.c",
        "a hundred thousand dots": "." * 100_000,
        "8 KB of one letter": "a" * 8192,
        "8 KB in three parts": f"{'a' * 2728}.{'a' * 2728}.{'a' * 2728}",
        "a megabyte": f"eyJh.{'A' * 1_000_000}.AAAA",
        "surrogates": "\ud800.\udc00.\udfff",
        "full width": "\uff41.\uff42.\uff43",
        "Arabic digits": "\u0661\u0662\u0663\u0664.AAAA.AAAA",
    }.items():
        yield name, Why.MALFORMED, _with(lambda _, t: t, text)
    yield "8193 characters", Why.MALFORMED, lambda f: (good := f.good()) + "A" * (8193 - len(good))


def _json() -> Iterator[_Case]:
    def good(f: Forge) -> str:
        return json.dumps(f.payload())

    texts: dict[str, Callable[[Forge], bytes]] = {
        "nested 17 deep": lambda f: _raw(f, "deep", "[" * 17 + "]" * 17),
        "nested 1000 deep": lambda f: _raw(f, "deep", "[" * 1000 + "]" * 1000),
        "objects 500 deep": lambda f: _raw(f, "deep", '{"a":' * 500 + "1" + "}" * 500),
        "nested and never closed": lambda _: b"[" * 5000,
        "objects never closed": lambda _: b'{"a":' * 1000,
        "an integer of 21 digits": lambda f: _raw(f, "n", "1" * 21),
        "an integer of 4301 digits": lambda f: _raw(f, "n", "1" * 4301),
        "NaN": lambda f: _raw(f, "n", "NaN"),
        "a number without end": lambda f: _raw(f, "n", "-1e999"),
        "a name twice": lambda f: good(f).replace("{", '{"sub":"root",').encode(),
        "a name twice, once escaped": lambda f: good(f).replace("{", '{"\\u0073ub":"root",').encode(),
        "a name twice within": lambda f: _raw(f, "in", '[{"a":1,"a":2}]'),
        "a byte order mark": lambda f: b"\xef\xbb\xbf" + good(f).encode(),
        "UTF-16": lambda f: good(f).encode("utf-16"),
        "UTF-16 without a mark": lambda f: good(f).encode("utf-16-le"),
        "UTF-32": lambda f: good(f).encode("utf-32"),
        "Latin-1": lambda f: _raw(f, "n", '"\u00e9"').decode().encode("latin-1"),
        "too long UTF-8": lambda f: _raw(f, "n", '"?"').replace(b"?", b"\xc0\xaf"),
        "a surrogate in UTF-8": lambda f: _raw(f, "n", '"?"').replace(b"?", b"\xed\xa0\x80"),
        "half a surrogate": lambda f: _raw(f, "n", '"\\ud83d"'),
        "a control character": lambda f: _raw(f, "n", '"\x01"'),
        "something behind": lambda f: good(f).encode() + b"{}",
        "NUL behind": lambda f: good(f).encode() + b"\0",
        "half of it": lambda f: good(f).encode()[:-1],
        "a comma too many": lambda f: good(f).encode()[:-1] + b",}",
        "a comment": lambda f: good(f).encode() + b"//",
        "single quotes": lambda f: good(f).replace('"', "'").encode(),
        "a list": lambda f: f"[{good(f)}]".encode(),
        "a text": lambda _: b'"alice"',
        "a number": lambda _: b"1",
        "null": lambda _: b"null",
        "true": lambda _: b"true",
        "blanks": lambda _: b"    ",
        "random bytes": lambda _: hashlib.sha512(b"x").digest(),
    }
    for name, text in texts.items():
        yield f"payload: {name}", Why.MALFORMED, _with(lambda f, t: f.signed(None, t(f)), text)
        yield f"header: {name}", Why.MALFORMED, _with(lambda f, t: f.signed(t(f), None), text)
    yield "payload: {}", Why.WRONG_ISSUER, lambda f: f.signed(None, b"{}")
    yield "header: {}", Why.WRONG_ALGORITHM, lambda f: f.signed(b"{}", None)


def _signatures() -> Iterator[_Case]:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    tricks: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "ES256 r = s = 0": ("ES256", lambda _: bytes(64)),
        "ES256 r = 0": ("ES256", lambda right: bytes(32) + right[32:]),
        "ES256 s = 0": ("ES256", lambda right: right[:32] + bytes(32)),
        "ES256 r = s = n": ("ES256", lambda _: order.to_bytes(32) * 2),
        "ES256 s + n": ("ES256", lambda right: right[:32] + (int.from_bytes(right[32:]) + order).to_bytes(33)),
        "ES256 r and s exchanged": ("ES256", lambda right: right[32:] + right[:32]),
        "ES256 one byte less": ("ES256", lambda right: right[:-1]),
        "ES256 one byte more": ("ES256", lambda right: right + b"\0"),
        "ES256 zeros before": ("ES256", lambda right: b"\0" + right[:32] + b"\0" + right[32:]),
        "ES384 r = s = 0": ("ES384", lambda _: bytes(96)),
        "EdDSA zeros": ("EdDSA", lambda _: bytes(64)),
        "EdDSA one byte less": ("EdDSA", lambda right: right[:-1]),
        "EdDSA one byte more": ("EdDSA", lambda right: right + b"\0"),
        "EdDSA s + order": (
            "EdDSA",
            lambda right: right[:32] + (int.from_bytes(right[32:], "little") + _ED_ORDER).to_bytes(32, "little"),
        ),
        "RS256 zeros": ("RS256", lambda _: bytes(256)),
        "RS256 one": ("RS256", lambda _: bytes(255) + b"\1"),
        "RS256 one byte less": ("RS256", lambda right: right[:-1]),
        "RS256 one byte more": ("RS256", lambda right: right + b"\0"),
        "RS256 a zero before": ("RS256", lambda right: b"\0" + right),
        "RS256 one byte": ("RS256", lambda _: b"\0"),
        "PS256 zeros": ("PS256", lambda _: bytes(256)),
    }
    for name, (algorithm, trick) in tricks.items():
        yield name, Why.WRONG_SIGNATURE, _with(lambda f, a, t: f.with_signature(t, a), algorithm, trick)
    yield "HS256 zeros", Why.WRONG_SIGNATURE, lambda f: f.good("HS256").rpartition(".")[0] + "." + b64(bytes(32))
    yield "HS256 half of it", Why.WRONG_SIGNATURE, lambda f: f.good("HS256").rpartition(".")[0] + "." + b64(bytes(16))
    yield "ES256 in DER", Why.WRONG_SIGNATURE, _in_der
    yield "RS256 over SHA-1", Why.WRONG_SIGNATURE, _over_sha1
    yield "PS256 without salt", Why.WRONG_SIGNATURE, _without_salt
    yield "another payload", Why.WRONG_SIGNATURE, lambda f: _parts(f, payload=f.good(sub="root").split(".")[1])
    yield (
        "the signature of another",
        Why.WRONG_SIGNATURE,
        lambda f: _parts(f, signature=f.good(sub="bob").split(".")[2]),
    )
    yield (
        "the header in another order",
        Why.WRONG_SIGNATURE,
        lambda f: _parts(f, header=b64(b'{"kid":"rsa","alg":"RS256"}')),
    )


_ED_ORDER = 2**252 + 27742317777372353535851937790883648493


def _in_der(f: Forge) -> str:
    text = f.signed(algorithm="ES256").rpartition(".")[0]
    key = private("ec")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return f"{text}.{b64(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))}"


def _over_sha1(f: Forge) -> str:
    text = f.signed().rpartition(".")[0]
    key = private("rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    return f"{text}.{b64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA1()))}"  # noqa: S303


def _without_salt(f: Forge) -> str:
    text = f.signed(algorithm="PS256").rpartition(".")[0]
    key = private("rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    return f"{text}.{b64(key.sign(text.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256()))}"


def _all() -> Mapping[str, Hostile]:
    found: dict[str, Hostile] = {}
    for cases in (_algorithms, _keys, _claims, _headers, _writing, _json, _signatures):
        for name, why, make in cases():
            assert name not in found, name
            found[name] = Hostile(make, why)
    return found


HOSTILE = _all()
"""By what is wrong with it."""
