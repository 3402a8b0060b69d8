import json
from dataclasses import replace

import pytest

from proxy.admin.cli.top import Pace, paces
from proxy.admin.refusals import GateNotRunning
from proxy.admin.watching import LedgerStatus, Look
from proxy.ledger.under_way import Stage, UnderWay
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

CALL = UnderWay("req_1", "alice", "red", "k1", "/api/chat", "gemma3:4b", Stage.ANSWERING, 12.25, 26, 40, 6400)
WAITING = UnderWay("req_2", "bob\x1b[2J", None, "k2", "/v1/embeddings", None, Stage.WAITING, 5.0, 7, 0, 0)
SEEN = (
    Look(10.0, (replace(CALL, completion_tokens=20, seconds=11.25), replace(WAITING, seconds=4.0))),
    Look(11.0, (CALL, WAITING), 3, LedgerStatus(behind_seconds=4.2)),
)


@pytest.fixture(autouse=True)
def seen(tools: FakeTools) -> None:
    tools.seen = SEEN


def test_who_runs_what_is_printed_once(type_in: Type) -> None:
    result = type_in("top", "--once")
    head, heads, *rows = result.stdout.splitlines()

    assert 0 == result.exit_code
    assert (
        "5 calls under way (3 more than are shown) · 20.0 tokens/s · ledger 4 s behind: the database takes nothing"
        == head
    )
    assert "user key model endpoint state age tokens tokens/s bytes out" == " ".join(heads.split())
    assert [
        "alice k1 gemma3:4b /api/chat answering 12.2 s 40 20.0 6400",
        "bob\\x1b[2J k2 - /v1/embeddings waiting for the model 5.0 s 0 0.0 0",
    ] == [" ".join(row.split()) for row in rows]


def test_where_nothing_runs_there_is_only_the_head(type_in: Type, tools: FakeTools) -> None:
    tools.seen = (Look(0.0), Look(1.0))

    assert "0 calls under way · 0.0 tokens/s · ledger well\n" == type_in("top", "--once").stdout


def test_what_runs_is_told_as_json(type_in: Type) -> None:
    told = json.loads(type_in("top", "--json").stdout)

    assert (5, 20.0, 4.2) == (told["under_way"], told["tokens_per_second"], told["ledger"]["behind_seconds"])
    assert {
        "id": "req_1",
        "user": "alice",
        "team": "red",
        "key_id": "k1",
        "endpoint": "/api/chat",
        "model": "gemma3:4b",
        "stage": "answering",
        "seconds": 12.25,
        "prompt_tokens": 26,
        "completion_tokens": 40,
        "bytes_out": 6400,
        "tokens_per_second": 20.0,
    } == told["calls"][0]


@pytest.mark.parametrize("words", [["top"], ["top", "--once"], ["top", "--json"]])
def test_where_no_gate_runs_that_is_said(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.fails = GateNotRunning("The gate does not run: nobody listens.")
    result = type_in(*words)

    assert (1, "", "The gate does not run: nobody listens.\n") == (result.exit_code, result.stdout, result.stderr)


def test_who_has_seen_enough_ends_it_with_130(type_in: Type, tools: FakeTools) -> None:
    tools.seen = SEEN[:1]

    assert 130 == type_in("top", "--once").exit_code


def test_a_pace_is_that_of_the_last_seconds_in_which_the_call_was_seen() -> None:
    looks = [
        Look(at, (replace(CALL, completion_tokens=tokens, seconds=at),))
        for at, tokens in ((10.0, 0), (11.0, 10), (12.0, 50))
    ]

    assert [25.0] == [one.tokens_per_second for one in paces(looks)]
    assert [40.0] == [one.tokens_per_second for one in paces(looks[1:])]
    assert [None] == [one.tokens_per_second for one in paces(looks[2:])]


def test_a_call_that_is_new_has_said_all_of_it_meanwhile_and_of_an_old_one_nobody_knows() -> None:
    new, old = replace(CALL, seconds=1.5), replace(CALL, id="req_3", seconds=60.0)

    assert [Pace(new, 20.0), Pace(old, None)] == paces([Look(10.0), Look(12.0, (new, old))])


def test_no_pace_is_below_nothing_even_where_counts_are_corrected() -> None:
    looks = [Look(1.0, (CALL,)), Look(2.0, (replace(CALL, completion_tokens=1),))]

    assert [0.0] == [one.tokens_per_second for one in paces(looks)]
