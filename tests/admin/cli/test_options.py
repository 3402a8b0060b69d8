import inspect
from datetime import timedelta

import pytest
import typer

from proxy.admin.cli import keys
from proxy.admin.cli.options import Told, changes, count, lifetime, time


@pytest.mark.parametrize(("text", "told"), [("none", None), ("0", 0), ("1000000000000", 10**12)])
def test_an_amount_is_a_number_or_none(text: str, told: int | None) -> None:
    assert Told(told) == count(text)


@pytest.mark.parametrize(("text", "told"), [("none", None), ("90", 90.0), ("1h30m", 5400.0), ("1.5s", 1.5)])
def test_a_time_is_told_as_people_write_it_or_none(text: str, told: float | None) -> None:
    assert Told(told) == time(text)


@pytest.mark.parametrize("text", ["", "None", "-1", "1.5", "1e3", "1_000", "٣", "9" * 19, "many"])
def test_anything_else_is_no_amount(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        count(text)


def test_only_what_was_told_is_a_change() -> None:
    nothing = (None,) * 7

    assert {} == changes(*nothing)
    assert {"request_burst": None, "concurrent": 2} == changes(None, Told(None), None, Told(2), None, None, None)


def test_a_key_is_issued_and_changed_with_the_same_limits() -> None:
    limits = list(inspect.signature(changes).parameters)

    assert limits == [name for name in inspect.signature(keys.create).parameters if name in limits]
    assert limits == [name for name in inspect.signature(keys.update).parameters if name in limits]


def test_a_lifetime_is_told_as_people_write_it() -> None:
    assert timedelta(days=90) == lifetime("90d")
    with pytest.raises(typer.BadParameter):
        lifetime("soon")
