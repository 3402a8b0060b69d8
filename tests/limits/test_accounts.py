import pytest

from proxy.limits import Account, accounts
from proxy.vocabulary import Allowance, Caller, Level, Limits, Plan

LIMITS = Limits(requests_per_minute=30)
EACH = tuple(Allowance(level, LIMITS) for level in Level)


def caller(*allowances: Allowance, team: str | None = "lab", limits: Limits | None = None) -> Caller:
    plan = Plan("default", allowances=allowances)
    return Caller("alice", "k1", plan, team=team, limits=limits or Limits())


def covers(pattern: str, model: str) -> bool:
    return model.startswith(pattern)


def test_a_call_is_counted_at_every_level_that_has_limits() -> None:
    assert (
        Account(Level.KEY, "k1", LIMITS, "team lab"),
        Account(Level.USER, "alice", LIMITS, "team lab"),
        Account(Level.TEAM, "lab", LIMITS, "team lab"),
        Account(Level.EVERYBODY, "", LIMITS),
    ) == accounts.every(caller(*EACH))


def test_who_has_no_team_has_no_share_in_one() -> None:
    assert (
        Account(Level.KEY, "k1", LIMITS, "user alice"),
        Account(Level.USER, "alice", LIMITS, "user alice"),
        Account(Level.EVERYBODY, "", LIMITS),
    ) == accounts.every(caller(*EACH, team=None))


def test_a_user_and_a_team_of_the_same_name_are_two() -> None:
    (mine,) = accounts.every(Caller("lab", "k1", Plan("default", allowances=EACH[1:2])))
    (ours,) = accounts.every(caller(EACH[2]))

    assert mine.place != ours.place


def test_who_is_under_no_limit_has_no_account() -> None:
    assert () == accounts.every(caller()) == accounts.of(caller(), "llama3.2:1b", covers)


def test_an_account_is_counted_as_its_allowance_says() -> None:
    allowance = Allowance(Level.USER, LIMITS, "llama", shadow=True, time_zone="Asia/Tokyo")

    assert (
        Account(Level.USER, "alice", LIMITS, "team lab", "llama", shadow=True, time_zone="Asia/Tokyo"),
    ) == accounts.every(caller(allowance))


@pytest.mark.parametrize(
    ("model", "patterns"),
    [("llama3.2:1b", ["", "llama", "llama3"]), ("mistral", ["", "mistral"]), ("gemma", [""]), ("", [""])],
)
def test_a_limit_on_models_counts_the_calls_for_those(model: str, patterns: list[str]) -> None:
    asks = caller(*(Allowance(Level.KEY, LIMITS, pattern) for pattern in ("", "llama", "llama3", "mistral")))

    assert patterns == [account.models for account in accounts.of(asks, model, covers)]
    assert 4 == len(accounts.every(asks))


def test_a_call_that_names_no_model_is_not_compared_to_any() -> None:
    def fails(pattern: str, model: str) -> bool:
        raise AssertionError(pattern, model)

    assert () == accounts.of(caller(Allowance(Level.KEY, LIMITS, "llama")), "", fails)


def test_a_keys_own_limits_stand_in_place_of_the_plans() -> None:
    own = Limits(requests_per_minute=5, concurrent=1)
    found = accounts.every(caller(*EACH, limits=own))

    assert [own, LIMITS, LIMITS, LIMITS] == [account.limits for account in found]
