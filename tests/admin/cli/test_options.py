import inspect
from collections.abc import Callable
from datetime import timedelta

import pytest
import typer

from proxy.admin.cli import certificates, identities, keys, teams, users
from proxy.admin.cli.options import Said, Told, Until, changes, count, lifetime, new_terms, patterns, said, time, until


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


@pytest.mark.parametrize(
    "command",
    [
        keys.create,
        keys.HELD.update,
        identities.add,
        certificates.add,
        certificates.HELD.update,
        users.create,
        users.update,
        teams.create,
        teams.update,
    ],
)
def test_everything_that_has_limits_of_its_own_takes_the_same(command: Callable[..., None]) -> None:
    limits = list(inspect.signature(changes).parameters)

    assert limits == [name for name in inspect.signature(command).parameters if name in limits]


def test_a_word_is_told_or_taken_away() -> None:
    assert (Said("red"), Said(None)) == (said("red"), said("none"))
    assert (Until(timedelta(days=1)), Until(None)) == (until("1d"), until("never"))
    assert ("gemma3", "llama3.2:*") == patterns("gemma3, llama3.2:*")


def test_only_what_was_told_of_a_key_is_a_change() -> None:
    assert {} == new_terms(None, None, None, None, None)
    assert {"team": None, "plan": "lab", "models": None, "lifetime": None, "note": None} == new_terms(
        Said(None), "lab", Said(None), Until(None), Said(None)
    )
    assert {"team": "red", "models": ("a", "b"), "lifetime": timedelta(1), "note": "x"} == new_terms(
        Said("red"), None, Said("a,b"), Until(timedelta(1)), Said("x")
    )


def test_a_lifetime_is_told_as_people_write_it() -> None:
    assert timedelta(days=90) == lifetime("90d")
    with pytest.raises(typer.BadParameter):
        lifetime("soon")
