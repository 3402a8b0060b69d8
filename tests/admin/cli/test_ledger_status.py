import json

import pytest

from proxy.admin.cli.ledger_status import in_short
from proxy.admin.refusals import GateNotRunning
from proxy.admin.watching import LedgerStatus, Look
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

BAD = LedgerStatus(
    waiting_bytes=4096,
    behind_seconds=3.5,
    lost_lines=1,
    torn_lines=2,
    refused_calls=3,
    unsure_calls=4,
    usage_log_lost=5,
)


def test_whatever_was_lost_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.seen = (Look(0.0, ledger=BAD),)
    result = type_in("ledger", "status")

    assert 0 == result.exit_code
    assert [
        "what value",
        "state 4 s behind: the database takes nothing",
        "bytes waiting for the book 4096",
        "seconds the book is behind 3.5",
        "lines lost 1",
        "lines torn 2",
        "calls refused for want of room 3",
        "calls let in without room 4",
        "entries the usage log lost 5",
    ] == [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_it_is_told_as_json(type_in: Type, tools: FakeTools) -> None:
    tools.seen = (Look(0.0, ledger=BAD),)

    assert {
        "waiting_bytes": 4096,
        "behind_seconds": 3.5,
        "is_full": False,
        "is_failing": False,
        "lost_lines": 1,
        "torn_lines": 2,
        "refused_calls": 3,
        "unsure_calls": 4,
        "usage_log_lost": 5,
        "state": "4 s behind: the database takes nothing",
    } == json.loads(type_in("ledger", "status", "--json").stdout)


def test_where_no_gate_runs_that_is_said(type_in: Type, tools: FakeTools) -> None:
    tools.fails = GateNotRunning("The gate does not run: nobody listens.")
    result = type_in("ledger", "status")

    assert (1, "", "The gate does not run: nobody listens.\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (LedgerStatus(), "well"),
        (LedgerStatus(waiting_bytes=10, refused_calls=3), "well"),
        (LedgerStatus(lost_lines=1), "well, but something was lost"),
        (LedgerStatus(torn_lines=1), "well, but something was lost"),
        (LedgerStatus(unsure_calls=1), "well, but something was lost"),
        (LedgerStatus(usage_log_lost=1), "well, but something was lost"),
        (LedgerStatus(behind_seconds=3.5, lost_lines=1), "4 s behind: the database takes nothing"),
        (LedgerStatus(is_full=True, behind_seconds=900.0), "full: there is no room for another line"),
        (LedgerStatus(is_full=True, is_failing=True), "failing: the disk of the journal takes nothing"),
    ],
)
def test_the_worst_is_told_in_short(status: LedgerStatus, words: str) -> None:
    assert words == in_short(status)
