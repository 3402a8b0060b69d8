import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config.limits import AmountSettings, EverybodySettings, LimitSettings
from proxy.limits.bucket import MOST
from proxy.vocabulary import Allowance, Level, Limits

MOSTS = {
    "requests_per_minute": MOST,
    "tokens_per_minute": MOST,
    "concurrent": 10**6,
    "tokens_per_day": 10**12,
    "tokens_per_month": 10**12,
}


def test_every_amount_can_be_told() -> None:
    assert list(Limits.__dataclass_fields__) == list(AmountSettings.model_fields)


def test_nothing_said_is_nothing_allowed_in_particular() -> None:
    assert () == EverybodySettings().everybodys("UTC")
    assert () == LimitSettings.model_validate({"user": {}, "models": {"*": {}}}).each("UTC")


def test_how_a_plan_takes_limits_holds_for_those_that_a_key_has_of_its_own() -> None:
    shadow = LimitSettings.model_validate({"mode": "shadow"}).each("Europe/Berlin")

    assert (Allowance(Level.KEY, Limits(), shadow=True, time_zone="Europe/Berlin"),) == shadow


def test_what_is_written_is_what_the_gate_knows_in_the_order_in_which_it_asks() -> None:
    written = LimitSettings.model_validate(
        {
            "team": {"models": {"*": {"concurrent": 7}}, "concurrent": 6},
            "user": {"tokens_per_day": 4, "models": {"b": {"tokens_per_month": 5}}},
            "models": {"b": {"concurrent": 2}, "a": {"concurrent": 3}},
            "requests_per_minute": 30,
            "request_burst": 10,
            "tokens_per_minute": "20000",
            "token_burst": "10000",
            "gpu_seconds_per_day": "2h",
            "mode": "Shadow",
        }
    )
    key = Limits(30, 10, 20000, 10000, gpu_seconds_per_day=7200)
    expected = [
        (Level.KEY, key, ""),
        (Level.KEY, Limits(concurrent=2), "b"),
        (Level.KEY, Limits(concurrent=3), "a"),
        (Level.USER, Limits(tokens_per_day=4), ""),
        (Level.USER, Limits(tokens_per_month=5), "b"),
        (Level.TEAM, Limits(concurrent=6), ""),
        (Level.TEAM, Limits(concurrent=7), "*"),
    ]

    assert tuple(Allowance(*one, shadow=True, time_zone="Asia/Tokyo") for one in expected) == written.each("Asia/Tokyo")


def test_everybodys_limits_have_a_mode_of_their_own() -> None:
    written = EverybodySettings.model_validate({"concurrent": 16, "models": {"a": {"concurrent": 1}}})

    assert (
        Allowance(Level.EVERYBODY, Limits(concurrent=16), time_zone="Asia/Tokyo"),
        Allowance(Level.EVERYBODY, Limits(concurrent=1), "a", time_zone="Asia/Tokyo"),
    ) == written.everybodys("Asia/Tokyo")


@pytest.mark.parametrize("name", MOSTS)
def test_an_amount_is_a_whole_number_within_reason(name: str) -> None:
    for good in (1, "1", MOSTS[name], str(MOSTS[name])):
        assert int(good) == getattr(AmountSettings.model_validate({name: good}).limits, name)
    for bad in (0, -1, 1.0, 1.5, True, "", "-1", "1.0", " 1", "1_0", "\u0661", [1], MOSTS[name] + 1, 10**5000):
        with pytest.raises(ValidationError, match=f"a whole number from 1 to {MOSTS[name]}"):
            AmountSettings.model_validate({name: bad})


@pytest.mark.parametrize("amount", [0, "0s", -1, True, "soon", "367d", float("nan"), float("inf"), ["2h"]])
def test_time_on_the_gpu_is_some_time(amount: object) -> None:
    with pytest.raises(ValidationError):
        AmountSettings.model_validate({"gpu_seconds_per_day": amount})


@pytest.mark.parametrize(
    ("burst", "rate"), [("request_burst", "requests_per_minute"), ("token_burst", "tokens_per_minute")]
)
def test_a_burst_needs_its_rate_in_the_same_table(burst: str, rate: str) -> None:
    with pytest.raises(ValidationError, match=f"needs {rate} in the same table"):
        AmountSettings.model_validate({burst: 5})
    with pytest.raises(ValidationError, match=f"needs {rate} in the same table"):
        LimitSettings.model_validate({rate: 5, "user": {burst: 5}})
    with pytest.raises(ValidationError, match="whole number") as refused:
        AmountSettings.model_validate({rate: 0, burst: 5})

    assert 1 == refused.value.error_count()
    assert 5 == getattr(AmountSettings.model_validate({burst: 5, rate: 6}), burst)


@pytest.mark.parametrize(
    "told", [{"user": {"mode": "shadow"}}, {"models": {"a": {"mode": "shadow"}}}, {"mode": "off"}, {"requests": 1}]
)
def test_what_has_no_place_there_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LimitSettings.model_validate(told)


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 9), max_size=3))
def test_patterns_are_made_canonical_at_every_level(patterns: dict[str, int]) -> None:
    models = {pattern: {"concurrent": most} for pattern, most in patterns.items()}
    told = LimitSettings.model_validate({"models": models, "user": {"models": models}, "team": {"models": models}})
    expected = {f"<{pattern}>": AmountSettings(concurrent=most) for pattern, most in patterns.items()}
    canonical = told.canonical("<{}>".format)

    assert (expected, expected, expected) == (canonical.models, canonical.user.models, canonical.team.models)
