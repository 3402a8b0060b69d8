import json
from dataclasses import replace

import pytest

from proxy.admin.cli.ledger import By
from proxy.ledger import GROUPS
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Outcome, Usage
from tests.admin.cli.conftest import Type
from tests.fakes.book import FakeBook
from tests.fakes.tools import ENTRY, FakeTools

FLOOR = replace(ENTRY, id="e2", user="bob", usage=Usage(5, 2, exact=False), outcome=Outcome.CLIENT_LEFT, status=None)
REFUSED = replace(ENTRY, id="e3", user=None, model=None, usage=Usage(), outcome=Outcome.REFUSED, status=401)


class Ending(FakeBook):
    """Somebody presses Ctrl-C when there is nothing more to see."""

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        entries, mark = await super().since(mark, user=user)
        if not entries:
            raise KeyboardInterrupt
        return entries, mark


def test_calls_are_told_in_a_table_with_floors_marked(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY, FLOOR, replace(REFUSED, reason="invalid_api_key"))
    _, served, left, refused = type_in("calls").stdout.splitlines()

    assert all(word in served.split() for word in ("alice", "gemma3", "served", "200", "7", "3", "1.50"))
    assert all(word in left.split() for word in ("bob", "client_left", "≥5", "≥2"))
    assert all(word in refused.split() for word in ("invalid_api_key", "401", "-"))


def test_calls_as_json_are_one_object_a_line(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY, FLOOR)
    lines = type_in("calls", "--json").stdout.splitlines()

    assert [facts(ENTRY), facts(FLOOR)] == [json.loads(line) for line in lines]


def test_calls_can_be_fewer_and_of_one_user(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY, FLOOR, REFUSED)

    assert ["e3"] == [json.loads(line)["id"] for line in type_in("calls", "--json", "--last", "1").stdout.splitlines()]
    assert "e2" == json.loads(type_in("calls", "--json", "--user", "bob").stdout)["id"]


def test_calls_are_followed_until_ctrl_c(type_in: Type, tools: FakeTools) -> None:
    tools.book = Ending(ENTRY, FLOOR)
    told = type_in("calls", "--follow", "--json")
    table = type_in("calls", "--follow", "--last", "1")

    assert (130, ["e1", "e2"]) == (told.exit_code, [json.loads(line)["id"] for line in told.stdout.splitlines()])
    assert 130 == table.exit_code
    assert "≥5" in table.stdout
    assert 2 == len(table.stdout.splitlines())


def test_no_calls_are_no_lines(type_in: Type) -> None:
    assert "No calls yet.\n" == type_in("calls").stdout
    assert "" == type_in("calls", "--json").stdout
    assert "No calls yet.\n" == type_in("usage").stdout
    assert "[]\n" == type_in("usage", "--json").stdout


def test_usage_is_told_in_a_table_with_floors_marked(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY, FLOOR, REFUSED)
    heads, alice, bob, nobody, hint = type_in("usage").stdout.splitlines()

    assert ["user", "calls", "refused", "in", "out", "busy", "seconds"] == heads.split()
    assert ["alice", "1", "0", "7", "3", "1.5"] == alice.split()
    assert ["bob", "1", "0", "≥5", "≥2", "1.5"] == bob.split()
    assert ["-", "1", "1", "0", "0", "1.5"] == nobody.split()
    assert hint.startswith("≥")


@pytest.mark.parametrize("by", GROUPS)
def test_usage_as_json_is_summed_by_any_group(type_in: Type, tools: FakeTools, by: str) -> None:
    tools.book = FakeBook(ENTRY)
    (total,) = json.loads(type_in("usage", "--by", by, "--since", "7d", "--json").stdout)

    assert (by, 1, 7, 3) == (total["by"], total["calls"], total["prompt_tokens"], total["completion_tokens"])


def test_the_choices_are_the_groups_of_the_ledger() -> None:
    assert list(GROUPS) == [by.value for by in By]


@pytest.mark.parametrize("words", [["calls"], ["calls", "--follow"], ["calls", "--json"], ["usage", "--by", "model"]])
def test_what_callers_wrote_cannot_steer_the_terminal(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.book = Ending(replace(ENTRY, user="[red]\x1b]0;x\x07", model="m\x1b[2J\n\u202e"))
    printed = type_in(*words).stdout

    assert {"\x1b", "\x07", "\u202e"}.isdisjoint(printed)
