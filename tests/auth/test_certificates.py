from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ssl import PEM_cert_to_DER_cert

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.auth import Holder, Key, Kind
from proxy.auth.certificates import LONGEST_PEM, digest_of, first_in, holder, key_id_of, of_client
from proxy.errors import Unauthenticated, Why

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CA = trustme.CA()
ALICE = CA.issue_cert("alice@example.org")
PEM = ALICE.cert_chain_pems[0].bytes().decode()
DIGEST = sha256(PEM_cert_to_DER_cert(PEM)).digest()


def made(*usages: x509.ObjectIdentifier) -> str:
    """A certificate that says it is for these uses; none: that does not say."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOON).not_valid_after(NOON + timedelta(days=1))
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(key, None).public_bytes(Encoding.PEM).decode()


def test_a_certificate_is_known_by_the_sha_256_of_its_der() -> None:
    certificate = of_client(PEM)

    assert DIGEST == certificate.digest == digest_of(PEM_cert_to_DER_cert(PEM))
    assert key_id_of(DIGEST) == certificate.key_id
    assert (12, True) == (len(certificate.key_id), certificate.key_id.isalnum())


def test_its_dates_are_told() -> None:
    certificate = of_client(made())

    assert (NOON, NOON + timedelta(days=1)) == (certificate.since, certificate.until)


def test_of_a_chain_and_among_other_words_the_first_certificate_is_meant() -> None:
    chain = "subject=CN = alice\n" + PEM + CA.cert_pem.bytes().decode()

    assert DIGEST == of_client(chain).digest == first_in(chain.encode()).digest


def test_two_certificates_for_the_same_name_are_two() -> None:
    assert DIGEST != of_client(CA.issue_cert("alice@example.org").cert_chain_pems[0].bytes().decode()).digest


@pytest.mark.parametrize(
    "usages", [(), (ExtendedKeyUsageOID.CLIENT_AUTH,), (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)]
)
def test_a_certificate_for_clients_is_taken(usages: tuple[x509.ObjectIdentifier, ...]) -> None:
    assert of_client(made(*usages)).digest


def test_a_certificate_for_servers_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="not for clients"):
        of_client(made(ExtendedKeyUsageOID.SERVER_AUTH))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "HUSH",
        "-----BEGIN CERTIFICATE-----\nHUSH\n-----END CERTIFICATE-----\n",
        PEM[:200],
        PEM[:100] + "!" + PEM[100:],
        "\ud800",
    ],
)
def test_what_is_no_certificate_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="no certificate in PEM") as refused:
        of_client(text)

    assert "HUSH" not in str(refused.value)


def test_a_private_key_is_refused_and_its_owner_is_told() -> None:
    text = ALICE.private_key_and_cert_chain_pem.bytes().decode()
    with pytest.raises(ValueError, match="private key in this file") as refused:
        of_client(text)

    assert not any(line in str(refused.value) for line in text.splitlines()[1:-1])


def test_a_file_that_does_not_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too much"):
        of_client(PEM + "x" * LONGEST_PEM)


def found(key: Key | None) -> Holder | None:
    return None if key is None else Holder(key)


KEY = Key(key_id_of(DIGEST), "alice", "default", NOON, kind=Kind.CERTIFICATE, digest=DIGEST)


async def test_whoever_shows_a_certificate_that_is_on_record_is_its_holder() -> None:
    asked = []

    async def find(key_id: str) -> Holder | None:
        asked.append(key_id)
        return Holder(KEY)

    assert KEY == (await holder(find, DIGEST.hex())).key
    assert [KEY.id] == asked


@pytest.mark.parametrize(
    ("shown", "key", "why"),
    [
        (DIGEST.hex(), None, Why.UNKNOWN),
        (DIGEST.hex(), Key(KEY.id, "alice", "default", NOON, digest=DIGEST), Why.UNKNOWN),
        (DIGEST.hex(), Key(KEY.id, "alice", "default", NOON, kind=Kind.IDENTITY, digest=DIGEST), Why.UNKNOWN),
        (DIGEST.hex(), Key(KEY.id, "alice", "default", NOON, kind=Kind.CERTIFICATE, digest=bytes(32)), Why.UNKNOWN),
        ("", KEY, Why.MALFORMED),
        (DIGEST.hex().upper() + "!", KEY, Why.MALFORMED),
        ("\u0661" * 64, KEY, Why.MALFORMED),
    ],
    ids=("nobody", "an API key", "an identity", "another certificate", "nothing", "capitals and more", "other digits"),
)
async def test_nobody_else_is_anybody(shown: str, key: Key | None, why: Why) -> None:
    async def find(_: str) -> Holder | None:
        return found(key)

    with pytest.raises(Unauthenticated) as refused:
        await holder(find, shown)

    assert why == refused.value.why
