import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limits import Account, State
from proxy.limits.bucket import MOST, MOST_USED, UNITS
from proxy.limits.fields import duration, fields
from proxy.limits.verdict import Standing, standings
from proxy.vocabulary import Level, Limits, Tongue
from tests.fakes.moments import FakeMoments

SECOND = 1_000_000
NOW = FakeMoments(datetime(2026, 3, 30, 18, 0, tzinfo=UTC))()
OTHERS = [tongue for tongue in Tongue if tongue is not Tongue.ANTHROPIC]

_STRING = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_INTEGER = r"-?[0-9]{1,15}"
_PARAMETER = re.compile(rf"; *(?P<key>[a-z*][a-z0-9_.*-]*)=(?:(?P<text>{_STRING})|(?P<number>{_INTEGER}(?![0-9.])))")
_ITEM = re.compile(rf"(?P<name>{_STRING})(?P<parameters>(?:{_PARAMETER.pattern.replace('?P<', '?P<_')})*)")
_BETWEEN = re.compile(r"[ \t]*,[ \t]*")

Item = tuple[str, dict[str, str | int]]


def read(text: str) -> list[Item]:
    """A list of strings with parameters, as RFC 9651 §4.2.1 reads it, that has nothing else in it."""
    items: list[Item] = []
    at = 0
    while True:
        item = _ITEM.match(text, at)
        assert item is not None, text[at:]
        found = list(_PARAMETER.finditer(item["parameters"]))
        parameters = {one["key"]: int(one["number"]) if one["number"] else _unquoted(one["text"]) for one in found}
        assert len(found) == len(parameters)
        items.append((_unquoted(item["name"]), parameters))
        at = item.end()
        if at == len(text):
            return items
        between = _BETWEEN.match(text, at)
        assert between is not None, text[at:]
        at = between.end()


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def account(*, level: Level = Level.KEY, models: str = "", shadow: bool = False, **limits: Any) -> Account:
    return Account(level, "k1", Limits(**limits), models=models, shadow=shadow)


def told(*accounts: tuple[Account, State], tongue: Tongue = Tongue.OPENAI) -> dict[str, str]:
    return fields([one for of, state in accounts for one in standings(of, state, NOW)], NOW, tongue)


REQUESTS = account(requests_per_minute=60), State(requests=50 * UNITS + UNITS // 2)
TOKENS = account(tokens_per_minute=600, token_burst=1000), State(tokens=10 * UNITS)
DAY = account(tokens_per_day=5000), State(day_tokens=4900)
MONTH = account(level=Level.TEAM, tokens_per_month=10**12), State(month_tokens=1)
PLACES = account(level=Level.USER, concurrent=3), State(concurrent=1)
GPU = account(gpu_seconds_per_day=1.5), State(day_gpu_ms=200)


def test_openais_clients_find_the_names_that_they_know() -> None:
    said = told(REQUESTS, TOKENS)

    assert {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "50.5s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "990",
        "x-ratelimit-reset-tokens": "1s",
    } == {name: value for name, value in said.items() if name.startswith("x-")}


@pytest.mark.parametrize("tongue", OTHERS)
def test_only_anthropics_clients_are_told_anthropics_names(tongue: Tongue) -> None:
    plain = told(REQUESTS, TOKENS, tongue=tongue)
    said = told(REQUESTS, TOKENS, tongue=Tongue.ANTHROPIC)

    assert {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "9",
        "anthropic-ratelimit-requests-reset": "2026-03-30T18:00:51Z",
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "990",
        "anthropic-ratelimit-tokens-reset": "2026-03-30T18:00:01Z",
    } == {name: value for name, value in said.items() if name not in plain}
    assert plain == {name: value for name, value in said.items() if name in plain}


def test_every_limit_is_told_by_its_name() -> None:
    said = told(REQUESTS, TOKENS, DAY, MONTH, PLACES, GPU)

    assert [
        ("key-requests", {"q": 60, "w": 60}),
        ("key-tokens", {"q": 1000, "qu": "tokens", "w": 100}),
        ("key-tokens-day", {"q": 5000, "qu": "tokens", "w": 86_400}),
        ("team-tokens-month", {"q": 10**12, "qu": "tokens", "w": 31 * 86_400}),
        ("user-concurrent", {"q": 3, "qu": "concurrent-requests"}),
        ("key-gpu-day", {"q": 1500, "qu": "gpu-milliseconds", "w": 86_400}),
    ] == read(said["RateLimit-Policy"])
    assert [
        ("key-requests", {"r": 9, "t": 51}),
        ("key-tokens", {"r": 990, "t": 1}),
        ("key-tokens-day", {"r": 100, "t": 6 * 3600}),
        ("team-tokens-month", {"r": 10**12 - 1, "t": 30 * 3600}),
        ("user-concurrent", {"r": 2}),
        ("key-gpu-day", {"r": 1300, "t": 6 * 3600}),
    ] == read(said["RateLimit"])


def test_what_is_told_in_whole_seconds_is_rounded_up() -> None:
    said = told((account(requests_per_minute=7, request_burst=1), State(requests=UNITS // 2)))

    assert [("key-requests", {"q": 1, "w": 9})] == read(said["RateLimit-Policy"])
    assert [("key-requests", {"r": 0, "t": 5})] == read(said["RateLimit"])


def test_of_several_limits_the_tightest_is_told() -> None:
    said = told(TOKENS, DAY, MONTH)

    assert ("5000", "100", "6h0m0s") == (
        said["x-ratelimit-limit-tokens"],
        said["x-ratelimit-remaining-tokens"],
        said["x-ratelimit-reset-tokens"],
    )


def test_of_two_that_are_used_up_the_one_that_lasts_longer_is_told() -> None:
    minute = account(tokens_per_minute=600), State(tokens=600 * UNITS)
    day = account(tokens_per_day=5000), State(day_tokens=5000)

    assert "6h0m0s" == told(minute, day)["x-ratelimit-reset-tokens"] == told(day, minute)["x-ratelimit-reset-tokens"]


def test_of_those_that_share_a_name_the_tightest_is_told() -> None:
    model = account(models="llama3.2", requests_per_minute=10), State(requests=8 * UNITS)
    for order in ((REQUESTS, model), (model, REQUESTS)):
        said = told(*order)

        assert [("key-requests", {"q": 10, "w": 60})] == read(said["RateLimit-Policy"])
        assert [("key-requests", {"r": 2, "t": 48})] == read(said["RateLimit"])
        assert "10" == said["x-ratelimit-limit-requests"]


def test_a_limit_in_shadow_is_not_told() -> None:
    dark = account(shadow=True, requests_per_minute=1, tokens_per_day=1), State(requests=UNITS)

    assert told(REQUESTS) == told(dark, REQUESTS)
    assert {} == told(dark, tongue=Tongue.ANTHROPIC)


def test_places_and_the_gpu_are_neither_requests_nor_tokens() -> None:
    assert {"RateLimit", "RateLimit-Policy"} == set(told(PLACES, GPU, tongue=Tongue.ANTHROPIC))


def test_without_limits_nothing_is_told() -> None:
    assert {} == told() == told((account(), State()), tongue=Tongue.ANTHROPIC)


@pytest.mark.parametrize(
    ("took", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (120_000, "120ms"),
        (999_001, "1s"),
        (1_000_000, "1s"),
        (1_000_001, "1.001s"),
        (1_500_000, "1.5s"),
        (1_050_000, "1.05s"),
        (59_999_001, "1m0s"),
        (360 * SECOND, "6m0s"),
        (360 * SECOND + 20_000, "6m0.02s"),
        (3600 * SECOND, "1h0m0s"),
        (25 * 3600 * SECOND + 61_500_000, "25h1m1.5s"),
        (1000 * 3600 * SECOND, "1000h0m0s"),
    ],
)
def test_a_time_is_written_as_go_does(took: int, text: str) -> None:
    assert text == duration(took)


# A number has no zeros before or behind it, minutes and seconds stay below sixty.
_GO = re.compile(
    r"(?:(?P<milliseconds>[1-9]\d{0,2})ms"
    r"|(?:(?:(?P<hours>[1-9]\d*)h)?(?P<minutes>[1-5]?\d)m)?(?P<seconds>[1-5]?\d(?:\.\d{0,2}[1-9])?)s)"
)


@given(st.integers(0, 10 * SECOND) | st.integers(0, 40 * 86_400 * SECOND) | st.integers(0, MOST_USED))
def test_go_reads_the_same_time_rounded_up_to_a_millisecond(took: int) -> None:
    found = _GO.fullmatch(duration(took))

    assert found is not None
    assert -(-took // 1000) == (
        int(found["milliseconds"] or 0)
        + int(found["hours"] or 0) * 3_600_000
        + int(found["minutes"] or 0) * 60_000
        + round(float(found["seconds"] or 0) * 1000)
    )


amounts = st.none() | st.integers(1, 10) | st.integers(1, MOST)
quotas = st.none() | st.integers(1, 10) | st.integers(1, 10**12)
units = st.integers(0, 10 * UNITS) | st.integers(0, MOST_USED)
some_limits = st.builds(
    Limits, amounts, amounts, amounts, amounts, st.none() | st.integers(1, 10**6), quotas, quotas,
    st.none() | st.floats(0.001, 366 * 86_400),
)  # fmt: skip
states = st.builds(
    State, units, units, st.integers(0, 10**6), *[st.integers(0, 2 * 10**12)] * 2, st.integers(0, 10**11)
)
all_accounts = st.builds(
    Account,
    st.sampled_from(Level),
    st.just("k1"),
    some_limits,
    models=st.sampled_from(["", "llama3.2"]),
    shadow=st.booleans(),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati"]),
)


def every(rows: list[tuple[Account, State]]) -> list[Standing]:
    return [one for of, state in rows for one in standings(of, state, NOW)]


@given(st.lists(st.tuples(all_accounts, states), max_size=6), st.sampled_from(Tongue))
def test_whatever_is_used_the_answer_can_be_read_and_nothing_in_it_is_negative(
    rows: list[tuple[Account, State]], tongue: Tongue
) -> None:
    enforced = {one.name for one in every(rows) if not one.account.shadow}
    said = fields(every(rows), NOW, tongue)
    if not enforced:
        assert {} == said
        return
    policies, limits = read(said["RateLimit-Policy"]), read(said["RateLimit"])

    assert [name for name, _ in policies] == [name for name, _ in limits]
    assert len(enforced) == len(policies)
    assert enforced == {name for name, _ in policies}
    for (_, policy), (_, limit) in zip(policies, limits, strict=True):
        numbers = [value for value in (*policy.values(), *limit.values()) if isinstance(value, int)]

        assert min(numbers) >= 0
        assert limit["r"] <= policy["q"]  # type: ignore[operator]  # Both are numbers.
    for name, value in said.items():
        assert value.isascii()
        assert value.isprintable()
        if name.startswith("x-ratelimit-reset"):
            assert _GO.fullmatch(value)
        elif name.startswith("anthropic") and name.endswith("reset"):
            assert datetime.fromisoformat(value) >= datetime(2026, 3, 30, 18, tzinfo=UTC)
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
        elif name.startswith(("x-", "anthropic")):
            assert int(value) >= 0


@given(st.lists(st.tuples(all_accounts, states), max_size=6))
def test_nobody_is_told_of_more_than_the_tightest_limit_leaves(rows: list[tuple[Account, State]]) -> None:
    said = fields(every(rows), NOW, Tongue.OPENAI)
    for what in ("requests", "tokens"):
        left = [one.left for one in every(rows) if one.kind.value.split("-")[0] == what and not one.account.shadow]

        assert (str(min(left)) if left else None) == said.get(f"x-ratelimit-remaining-{what}")


def test_a_moment_in_the_future_is_told_in_whole_seconds_never_too_early() -> None:
    late = FakeMoments(datetime(2026, 12, 31, 23, 59, 59, 1, tzinfo=UTC))()
    said = fields(list(standings(account(tokens_per_day=1), State(), late)), late, Tongue.ANTHROPIC)

    assert "2027-01-01T00:00:00Z" == said["anthropic-ratelimit-tokens-reset"]
    assert "1s" == said["x-ratelimit-reset-tokens"]


@pytest.mark.parametrize(
    "text", ['"a', "a", '"a";', '"a";Q=1', '"a",', '"a" "b"', '"\u00e9"', '"a";q=1.5', '"a";q="', ""]
)
def test_the_reader_in_here_is_strict(text: str) -> None:
    with pytest.raises(AssertionError):
        read(text)
