"""What the clients counted, held against what the gate wrote down."""

from tests.end_to_end.gate import Gate, Row
from tests.end_to_end.processes import until


def compared(gate: Gate) -> None:
    """Every call of every account, and the exact sums. AssertionError where they differ."""
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
        assert {True} >= {row["exact"] for row in mine}
    assert {user: one for user, one in wanted.items() if one[0]} == {
        user: (usage[user]["calls"], usage[user]["prompt_tokens"], usage[user]["completion_tokens"])
        for user in books
        if user in usage
    }
