import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from proxy.admin.cli.app import cli
from proxy.ledger import GROUPS
from proxy.vocabulary import Outcome, Usage
from tests.admin.cli.conftest import Type
from tests.fakes.book import FakeBook
from tests.fakes.tools import ENTRY, NOON, FakeTools

FLOOR = replace(ENTRY, id="e2", user="bob", usage=Usage(5, 2, exact=False), outcome=Outcome.CLIENT_LEFT, status=None)
REFUSED = replace(ENTRY, id="e3", user=None, model=None, usage=Usage(), outcome=Outcome.REFUSED, status=401)
MEASURES = [
    "calls",
    "refused",
    "estimated",
    "suspicious",
    "prompt_tokens",
    "completion_tokens",
    "load_seconds",
    "gpu_seconds",
    "total_seconds",
    "cost",
    "elsewhere",
    "watt_hours",
]


def test_usage_is_told_in_a_table_with_floors_marked_and_a_total(type_in: Type, tools: FakeTools) -> None:
    loaded = replace(ENTRY, usage=Usage(7, 3, load_seconds=0.5), gpu_seconds=1.25)
    tools.book = FakeBook(loaded, FLOOR, REFUSED)
    heads, alice, bob, nobody, total, hint = type_in("usage").stdout.splitlines()

    assert "user   calls  refused   in  out  load s  gpu s  share" == heads.rstrip()
    assert ["alice", "1", "0", "7", "3", "0.5", "1.2", "█████▉"] == alice.split()
    assert ["bob", "1", "0", "≥5", "≥2", "0.0", "0.0", "████▏"] == bob.split()
    assert ["-", "1", "1", "0", "0", "0.0", "0.0"] == nobody.split()
    assert ["total", "3", "1", "≥12", "≥5", "0.5", "1.2"] == total.split()
    assert "≥ at least: of 1 call nobody told how many tokens they cost." == hint


def test_one_row_needs_no_total(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY)
    _, alice = type_in("usage").stdout.splitlines()

    assert "██████████" == alice.split()[-1]


def test_where_no_tokens_were_used_nobody_has_a_share(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(REFUSED)
    heads, _ = type_in("usage").stdout.splitlines()

    assert "gpu s" == heads.rstrip()[-5:]


def test_what_nothing_was_spent_of_has_no_column(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(replace(ENTRY, cost=12.345, watt_hours=0.0123), FLOOR)
    heads, alice, bob, total, _ = type_in("usage").stdout.splitlines()

    assert heads.split()[-3:] == ["EUR", "Wh", "share"]
    assert ["12.35", "0.0123"] == alice.split()[7:9]
    assert ["0.00", "0.0000"] == bob.split()[7:9]
    assert ["12.35", "0.0123"] == total.split()[7:9]
    tools.book = FakeBook(replace(ENTRY, cost=0.0000012))
    tools.text = '[ledger]\ncurrency = "CHF"'

    assert "CHF" in type_in("usage").stdout.split()
    assert "0.00000120" in type_in("usage").stdout.split()
    tools.book = FakeBook(replace(ENTRY, elsewhere=2.0))

    assert type_in("usage").stdout.split()[9:11] == ["elsewhere", "share"]


def test_counts_that_cannot_be_are_told_of(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(replace(ENTRY, usage=Usage(7, 3, exact=False, suspicious=True)))

    assert "Of 1 call more tokens were told than can be; they were cut down." in type_in("usage").stdout


def test_where_the_terminal_takes_ascii_only_it_gets_no_more(tools: FakeTools) -> None:
    tools.book = FakeBook(ENTRY, FLOOR)
    for words in (["usage"], ["calls"], ["usage", "--csv"]):
        told = CliRunner(charset="ascii").invoke(cli(), words, obj=tools)

        assert 0 == told.exit_code
        assert told.stdout.isascii()
        assert words[-1] == "--csv" or ">=5" in told.stdout
    assert "######" in CliRunner(charset="ascii").invoke(cli(), ["usage"], obj=tools).stdout


@pytest.mark.parametrize("by", GROUPS)
def test_usage_as_json_is_summed_by_any_group_under_its_own_name(type_in: Type, tools: FakeTools, by: str) -> None:
    tools.book = FakeBook(replace(ENTRY, team="red"))
    (total,) = json.loads(type_in("usage", "--by", by, "--since", "7d", "--json").stdout)

    assert [by, *MEASURES] == list(total)
    assert (1, 7, 3) == (total["calls"], total["prompt_tokens"], total["completion_tokens"])
    assert total[by]


def test_a_group_of_calls_that_had_none_is_null(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(REFUSED)

    assert [None] == [row["user"] for row in json.loads(type_in("usage", "--json").stdout)]


@pytest.mark.parametrize("words", [["--by", "user,day"], ["--by", "user", "--by", "day"], ["--by", "user, day,user"]])
def test_usage_is_summed_by_several_groups(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.book = FakeBook(ENTRY, FLOOR, replace(ENTRY, id="e4", at=NOON - timedelta(days=1)))
    rows = json.loads(type_in("usage", *words, "--json").stdout)

    assert [["user", "day", *MEASURES]] * 3 == [list(row) for row in rows]
    assert [("alice", "2026-02-28"), ("alice", "2026-03-01"), ("bob", "2026-03-01")] == [
        (row["user"], row["day"]) for row in rows
    ]
    heads, *_, total, _ = type_in("usage", *words).stdout.splitlines()

    assert ["user", "day", "calls"] == heads.split()[:3]
    assert ["total", "3", "0"] == total.split()[:3]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--user", "alice"], ["e1", "e4"]),
        (["--team", "red"], ["e4"]),
        (["--key", "k2"], ["e2"]),
        (["--key", "sk-lg_k2_SECRET2_crc"], ["e2"]),
        (["--model", "llama3.2"], ["e4"]),
        (["--user", "alice", "--model", "gemma3"], ["e1"]),
        (["--since", "1h"], ["e1", "e2"]),
        (["--since", "2026-02-28", "--until", "2026-03-01"], ["e4"]),
        (["--until", "2026-03-01T12:00"], ["e4"]),
        (["--since", "2026-03-01T13:00", "--tz", "Europe/Berlin"], ["e1", "e2"]),
        (["--since", "2026-03-01T07:00-05:00"], ["e1", "e2"]),
        (["--user", "carol"], []),
    ],
)
def test_usage_is_of_the_calls_that_are_named(
    type_in: Type, tools: FakeTools, words: list[str], told: list[str]
) -> None:
    """Each call takes a number of tokens by which it is known."""
    tools.book = FakeBook(
        replace(ENTRY, usage=Usage(1)),
        replace(ENTRY, id="e2", user="bob", key_id="k2", usage=Usage(2)),
        replace(ENTRY, id="e4", team="red", model="llama3.2", at=NOON - timedelta(hours=20), usage=Usage(4)),
    )
    rows = json.loads(type_in("usage", *words, "--json").stdout)

    assert sum(int(name[1:]) for name in told) == sum(row["prompt_tokens"] for row in rows)


def hourly(first: datetime, count: int) -> FakeBook:
    return FakeBook(*(replace(ENTRY, id=f"h{n}", at=first + timedelta(hours=n)) for n in range(count)))


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 28, 23, tzinfo=UTC), 23), (datetime(2026, 10, 24, 22, tzinfo=UTC), 25)]
)
def test_a_day_is_as_long_as_it_is_where_the_owner_lives(
    type_in: Type, tools: FakeTools, day: datetime, hours: int
) -> None:
    tools.book = hourly(day - timedelta(hours=24), 72)
    tools.text = 'time_zone = "Europe/Berlin"'
    rows = json.loads(type_in("usage", "--by", "day", "--json").stdout)
    date = f"{day + timedelta(hours=12):%Y-%m-%d}"

    assert [hours] == [row["calls"] for row in rows if row["day"] == date]
    next_day = f"{day + timedelta(hours=36):%Y-%m-%d}"
    (total,) = json.loads(type_in("usage", "--since", date, "--until", next_day, "--json").stdout)

    assert hours == total["calls"]
    in_utc = json.loads(type_in("usage", "--by", "day", "--tz", "UTC", "--json").stdout)

    assert [24] == [row["calls"] for row in in_utc if row["day"] == date]


def test_hours_and_days_are_told_in_the_order_of_time(type_in: Type, tools: FakeTools) -> None:
    tools.book = hourly(datetime(2026, 3, 1, 20, tzinfo=UTC), 8)
    rows = json.loads(type_in("usage", "--by", "hour", "--tz", "Asia/Kolkata", "--json").stdout)

    assert "2026-03-02 01:00" == rows[0]["hour"]
    assert all(earlier["hour"] < later["hour"] for earlier, later in pairwise(rows))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--tz", "Mars/Base"], "'Mars/Base' is not a time zone that this machine knows"),
        (["--since", "soon"], "not a duration"),
        (["--since", "2026-03-29T02:30", "--tz", "Europe/Berlin"], "never was in Europe/Berlin"),
        (["--by", "user,moon"], "It can by: user, team, key, model, day, hour, endpoint, outcome"),
        (["--json", "--csv"], "one of --json and --csv"),
        (["nonsense"], "No such command"),
        (["--by", "day", "export"], "Write the options of export after it"),
        (["--config", "x.toml", "export"], "Write the options of export after it"),
    ],
)
def test_what_makes_no_sense_is_told(type_in: Type, words: list[str], why: str) -> None:
    told = type_in("usage", *words)

    assert 2 == told.exit_code
    assert why in " ".join(told.stderr.split())


def test_a_time_that_ends_before_it_begins_is_told(type_in: Type) -> None:
    told = type_in("usage", "--since", "1d", "--until", "2d")

    assert (1, "That time ends before it begins.\n") == (told.exit_code, told.stderr)


def test_no_calls_are_no_rows(type_in: Type, tools: FakeTools) -> None:
    assert "No calls yet.\n" == type_in("usage").stdout
    assert "[]\n" == type_in("usage", "--json").stdout
    assert [["user", *MEASURES]] == list(csv.reader(io.StringIO(type_in("usage", "--csv").stdout)))
    tools.book = FakeBook(ENTRY)

    assert "There were no such calls.\n" == type_in("usage", "--user", "bob").stdout


def test_usage_as_csv_has_the_same_columns_and_no_formulas(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(replace(ENTRY, user='=HYPERLINK("http://x","y")', team="red, green"), REFUSED)
    text = type_in("usage", "--by", "user,team", "--csv").stdout
    heads, alice, nobody = csv.reader(io.StringIO(text, newline=""))

    assert ["user", "team", *MEASURES] == heads
    assert ['\'=HYPERLINK("http://x","y")', "red, green", "1", "0", "0", "0", "7", "3"] == alice[:8]
    assert ["", "", "1", "1"] == nobody[:4]


@pytest.mark.parametrize("words", [[], ["--by", "model"], ["--by", "user,model"], ["--json"], ["--csv"]])
def test_what_callers_wrote_cannot_steer_the_terminal(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.book = FakeBook(replace(ENTRY, user="[red]\x1b]0;x\x07", model="m\x1b[2J\n\u202e"))

    assert {"\x1b", "\x07", "\u202e"}.isdisjoint(type_in("usage", *words).stdout)
