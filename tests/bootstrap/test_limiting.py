from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.bootstrap.limiting import covers, spent_by
from proxy.limits import Account, Cost
from proxy.limits.windows import EPOCH, Window
from proxy.vocabulary import Entry, Level, Limits, Outcome, Usage
from tests.conftest import OpenGate
from tests.fakes.answers import question
from tests.fakes.book import FakeBook
from tests.fakes.upstream import RecordingUpstream, whole

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = Account(Level.USER, "alice", Limits(tokens_per_day=100), "user alice")


def entry(
    number: int, model: str | None, tokens: int, *, user: str = "alice", team: str | None = None, at: datetime = NOON
) -> Entry:
    return Entry(
        f"c{number}", at, "/api/chat", Outcome.SERVED, 200, user=user, team=team, model=model,
        usage=Usage(tokens, 1), gpu_seconds=0.5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "model", "covered"),
    [
        ("*/*/*:*", "llama3.2:1b", True),
        ("registry.ollama.ai/library/llama3.2:*", "llama3.2:1b", True),
        ("registry.ollama.ai/library/mistral:latest", "llama3.2:1b", False),
        ("*/*/*:*", "no model at all", False),
        ("*/*/*:*", "", False),
    ],
)
def test_a_pattern_covers_names_and_nothing_else(pattern: str, model: str, covered: bool) -> None:
    assert covered == covers(pattern, model)


async def test_what_was_spent_is_what_the_ledger_has_since_the_window_began() -> None:
    book = FakeBook()
    await book.write(
        [
            entry(1, "llama3.2:1b", 9),
            entry(2, "mistral:latest", 19),
            entry(3, None, 4),
            entry(4, "llama3.2:1b", 99, user="bob"),
            entry(5, "llama3.2:1b", 99, at=NOON - timedelta(days=1)),
            entry(6, "llama3.2:1b", 7, team="club"),
        ]
    )
    midnight = Window((NOON - timedelta(hours=12) - EPOCH) // timedelta(microseconds=1), 0)
    of_llama = Account(Level.USER, "alice", Limits(), models="registry.ollama.ai/library/llama3.2:*")

    assert Cost(35, 1500) == await spent_by(book)(ACCOUNT, midnight)
    assert Cost(10, 500) == await spent_by(book)(of_llama, midnight)
    assert Cost(8, 500) == await spent_by(book)(replace(ACCOUNT, place="team club"), midnight)
    assert Cost(11, 500) == await spent_by(book, lambda: 3)(ACCOUNT, midnight)


async def test_a_name_that_nobody_checks_does_not_bring_the_limits_down(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    owners = {"owner": True, "grants": ["health", "read", "inference", "manage", "account", "outbound"]}
    gate = await open_gate(plans={"default": {**owners, "limits": {"models": {"*": {"concurrent": 1}}}}})
    upstream.says(whole(b'{"results":[]}'))
    told = await gate.ask(gate.post("/api/experimental/web_search", {**question(), "model": "no model at all"}))

    assert 500 != told.status, told.body
