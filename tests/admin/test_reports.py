from dataclasses import fields, replace

import pytest

from proxy.admin import reports
from proxy.admin.refusals import NotDone
from proxy.ledger import GROUPS, Sum, Wanted


def test_groups_are_told_one_by_one_or_with_commas_and_count_once() -> None:
    assert ("day", "user", "model") == reports.groups(["day, user", "model", "day"])
    assert GROUPS == reports.groups(GROUPS)
    assert () == reports.groups([])


@pytest.mark.parametrize("told", ["moon", "", "user,", "User", "user;day"])
def test_a_group_that_there_is_not_is_told_with_those_that_there_are(told: str) -> None:
    with pytest.raises(NotDone, match=f"It can by: {', '.join(GROUPS)}"):
        reports.groups([told])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Base",
        "Europe",
        "/etc/passwd",
        "../../etc/passwd",
        "a\0b",
        "\udc80",
        "x" * 5000,
        "tzdata.zi",
        "localtime",
        "right/Europe/Berlin",
    ],
)
def test_a_time_zone_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(NotDone, match="is not a time zone"):
        reports.zone(name)


@pytest.mark.parametrize("name", ["user", "team", "key", "model"])
def test_nobody_has_a_name_that_is_no_text(name: str) -> None:
    with pytest.raises(NotDone, match="not UTF-8"):
        reports.checked(replace(Wanted(("user",)), **{name: "\udcff"}))  # type: ignore[arg-type]


def test_what_is_wanted_holds_no_whole_key() -> None:
    assert Wanted(("user",), key="k1") == reports.checked(Wanted(("user", "user"), key="sk-lg_k1_SECRET1_crc"))


def test_sums_together_are_the_sum_of_each_measure() -> None:
    measures = [one.name for one in fields(Sum) if one.name != "groups"]
    first = Sum(("a",), **{name: place for place, name in enumerate(measures, 1)})
    second = Sum(("b",), **dict.fromkeys(measures, 100))
    whole = reports.together([first, second])

    assert () == whole.groups
    assert [100 + place for place, _ in enumerate(measures, 1)] == [getattr(whole, name) for name in measures]
    assert Sum(()) == reports.together([])


def test_tokens_are_those_of_prompts_and_answers() -> None:
    assert 7 == reports.tokens(Sum((), prompt_tokens=3, completion_tokens=4))
