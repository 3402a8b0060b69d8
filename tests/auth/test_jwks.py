import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.jose import Unreadable
from proxy.auth.jwks import MOST_KEYS, KeySet, read_jwks, told_keys
from proxy.errors import Misconfigured, Unauthenticated, Why
from proxy.vocabulary import Issuer
from tests.fakes.moments import NOON
from tests.fakes.tokens import GONE, SECRET, b64, jwk, pem, private, public

EVERY = ("RS256", "RS384", "PS256", "ES256", "ES384", "ES512", "EdDSA")


def keys(*entries: Any, algorithms: tuple[str, ...] = EVERY) -> KeySet:
    return read_jwks(json.dumps({"keys": entries}).encode(), algorithms)


@pytest.mark.parametrize(
    ("kid", "algorithms"),
    [
        ("rsa", {"RS256", "RS384", "PS256"}),
        ("ec", {"ES256"}),
        ("ec384", {"ES384"}),
        ("ec521", {"ES512"}),
        ("ed", {"EdDSA"}),
    ],
)
def test_a_key_is_bound_to_what_it_fits(kid: str, algorithms: set[str]) -> None:
    (key,) = keys(jwk(kid)).keys

    assert (kid, algorithms) == (key.kid, set(key.algorithms))
    assert not isinstance(key.key, bytes)
    assert pem(kid).encode() == key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_key_that_says_its_algorithm_is_for_that_one() -> None:
    (key,) = keys(jwk("rsa", alg="PS256")).keys

    assert {"PS256"} == key.algorithms


def test_what_else_is_said_of_a_key_does_not_matter() -> None:
    more = {
        "use": "sig",
        "key_ops": ["verify", "sign"],
        "x5c": ["!"],
        "x5t": 1,
        "x5u": "https://evil.example",
        "ext": True,
    }

    assert 1 == len(keys(jwk("ec", **more)).keys)


UNFIT: dict[str, Any] = {
    "a shared secret": {"kty": "oct", "kid": "x", "k": b64(SECRET)},
    "a shared secret that says RS256": {"kty": "oct", "kid": "x", "k": b64(SECRET), "alg": "RS256"},
    "RSA of 1024 bits": jwk("weak"),
    "RSA of 16384 bits": {"kty": "RSA", "n": b64(b"\xff" * 2048), "e": "AQAB"},
    "RSA with e = 1": {**jwk("rsa"), "e": "AQ"},
    "RSA with an even e": {**jwk("rsa"), "e": "BA"},
    "RSA with a giant e": {**jwk("rsa"), "e": b64(b"\xff" * 40)},
    "RSA without n": jwk("rsa", n=GONE),
    "RSA with padding": {**jwk("rsa"), "n": jwk("rsa")["n"] + "=="},
    "RSA with a number": {**jwk("rsa"), "e": 65537},
    "RSA that says ES256": jwk("rsa", alg="ES256"),
    "RSA that says HS256": jwk("rsa", alg="HS256"),
    "RSA that says none": jwk("rsa", alg="none"),
    "RSA for encrypting": jwk("rsa", use="enc"),
    "RSA with a use of null": jwk("rsa", use=None),
    "RSA for wrapping": jwk("rsa", key_ops=["wrapKey"]),
    "RSA with key_ops as a text": jwk("rsa", key_ops="verify"),
    "RSA with an algorithm that is a list": jwk("rsa", alg=["RS256"]),
    "RSA with a name that is a number": jwk("rsa", kid=1),
    "RSA that shows its private half": jwk("rsa", d="AQAB"),
    "RSA with another case": jwk("rsa", kty="rsa"),
    "EC on another curve": jwk("ec", crv="P-384"),
    "EC on secp256k1": jwk("ec", crv="secp256k1"),
    "EC without a curve": jwk("ec", crv=GONE),
    "EC with a curve that is a list": jwk("ec", crv=["P-256"]),
    "EC with a point elsewhere": jwk("ec", y=jwk("ec")["x"]),
    "EC at zero": jwk("ec", x=b64(bytes(32)), y=b64(bytes(32))),
    "EC with a short x": jwk("ec", x=b64(bytes(31))),
    "EC that says HS256": jwk("ec", alg="HS256"),
    "EC as OKP": jwk("ec", kty="OKP"),
    "OKP on X25519": jwk("ed", crv="X25519"),
    "OKP on Ed448": jwk("ed", crv="Ed448"),
    "OKP of 31 bytes": jwk("ed", x=b64(bytes(31))),
    "no key": {},
    "null": None,
    "a text": "rsa",
    "a list": [],
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_key_that_is_not_fit_is_skipped_and_the_others_are_used(name: str) -> None:
    found = keys(UNFIT[name], jwk("ed", kid="good"))

    assert ["good"] == [key.kid for key in found.keys]
    with pytest.raises(Unreadable, match="no key that fits"):
        keys(UNFIT[name])


def test_keys_for_other_algorithms_than_the_issuers_are_skipped() -> None:
    assert ["ec"] == [key.kid for key in keys(jwk("rsa"), jwk("ec"), jwk("ed"), algorithms=("ES256",)).keys]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[]}',
        b'{"keys":[],"keys":[]}',
        b"[" * 100_000,
        json.dumps({"keys": [jwk("ed")] * (MOST_KEYS + 1)}).encode(),
    ],
)
def test_what_is_no_set_of_keys_is_refused(text: bytes) -> None:
    with pytest.raises(Unreadable):
        read_jwks(text, EVERY)


PARTS = st.one_of(
    st.none(),
    st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8")),
    st.binary().map(b64),
    st.lists(st.text("verify")),
)
NAMES = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid"])


@given(st.sampled_from(["rsa", "ec", "ed"]), st.dictionaries(NAMES, PARTS, max_size=3))
def test_no_entry_makes_anything_but_a_key_or_none(kid: str, other: dict[str, Any]) -> None:
    assert 1 <= len(keys({**jwk(kid), **other}, jwk("ec384", kid="good")).keys) <= 2


# Which key is meant.


def chosen(found: KeySet, algorithm: str, kid: str | None) -> str | None:
    try:
        return found.choose(algorithm, kid).kid
    except Unauthenticated as error:
        return "refused" if error.why is Why.WRONG_KEY else error.why


@pytest.mark.parametrize(
    ("algorithm", "kid", "expected"),
    [
        ("RS256", "rsa", "rsa"),
        ("PS256", "rsa", "rsa"),
        ("RS256", "stranger", "stranger"),
        ("ES256", "ec", "ec"),
        ("ES256", None, "ec"),
        ("EdDSA", None, None),
        ("EdDSA", "ed", "refused"),  # There is one that fits, but it has no name.
        ("RS256", None, "refused"),  # There are two.
        ("ES384", None, "refused"),
        ("ES256", "rsa", "refused"),
        ("RS256", "RSA", "refused"),
        ("RS256", "", "refused"),
        ("ES384", "twice", "refused"),
    ],
)
def test_the_one_key_of_the_name_is_meant_and_no_other_is_tried(
    algorithm: str, kid: str | None, expected: str | None
) -> None:
    twice = [jwk("ec384", kid="twice"), {**public(ec.generate_private_key(ec.SECP384R1())), "kid": "twice"}]
    found = keys(jwk("rsa"), jwk("stranger"), jwk("ec"), jwk("ed", kid=GONE), *twice)

    assert expected == chosen(found, algorithm, kid)


def test_two_keys_of_a_name_are_told_apart_by_what_they_fit() -> None:
    found = keys(jwk("rsa", kid="now"), jwk("ec", kid="now"))

    assert {"RS256", "RS384", "PS256"} == found.choose("RS256", "now").algorithms
    assert {"ES256"} == found.choose("ES256", "now").algorithms


def test_a_mark_is_of_the_key_with_its_name_and_its_algorithms() -> None:
    variants = [
        jwk("rsa"),
        jwk("rsa", kid="other"),
        jwk("rsa", kid=GONE),
        jwk("rsa", alg="RS256"),
        jwk("stranger"),
    ]
    marks = {keys(one).keys[0].mark for one in variants}

    assert len(variants) == len(marks)
    assert keys(jwk("rsa")).marks == keys(jwk("rsa", x5t="new")).marks


# What the owner tells.


def issuer(**told: Any) -> Issuer:
    return Issuer("sso", "https://id.example", ("llamagate",), **told)


def certificate(kid: str) -> str:
    key = private(kid)
    assert isinstance(key, rsa.RSAPrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "id.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOON, NOON + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("text", [pem("rsa"), certificate("rsa"), f"# a word before\n{pem('rsa')}"])
def test_a_public_key_and_a_certificate_are_as_good(text: str) -> None:
    found = told_keys(issuer(pem=text, algorithms=("RS256", "ES256")))

    assert found is not None
    assert found.knows("anything")
    assert {"RS256"} == found.choose("RS256", "anything").algorithms
    assert "refused" == chosen(found, "ES256", None)


def test_a_secret_is_the_key_and_is_shown_nowhere() -> None:
    found = told_keys(issuer(secret=SECRET, algorithms=("HS256",)))

    assert found is not None
    assert SECRET == found.choose("HS256", "x").key
    assert repr(SECRET)[2:20] not in repr(found)
    assert "secret" == found.choose("HS256", None).mark


def test_keys_that_nobody_told_have_to_be_fetched() -> None:
    assert told_keys(issuer()) is None


KEY = private("ec")
assert isinstance(KEY, ec.EllipticCurvePrivateKey)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a short secret": ({"secret": SECRET[:31], "algorithms": ("HS256",)}, "31 bytes and needs at least 32"),
    "one too short for HS512": ({"secret": SECRET, "algorithms": ("HS256", "HS512")}, "needs at least 64"),
    "an empty secret": ({"secret": b"", "algorithms": ("HS256",)}, "0 bytes"),
    "a secret that is a PEM": ({"secret": pem("rsa").encode(), "algorithms": ("HS256",)}, "belongs in a PEM file"),
    "a secret that is a key of SSH": (
        {"secret": b"ssh-ed25519 " + b"A" * 40, "algorithms": ("HS256",)},
        "others may know",
    ),
    "HS256 without a secret": ({"algorithms": ("HS256",)}, "a secret goes with"),
    "RS256 with a secret": ({"secret": SECRET}, "a secret goes with"),
    "HS256 and RS256": ({"secret": SECRET, "algorithms": ("HS256", "RS256")}, "a secret goes with"),
    "HS256 with a PEM": ({"pem": pem("rsa"), "algorithms": ("HS256",)}, "a secret goes with"),
    "no algorithm": ({"algorithms": ()}, "there are the algorithms"),
    "none": ({"algorithms": ("none",)}, "there are the algorithms"),
    "nonsense": ({"pem": "nonsense"}, "does not hold a public key"),
    "nothing": ({"pem": ""}, "does not hold a public key"),
    "half a certificate": ({"pem": certificate("rsa")[:200]}, "does not hold a public key"),
    "letters from elsewhere": ({"pem": pem("rsa").replace("M", "\u041c")}, "does not hold a public key"),
    "another kind of key": ({"pem": pem("ec")}, "does not fit RS256"),
    "a short key": ({"pem": pem("weak")}, "too short"),
    "a curve that is not used": (
        {
            "pem": Ed448PrivateKey.generate()
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        },
        "no algorithm here uses",
    ),
    "a private key": (
        {"pem": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()},
        "holds a private key",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_key_that_cannot_be_used_is_told_to_the_owner_without_any_of_it(name: str) -> None:
    told, words = WRONG[name]
    with pytest.raises(Misconfigured, match=words) as raised:
        told_keys(issuer(**told))

    assert raised.value.message.startswith("issuer sso: ")
    assert not any(line in raised.value.message for line in str(told.get("pem", "-")).splitlines()[1:2])
