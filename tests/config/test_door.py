import pytest
from pydantic import ValidationError

from proxy.config.door import DoorSettings


def test_told_nothing_a_client_has_ten_seconds_and_64_connections() -> None:
    told = DoorSettings()

    assert (10.0, 1024, None) == (told.head_timeout, told.body_rate, told.connections)
    assert (256, 1000, False) == (told.connections_per_address, told.requests_per_connection, told.proxy_protocol)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("head_timeout", 0),
        ("head_timeout", "2h"),
        ("body_rate", 0),
        ("body_rate", "2GiB"),
        ("connections", 0),
        ("connections", -1),
        ("connections", True),
        ("connections_per_address", 0),
        ("requests_per_connection", 1.5),
        ("proxy_protocol", "perhaps"),
        ("nothing", 1),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, told: object) -> None:
    with pytest.raises(ValidationError):
        DoorSettings.model_validate({name: told})


def test_numbers_may_come_as_text_as_the_environment_has_them() -> None:
    told = DoorSettings.model_validate({"connections": "500", "body_rate": "2KiB", "proxy_protocol": "true"})

    assert (500, 2048, True) == (told.connections, told.body_rate, told.proxy_protocol)
