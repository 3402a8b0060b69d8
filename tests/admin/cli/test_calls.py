import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.ledger import Mark, Part, Running
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Outcome, Usage
from tests.admin.cli.conftest import Type
from tests.fakes.book import FakeBook
from tests.fakes.tools import ENTRY, NOON, FakeTools

FLOOR = replace(ENTRY, id="e2", user="bob", usage=Usage(5, 2, exact=False), outcome=Outcome.CLIENT_LEFT, status=None)
REFUSED = replace(ENTRY, id="e3", user=None, model=None, usage=Usage(), outcome=Outcome.REFUSED, status=401)
GOES_ON = Running("r1", NOON - timedelta(seconds=90), "POST /api/chat", "bob", model="gemma3", prompt_floor=6)
SLOW = replace(ENTRY, id="e4", at=NOON - timedelta(seconds=80), total_seconds=60.0)


class Ending(FakeBook):
    """Somebody presses Ctrl-C when there is nothing more to see."""

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        entries, mark = await super().since(mark, user=user)
        if not entries:
            raise KeyboardInterrupt
        return entries, mark


def goes_on(book: FakeBook, call: Running, *ended: Entry) -> FakeBook:
    """The book, with a call that goes on and some that have ended."""
    asyncio.run(book.write(ended, Part("j", Mark(0, 1), [call])))
    return book


@pytest.fixture
def busy(tools: FakeTools) -> None:
    """A call of Bob's goes on since before one of Alice's began, which has ended."""
    tools.book = goes_on(FakeBook(), GOES_ON, SLOW)


def ids(printed: str) -> list[str]:
    return [json.loads(line)["id"] for line in printed.splitlines()]


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

    assert ["e3"] == ids(type_in("calls", "--json", "--last", "1").stdout)
    assert ["e2"] == ids(type_in("calls", "--json", "--user", "bob").stdout)


def test_calls_are_the_newest_twenty_unless_told_otherwise(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(*(replace(ENTRY, id=f"e{number}") for number in range(1, 31)))

    assert [f"e{number}" for number in range(11, 31)] == ids(type_in("calls", "--json").stdout)
    assert 30 == len(ids(type_in("calls", "--json", "--last", "100").stdout))


def test_calls_are_followed_until_ctrl_c(type_in: Type, tools: FakeTools) -> None:
    tools.book = Ending(ENTRY, FLOOR)
    told = type_in("calls", "--follow", "--json")
    table = type_in("calls", "--follow", "--last", "1")

    assert (130, ["e1", "e2"]) == (told.exit_code, ids(told.stdout))
    assert 130 == table.exit_code
    assert "≥5" in table.stdout
    assert 2 == len(table.stdout.splitlines())


def test_no_calls_are_no_lines(type_in: Type) -> None:
    assert "No calls yet.\n" == type_in("calls").stdout
    assert "" == type_in("calls", "--json").stdout
    assert "No call runs.\n" == type_in("calls", "--running").stdout
    assert "No call ran at 2026-03-01 11:50:00 UTC.\n" == type_in("calls", "--at", "10m").stdout


@pytest.mark.usefixtures("busy")
def test_what_ran_at_some_time_is_told_by_when_it_began(type_in: Type) -> None:
    _, going_on, ended = type_in("calls", "--at", "1m").stdout.splitlines()

    assert all(word in going_on.split() for word in ("bob", "gemma3", "running", "-", "≥6", "≥0", "90.00"))
    assert all(word in ended.split() for word in ("alice", "served", "60.00"))
    assert ["r1"] == ids(type_in("calls", "--at", "85s", "--json").stdout)
    assert ["r1"] == ids(type_in("calls", "--at", "1m", "--json", "--user", "bob").stdout)


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("text", ["2026-03-01T12:59", "2026-03-01T06:59-05:00"])
def test_the_time_is_taken_for_the_settings_zone_or_has_its_offset(type_in: Type, tools: FakeTools, text: str) -> None:
    tools.text = 'time_zone = "Europe/Berlin"'

    assert ["r1", "e4"] == ids(type_in("calls", "--at", text, "--json").stdout)


@pytest.mark.usefixtures("busy")
def test_what_runs_now_is_told_with_the_facts_of_any_call(type_in: Type) -> None:
    (told,) = map(json.loads, type_in("calls", "--running", "--json").stdout.splitlines())

    assert facts(ENTRY).keys() == told.keys()
    assert ("r1", "bob", "running", None, 6, False, 90.0) == (
        told["id"],
        told["user"],
        told["outcome"],
        told["status"],
        told["prompt_tokens"],
        told["exact"],
        told["total_seconds"],
    )
    assert "No call runs.\n" == type_in("calls", "--running", "--user", "alice").stdout


def test_a_call_that_is_about_to_end_is_told_with_what_it_cost(type_in: Type, tools: FakeTools) -> None:
    tools.book = goes_on(FakeBook(), replace(GOES_ON, told=replace(ENTRY, id="r1", usage=Usage(8, 9))))
    row = json.loads(type_in("calls", "--running", "--json").stdout)

    assert ("running", 8, 9, True) == (row["outcome"], row["prompt_tokens"], row["completion_tokens"], row["exact"])


def test_what_will_run_nobody_can_tell(type_in: Type) -> None:
    told = type_in("calls", "--at", "2026-03-02")

    assert (1, "That time has not come yet.\n") == (told.exit_code, told.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["--at", "1m", "--running"],
        ["--at", "1m", "--follow"],
        ["--at", "1m", "--last", "3"],
        ["--running", "--follow"],
        ["--running", "--last", "3"],
        ["--at", "soon"],
    ],
)
def test_calls_of_two_kinds_are_not_asked_for_at_once(type_in: Type, words: list[str]) -> None:
    assert 2 == type_in("calls", *words).exit_code


@pytest.mark.parametrize(
    "words", [["calls"], ["calls", "--follow"], ["calls", "--json"], ["calls", "--at", "0s"], ["calls", "--running"]]
)
def test_what_callers_wrote_cannot_steer_the_terminal(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    user, model = "[red]\x1b]0;x\x07", "m\x1b[2J\n\u202e"
    tools.book = goes_on(Ending(replace(ENTRY, user=user, model=model)), replace(GOES_ON, user=user, model=model))
    printed = type_in(*words).stdout

    assert {"\x1b", "\x07", "\u202e"}.isdisjoint(printed)
