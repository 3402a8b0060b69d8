from pathlib import Path

import pytest

from proxy.config.load import Loaded, Mistakes, load
from proxy.config.settings import Settings

PAIR = 'certificate = "cert.pem"\nkey = "key.pem"\n'


def told(text: str, **environment: str) -> Loaded:
    return load(text=text, file="llamagate.toml", environment=environment, flags={}, read_secret=lambda path: "")


def mistakes(text: str) -> list[str]:
    with pytest.raises(Mistakes) as raised:
        told(text)
    return [f"{one.key}: {one.problem}; {one.cure}" for one in raised.value.mistakes]


def test_without_a_certificate_the_gate_speaks_plain_http() -> None:
    assert "http://127.0.0.1:11435" == Settings().address


def test_with_a_pair_it_speaks_tls() -> None:
    settings = told(f'listen = "0.0.0.0:443"\n[tls]\n{PAIR}').settings

    assert "https://127.0.0.1:443" == settings.address
    assert (Path("cert.pem"), Path("key.pem"), None, False) == (
        settings.tls.certificate,
        settings.tls.key,
        settings.tls.client_authorities,
        settings.tls.client_required,
    )


def test_the_environment_names_the_files_too() -> None:
    environment = {"LLAMAGATE_TLS__CERTIFICATE": "~/cert.pem", "LLAMAGATE_TLS__KEY": "/key.pem"}

    assert (Path.home() / "cert.pem", Path("/key.pem")) == (
        (tls := told("", **environment).settings.tls).certificate,
        tls.key,
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('certificate = "c.pem"', "has a certificate and no key"),
        ('key = "k.pem"', "has a key and no certificate"),
        ('client_authorities = "a.pem"', "has client_authorities, and without a certificate"),
        (f"{PAIR}client_required = true", "has client_required, and no client_authorities"),
    ],
)
def test_half_of_it_is_a_mistake_with_a_cure(table: str, problem: str) -> None:
    (mistake,) = mistakes(f"[tls]\n{table}")

    assert mistake.startswith(f"tls: {problem}")
    assert mistake.endswith(
        "certificate and key together, client_authorities with them, and client_required with all three"
    )


def test_a_home_that_there_is_not_is_a_mistake() -> None:
    (mistake,) = mistakes('[tls]\ncertificate = "~nobody-of-here/c.pem"\nkey = "k.pem"')

    assert mistake.startswith("tls.certificate: begins with a home that this machine does not know")


@pytest.mark.parametrize("path", ["", "a\\u0000b"])
def test_what_is_no_path_is_a_mistake(path: str) -> None:
    (mistake,) = mistakes(f'[tls]\ncertificate = "{path}"\nkey = "k.pem"')

    assert mistake.startswith("tls.certificate: is not the path of a file; for instance /etc/llamagate/")


@pytest.mark.parametrize(
    ("listen", "rest", "readable"),
    [
        ("127.0.0.1:1", "", False),
        ("localhost:1", "", False),
        ("0.0.0.0:1", "", True),
        ("[::]:1", "", True),
        ("192.0.2.1:1", "", True),
        ("0.0.0.0:1", 'trusted_proxies = ["10.0.0.1"]', False),
        ("0.0.0.0:1", 'trusted_proxies = ["127.0.0.1", "::1"]', True),
        ("0.0.0.0:1", f"[tls]\n{PAIR}", False),
    ],
)
def test_what_others_send_can_be_read_on_the_way_where_neither_the_gate_nor_its_proxy_speaks_tls(
    listen: str, rest: str, readable: bool
) -> None:
    assert readable is told(f'listen = "{listen}"\n{rest}').settings.readable


def test_trusted_proxies_are_addresses_and_networks() -> None:
    settings = told('trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8", "::ffff:192.0.2.0/120"]').settings

    assert ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8", "192.0.2.0/24"] == list(map(str, settings.trusted_networks))
    assert ("10.0.0.1", "::1") == told("", LLAMAGATE_TRUSTED_PROXIES="10.0.0.1, ::1").settings.trusted_proxies


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        ("proxy.example", "has 'proxy.example' in it, which is neither an address nor a network"),
        ("10.0.0.1:80", "which is neither"),
        ("10.0.0.0/33", "which is neither"),
        ("10.0.0.1/8", "has 10.0.0.1/8 in it, whose address has bits that its length leaves out: 10.0.0.0/8"),
        ("0.0.0.0/0", "everybody could say that they are somebody else"),
        ("::/0", "everybody could say"),
        ("::ffff:0:0/96", "everybody could say"),
    ],
)
def test_a_proxy_that_is_none_is_a_mistake_with_a_cure(one: str, problem: str) -> None:
    (mistake,) = mistakes(f'trusted_proxies = ["{one}"]')

    assert mistake.startswith("trusted_proxies: ")
    assert problem in mistake
    assert '["127.0.0.1", "10.0.0.0/8"]' in mistake
