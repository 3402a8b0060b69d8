import pytest
from pydantic import ValidationError

from proxy.config.auth import AuthSettings


def test_told_nothing_an_outage_is_survived_and_signed_requests_age_quickly() -> None:
    assert (900.0, 120.0) == (AuthSettings().outage, AuthSettings().signature_age)


@pytest.mark.parametrize(
    ("name", "told"), [("outage", "8d"), ("outage", -1), ("signature_age", "4s"), ("signature_age", "61m")]
)
def test_what_is_too_short_or_too_long_is_refused(name: str, told: object) -> None:
    with pytest.raises(ValidationError):
        AuthSettings.model_validate({name: told})


def test_an_outage_may_be_survived_by_nobody() -> None:
    assert 0 == AuthSettings.model_validate({"outage": "0s"}).outage
