from typing import Any

import pytest
from pydantic import ValidationError

from proxy.config.ledger import LedgerSettings


def test_told_nothing_every_line_is_kept_for_ever_and_no_call_goes_without() -> None:
    ledger = LedgerSettings()

    assert (True, 256 * 2**20, None) == (ledger.required, ledger.spool, ledger.keep)
    assert (False, 30 * 86_400.0, False) == (ledger.usage_log, ledger.usage_log_keep, ledger.hash_addresses)
    assert ("EUR", None) == (ledger.currency, ledger.watts)


@pytest.mark.parametrize("name", ["keep", "usage_log_keep"])
@pytest.mark.parametrize(
    ("told", "kept"), [("90d", 7_776_000.0), (3600, 3600.0), ("forever", None), (" Forever ", None), (None, None)]
)
def test_things_are_kept_for_some_time_or_for_ever(name: str, told: Any, kept: float | None) -> None:
    assert kept == getattr(LedgerSettings.model_validate({name: told}), name)


@pytest.mark.parametrize("name", ["keep", "usage_log_keep"])
@pytest.mark.parametrize("told", [0, "0s", 3599, "59m", -1, True, "never", "101w101y", float("inf"), float("nan"), []])
def test_what_is_no_time_or_too_short_is_refused(name: str, told: Any) -> None:
    with pytest.raises(ValidationError):
        LedgerSettings.model_validate({name: told})


@pytest.mark.parametrize(("told", "bytes_of_it"), [("1MiB", 2**20), ("1024GiB", 2**40), (2_000_000, 2_000_000)])
def test_a_spool_has_room(told: Any, bytes_of_it: int) -> None:
    assert bytes_of_it == LedgerSettings.model_validate({"spool": told}).spool


@pytest.mark.parametrize("told", [0, "1023KiB", "1025GiB", "lots", -1, None])
def test_a_spool_without_room_or_without_end_is_refused(told: Any) -> None:
    with pytest.raises(ValidationError):
        LedgerSettings.model_validate({"spool": told})


@pytest.mark.parametrize("told", ["E", "EUR", "usd", "Credits"])
def test_a_currency_is_a_few_letters(told: str) -> None:
    assert told == LedgerSettings(currency=told).currency


@pytest.mark.parametrize("told", ["", "EUR ", "€", "EUR1", "EUR\n", "a" * 9, "<b>", 1, None])
def test_what_is_no_currency_is_refused(told: Any) -> None:
    with pytest.raises(ValidationError):
        LedgerSettings.model_validate({"currency": told})


@pytest.mark.parametrize(("told", "watts"), [(350, 350), ("0.5", 0.5), (1_000_000, 1_000_000)])
def test_power_is_some_watts(told: Any, watts: float) -> None:
    assert watts == LedgerSettings.model_validate({"watts": told}).watts


@pytest.mark.parametrize("told", [0, "0.0", -1, True, 1_000_001, float("inf"), float("nan"), "350W", ""])
def test_what_is_no_power_is_refused(told: Any) -> None:
    with pytest.raises(ValidationError, match="should be a number above 0 and up to 1000000"):
        LedgerSettings.model_validate({"watts": told})


def test_what_has_no_place_there_is_refused() -> None:
    with pytest.raises(ValidationError):
        LedgerSettings.model_validate({"require": True})
