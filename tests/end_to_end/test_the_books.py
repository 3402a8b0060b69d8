"""That what clients counted and what the gate wrote down is the same; the end of the session asks it of all of them."""

import ollama
import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.books import compared
from tests.end_to_end.gate import Account, Gate


def test_the_ledger_has_every_call_of_a_client_and_its_exact_counts(gate: Gate, account: Account) -> None:
    with ollama.Client(gate.url, headers=account.bearer) as client:
        answer = client.generate(MODEL, "Hello", options={"num_predict": 2})
    account.saw("/api/generate", answer.prompt_eval_count, answer.eval_count)

    compared(gate)


def test_a_token_too_many_would_be_noticed(gate: Gate, account: Account) -> None:
    endpoint, prompt, completion, outcome = account.seen[-1]
    account.seen[-1] = endpoint, prompt, completion + 1, outcome
    try:
        with pytest.raises(AssertionError):
            compared(gate)
    finally:
        account.seen[-1] = endpoint, prompt, completion, outcome
