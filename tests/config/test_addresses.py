import pytest

from proxy.config.addresses import host_and_port, is_loopback, is_unspecified


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [("::1", 80, "[::1]:80"), ("10.0.0.1", 0, "10.0.0.1:0"), ("box.lan", 65535, "box.lan:65535")],
)
def test_an_address_is_a_host_and_a_port(host: str, port: int, text: str) -> None:
    assert (host, port) == host_and_port(text)


@pytest.mark.parametrize("text", ["", "11435", ":1", "h", "::1:80", "[::1]", "[x]:80", "h:65536", "h:-1", "a b:1"])
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"needs|has"):
        host_and_port(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "Localhost"])
def test_only_this_machine_reaches_its_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example"])  # noqa: S104  # Nothing is bound.
def test_others_reach_what_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_every_address_of_this_machine_is_none_in_particular() -> None:
    assert is_unspecified("0.0.0.0")  # noqa: S104  # Nothing is bound.
    assert is_unspecified("::")
    assert not is_unspecified("10.0.0.1")
    assert not is_unspecified("box")
