import json
import math
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.facts import facts
from proxy.ledger.prices import MOST_KNOWN, Prices
from proxy.policy.models import canonical, canonical_pattern, covered
from proxy.vocabulary import Entry, Outcome, Usage

AT = datetime(2026, 11, 25, tzinfo=UTC)


def covers(pattern: str, model: str) -> bool:
    if not model:
        raise ValueError("no name")
    return fnmatchcase(model, pattern)


def entry(model: str | None = "gemma3:4b", usage: Usage | None = None, gpu_seconds: float = 0.0) -> Entry:
    usage = usage or Usage(2_000_000, 500_000)
    return Entry("id", AT, "/api/chat", Outcome.SERVED, 200, model=model, usage=usage, gpu_seconds=gpu_seconds)


def cost(entry: Entry, *patterns: str) -> float | None:
    """The cost where each pattern has a price by its place, from 1 on, for a GPU second."""
    models = {pattern: (0.0, 0.0, place) for place, pattern in enumerate(patterns, 1)}
    return Prices(covers, {one: (0.0, 0.0, float(price)) for one, (_, _, price) in models.items()}).priced(entry).cost


def test_a_call_costs_its_tokens_and_its_seconds_at_the_price_of_its_model() -> None:
    prices = Prices(covers, {"gemma3:*": (0.5, 3.0, 0.25), "other": (100.0, 100.0, 100.0)})

    assert 2 * 0.5 + 0.5 * 3.0 + 8 * 0.25 == prices.priced(entry(gpu_seconds=8.0)).cost


def test_where_nothing_is_known_nothing_is_frozen() -> None:
    assert entry(gpu_seconds=8.0) == Prices(covers).priced(entry(gpu_seconds=8.0))


def test_what_it_would_have_cost_elsewhere_is_by_its_tokens_whatever_the_model() -> None:
    priced = Prices(covers, reference=(2.5, 10.0)).priced(entry("anything", gpu_seconds=8.0))

    assert (None, 2 * 2.5 + 0.5 * 10.0) == (priced.cost, priced.elsewhere)


def test_power_is_what_the_gpu_drew_in_its_seconds() -> None:
    assert 350 * 36 / 3600 == Prices(covers, watts=350.0).priced(entry(gpu_seconds=36.0)).watt_hours
    assert 0.0 == Prices(covers, watts=350.0).priced(entry(None)).watt_hours


def test_a_call_that_came_to_nothing_costs_nothing_and_not_none() -> None:
    prices = Prices(covers, {"*": (1.0, 1.0, 1.0)}, (1.0, 1.0), 350.0)
    priced = prices.priced(entry(usage=Usage()))

    assert (0.0, 0.0, 0.0) == (priced.cost, priced.elsewhere, priced.watt_hours)


@pytest.mark.parametrize("model", [None, ""])
def test_a_call_that_names_no_model_has_no_price(model: str | None) -> None:
    assert cost(entry(model, gpu_seconds=1.0), "*") is None


def test_a_model_that_no_pattern_covers_has_no_price() -> None:
    assert cost(entry(gpu_seconds=1.0), "llama*", "mistral") is None


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
    assert best == cost(entry(gpu_seconds=1.0), *patterns)


def test_patterns_are_those_of_plans() -> None:
    models = {canonical_pattern(one): price for one, price in [("*", (1.0,) * 3), ("Gemma3", (2.0,) * 3)]}
    prices = Prices(lambda pattern, model: covered(canonical(model), (pattern,)), models)

    assert 2.0 == prices.priced(entry("GEMMA3:latest", Usage(), 1.0)).cost
    assert 1.0 == prices.priced(entry("gemma3:4b", Usage(), 1.0)).cost
    assert prices.priced(entry("not a name!", Usage(), 1.0)).cost is None


COUNT = st.integers(0, 10**9)
PRICE = st.floats(0, 1e9)


@given(COUNT, COUNT, st.floats(0, 3e8), st.tuples(PRICE, PRICE, PRICE), st.floats(0, 1e6, exclude_min=True))
def test_whatever_is_told_a_cost_is_a_finite_number_of_json(
    prompt: int, completion: int, seconds: float, price: tuple[float, float, float], watts: float
) -> None:
    prices = Prices(covers, {"*": price}, price[:2], watts)
    priced = prices.priced(entry(usage=Usage(prompt, completion), gpu_seconds=seconds))
    told = json.loads(json.dumps(facts(priced), allow_nan=False))

    for name in ("cost", "elsewhere", "watt_hours"):
        assert math.isfinite(told[name])
        assert told[name] >= 0


def test_a_model_is_looked_up_once_and_those_that_nobody_has_do_not_pile_up() -> None:
    asked: list[str] = []

    def counting(pattern: str, model: str) -> bool:
        asked.append(model)
        return covers(pattern, model)

    prices = Prices(counting, {"gemma3:*": (0.5, 3.0, 0.25)})
    costs = [prices.priced(entry(model)).cost for model in ("gemma3:4b", "other", "", "gemma3:4b", "other", "")]
    for number in range(MOST_KNOWN * 2):
        prices.priced(entry(f"m{number}"))

    assert costs[:3] == costs[3:]
    assert ["gemma3:4b", "other", ""] == asked[:3]
    assert MOST_KNOWN * 2 + 3 == len(asked)
    assert prices == Prices(counting, {"gemma3:*": (0.5, 3.0, 0.25)})
    assert "m1999" not in repr(prices)
