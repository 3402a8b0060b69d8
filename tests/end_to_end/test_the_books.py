"""What the clients counted and what the gate wrote down. By its name the last file of the session."""

import ollama

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.gate import Account, Gate, Row
from tests.end_to_end.processes import until


def test_the_ledger_has_every_call_of_every_client_and_their_exact_sums(gate: Gate, account: Account) -> None:
    with ollama.Client(gate.url, headers=account.bearer) as client:  # So that there is something even when run alone.
        answer = client.generate(MODEL, "Hello", options={"num_predict": 2})
    account.saw("/api/generate", answer.prompt_eval_count, answer.eval_count)
    books = {account.user: account.seen for account in gate.accounts}
    wanted = {
        user: (len(seen), sum(told[1] for told in seen), sum(told[2] for told in seen)) for user, seen in books.items()
    }

    def written() -> list[Row] | None:
        """A client hears the end of its answer a moment before the line is written."""
        rows = [row for row in gate.asked("calls", "--last", "100000", "--json") if row["user"] in books]
        return rows if len(rows) >= sum(map(len, books.values())) else None

    rows = until(written, 10, "a line for each call")
    usage = gate.usage()

    for user, seen in books.items():
        mine = [row for row in rows if row["user"] == user]
        assert seen == [
            (row["endpoint"], row["prompt_tokens"], row["completion_tokens"], row["outcome"]) for row in mine
        ]
        assert {True} == {row["exact"] for row in mine}
    assert wanted == {
        user: (usage[user]["calls"], usage[user]["prompt_tokens"], usage[user]["completion_tokens"]) for user in books
    }
