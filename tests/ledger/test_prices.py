import math
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.prices import MOST_KNOWN, Costs, Prices
from proxy.policy.models import canonical, canonical_pattern, covered
from proxy.vocabulary import Usage


def covers(pattern: str, model: str) -> bool:
    if not model:
        raise ValueError("no name")
    return fnmatchcase(model, pattern)


MODEL = "gemma3:4b"
USAGE = Usage(2_000_000, 500_000)


def cost(model: str | None, *patterns: str) -> float | None:
    """Of a GPU second, where each pattern has a price by its place, from 1 on."""
    return (
        Prices(covers, {one: (0.0, 0.0, float(place)) for place, one in enumerate(patterns, 1)})
        .of(model, USAGE, 1.0)
        .cost
    )


def test_a_call_costs_its_tokens_and_its_seconds_at_the_price_of_its_model() -> None:
    prices = Prices(covers, {"gemma3:*": (0.5, 3.0, 0.25), "other": (100.0, 100.0, 100.0)})

    assert 2 * 0.5 + 0.5 * 3.0 + 8 * 0.25 == prices.of(MODEL, USAGE, 8.0).cost


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert Costs() == Prices(covers).of(MODEL, USAGE, 8.0)


def test_what_it_would_have_cost_elsewhere_is_by_its_tokens_whatever_the_model() -> None:
    costs = Prices(covers, reference=(2.5, 10.0)).of("anything", USAGE, 8.0)

    assert Costs(None, 2 * 2.5 + 0.5 * 10.0) == costs


def test_power_is_what_the_gpu_drew_in_its_seconds() -> None:
    assert 350 * 36 / 3600 == Prices(covers, watts=350.0).of(MODEL, USAGE, 36.0).watt_hours
    assert 0.0 == Prices(covers, watts=350.0).of(None, USAGE, 0.0).watt_hours


def test_a_call_that_came_to_nothing_costs_nothing_and_not_none() -> None:
    prices = Prices(covers, {"*": (1.0, 1.0, 1.0)}, (1.0, 1.0), 350.0)

    assert (0.0, 0.0, 0.0) == prices.of(MODEL, Usage(), 0.0)


@pytest.mark.parametrize("model", [None, ""])
def test_a_call_that_names_no_model_has_no_price(model: str | None) -> None:
    assert cost(model, "*") is None


def test_a_model_that_no_pattern_covers_has_no_price() -> None:
    assert cost(MODEL, "llama*", "mistral") is None


@pytest.mark.parametrize(
    ("patterns", "best"),
    [
        (("*", "gemma3:*", "gemma3:4b"), 3),
        (("gemma3:4b", "gemma3:*", "*"), 1),
        (("*:*", "*"), 2),
        (("g*", "gemma*", "ge*"), 2),
        (("*a3:4b", "gemma*", "*"), 1),
        (("gemma3*", "*ma3:4b"), 1),
    ],
)
def test_the_most_specific_pattern_wins_then_the_longest_then_the_first(patterns: tuple[str, ...], best: int) -> None:
    assert best == cost(MODEL, *patterns)


def test_patterns_are_those_of_plans() -> None:
    models = {canonical_pattern(one): price for one, price in [("*", (1.0,) * 3), ("Gemma3", (2.0,) * 3)]}
    prices = Prices(lambda pattern, model: covered(canonical(model), (pattern,)), models)

    assert 2.0 == prices.of("GEMMA3:latest", Usage(), 1.0).cost
    assert 1.0 == prices.of("gemma3:4b", Usage(), 1.0).cost
    assert prices.of("not a name!", Usage(), 1.0).cost is None


COUNT = st.integers(0, 10**9)
PRICE = st.floats(0, 1e9)


@given(COUNT, COUNT, st.floats(0, 3e8), st.tuples(PRICE, PRICE, PRICE), st.floats(0, 1e6, exclude_min=True))
def test_whatever_is_told_a_cost_is_a_finite_number(
    prompt: int, completion: int, seconds: float, price: tuple[float, float, float], watts: float
) -> None:
    prices = Prices(covers, {"*": price}, price[:2], watts)
    for told in prices.of(MODEL, Usage(prompt, completion), seconds):
        assert told is not None
        assert math.isfinite(told)
        assert told >= 0


def test_a_model_is_looked_up_once_and_those_that_nobody_has_do_not_pile_up() -> None:
    asked: list[str] = []

    def counting(pattern: str, model: str) -> bool:
        asked.append(model)
        return covers(pattern, model)

    prices = Prices(counting, {"gemma3:*": (0.5, 3.0, 0.25)})
    costs = [prices.of(model, USAGE, 0.0).cost for model in ("gemma3:4b", "other", "", "gemma3:4b", "other", "")]
    for number in range(MOST_KNOWN * 2):
        prices.of(f"m{number}", USAGE, 0.0)

    assert costs[:3] == costs[3:]
    assert ["gemma3:4b", "other", ""] == asked[:3]
    assert MOST_KNOWN * 2 + 3 == len(asked)
    assert prices == Prices(counting, {"gemma3:*": (0.5, 3.0, 0.25)})
    assert "m1999" not in repr(prices)
