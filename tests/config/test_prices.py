from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config.prices import DEAREST, ElsewhereSettings, PriceSettings


@pytest.mark.parametrize(
    ("told", "price"),
    [
        (0, 0.0),
        (3, 3.0),
        (0.1, 0.1),
        ("0.10", 0.1),
        (" 2.5 ", 2.5),
        (1e-07, 1e-07),
        ("2e-4", 0.0002),
        (Decimal("0.25"), 0.25),
        (DEAREST, 1e9),
    ],
)
def test_a_price_is_a_number_as_it_was_written(told: Any, price: float) -> None:
    assert (price, price, price) == PriceSettings.model_validate(
        {"prompt": told, "completion": told, "gpu_second": told}
    ).price


@pytest.mark.parametrize(
    "told",
    [
        -1,
        -0.01,
        True,
        float("inf"),
        float("nan"),
        10**4000,
        1e300,
        DEAREST + 1,
        "",
        "-1",
        "inf",
        "NaN",
        "0,10",
        "1_0",
        "1 EUR",
        "\u0661",
        "9" * 5000,
        [1],
        None,
    ],
)
@pytest.mark.parametrize("name", ["prompt", "completion", "gpu_second"])
def test_what_is_no_price_is_refused(name: str, told: Any) -> None:
    with pytest.raises(ValidationError, match="should be a number from 0 to 1000000000"):
        PriceSettings.model_validate({name: told})


@given(st.floats(0, DEAREST) | st.integers(0, DEAREST))
def test_every_price_that_can_be_written_is_read_as_it_is_shown(price: float) -> None:
    told = PriceSettings.model_validate({"prompt": price})

    assert told == PriceSettings.model_validate({"prompt": str(told.prompt)})
    assert (price, 0.0, 0.0) == told.price


def test_what_is_not_told_costs_nothing() -> None:
    assert (0.0, 0.0, 0.0) == PriceSettings().price
    assert (2.5, 0.0) == ElsewhereSettings(prompt=Decimal("2.5")).price
    assert (0.0, 10.0) == ElsewhereSettings(completion=Decimal(10)).price


def test_there_is_no_elsewhere_unless_its_price_is_told() -> None:
    assert None is ElsewhereSettings().price
    assert (0.0, 0.0) == ElsewhereSettings(prompt=Decimal(0)).price


@pytest.mark.parametrize("table", [PriceSettings, ElsewhereSettings])
def test_what_has_no_place_there_is_refused(table: type[PriceSettings] | type[ElsewhereSettings]) -> None:
    with pytest.raises(ValidationError):
        table.model_validate({"promt": 1})
