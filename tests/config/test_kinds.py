import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.config.kinds import TimeZone, is_guessable, is_placeholder


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_a_time_zone_is_called_as_iana_calls_it(name: str) -> None:
    assert name == TypeAdapter(TimeZone).validate_python(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "Europe/Bonn",
        "europe/berlin",
        "/etc/passwd",
        "../Europe/Berlin",
        "Europe/../UTC",
        "localtime",
        "right/UTC",
        "tzdata.zi",
        "UTC\n",
        "UTC\0",
        "\ud800",
        "U" * 5000,
    ],
)
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TimeZone).validate_python(name)


def test_a_placeholder_is_known_in_any_spelling() -> None:
    assert is_placeholder("please-Change-Me")
    assert not is_placeholder("0123456789abcdef")


@pytest.mark.parametrize(
    "password",
    [
        "changeme",
        "CHANGEME",
        "change-me",
        "change_me",
        "<password>",
        "Password",
        "${PASSWORD}",
        "xxxxxxxx",
        "****",
        "secret",
    ],
)
def test_a_password_from_an_example_is_known(password: str) -> None:
    assert is_guessable(password)


@pytest.mark.parametrize("password", ["", "p", "hush", "my secret is 7 words long", "password-Yz81hQ", "postgres", "-"])
def test_any_other_password_is_let_be(password: str) -> None:
    assert not is_guessable(password)
