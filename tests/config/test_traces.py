from decimal import Decimal

import pytest
from pydantic import ValidationError

from proxy.config.settings import Settings
from proxy.config.traces import TracesSettings

ENDPOINT = "http://127.0.0.1:4318/v1/traces"


def test_told_nothing_nothing_is_traced_and_nobody_believed() -> None:
    told = TracesSettings()

    assert (None, Decimal(1), "nobody", False, "none") == (
        told.endpoint,
        told.sample,
        told.honour_traceparent,
        told.pass_traceparent,
        told.callers,
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("endpoint", "127.0.0.1:4318"),
        ("endpoint", "grpc://127.0.0.1:4317/v1/traces"),
        ("endpoint", "http://127.0.0.1:4318"),
        ("endpoint", "http://127.0.0.1:4318/"),
        ("endpoint", "http:///v1/traces"),
        ("endpoint", "http://127.0.0.1:0/v1/traces"),
        ("endpoint", "http://127.0.0.1:x/v1/traces"),
        ("endpoint", "http://[::1/v1/traces"),
        ("endpoint", "http://user:CANARY@host/v1/traces"),
        ("endpoint", f"{ENDPOINT}?token=CANARY"),
        ("endpoint", f"{ENDPOINT}\n"),
        ("sample", 1.5),
        ("sample", -0.5),
        ("sample", "half"),
        ("sample", True),
        ("honour_traceparent", "friends"),
        ("pass_traceparent", "perhaps"),
        ("callers", "names"),
        ("nothing", 1),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, told: object) -> None:
    with pytest.raises(ValidationError) as refused:
        TracesSettings.model_validate({"endpoint": ENDPOINT, name: told})

    assert "CANARY" not in str(refused.value)


def test_values_may_come_as_text_as_the_environment_has_them() -> None:
    told = TracesSettings.model_validate(
        {"endpoint": ENDPOINT, "sample": "0.25", "honour_traceparent": "Everybody", "pass_traceparent": "true"}
    )

    assert (Decimal("0.25"), "everybody", True) == (told.sample, told.honour_traceparent, told.pass_traceparent)


@pytest.mark.parametrize("told", [{"pass_traceparent": True}, {"honour_traceparent": "everybody"}])
def test_without_an_endpoint_there_is_no_trace_to_pass_on_or_to_join(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="without an endpoint nothing is traced"):
        TracesSettings.model_validate(told)


def test_proxies_can_only_be_believed_where_some_are_trusted() -> None:
    told = {"endpoint": ENDPOINT, "honour_traceparent": "proxies"}

    with pytest.raises(ValidationError, match="without trusted_proxies nobody is believed"):
        Settings.model_validate({"traces": told})

    assert ENDPOINT == Settings.model_validate({"traces": told, "trusted_proxies": "10.0.0.0/8"}).traces.endpoint
