"""Clients that break an answer off."""

import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice

import ollama
import openai
import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.gate import Account, Gate, Row
from tests.end_to_end.processes import until

PROMPT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"
TOKENS = 3000
"""Half a minute of counting on at the least."""
PROMPT_ANSWER_SECONDS = 5.0


def hear_three_pieces_of_openai(gate: Gate, account: Account) -> str:
    with (
        openai.OpenAI(base_url=f"{gate.url}/v1", api_key=account.key, max_retries=0) as client,
        client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=TOKENS, stream=True) as stream,
    ):
        texts = (choice.text for chunk in stream for choice in chunk.choices if choice.text)
        return "".join(islice(texts, 3))


def hear_three_pieces_of_ollama(gate: Gate, account: Account) -> str:
    with ollama.Client(gate.url, headers=account.bearer) as client:
        pieces = client.generate(MODEL, PROMPT, raw=True, stream=True, options={"num_predict": TOKENS})
        with closing(pieces):
            return "".join(piece.response for piece in islice(pieces, 3))


@pytest.mark.parametrize("hear", [hear_three_pieces_of_openai, hear_three_pieces_of_ollama])
def test_who_leaves_pays_what_they_heard_and_holds_nobody_up(gate: Gate, hear: Callable[[Gate, Account], str]) -> None:
    account = gate.issue(hear.__name__.rpartition("_")[2] + "-leaver")

    assert hear(gate, account)

    began = time.monotonic()
    with ollama.Client(gate.url, headers=account.bearer) as client:
        answer = client.generate(MODEL, "Hello", options={"num_predict": 1})
    waited = time.monotonic() - began

    assert 1 == answer.eval_count
    assert waited < PROMPT_ANSWER_SECONDS

    def both() -> list[Row] | None:
        rows = gate.calls(account)
        return rows if len(rows) == 2 else None

    left, served = sorted(until(both, 10, "two lines of the ledger"), key=lambda row: row["at"])
    assert ("client_left", "client_left", False) == (left["outcome"], left["reason"], left["exact"])
    assert 3 <= left["completion_tokens"] < TOKENS
    assert ("served", True) == (served["outcome"], served["exact"])
