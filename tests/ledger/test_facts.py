from datetime import UTC, datetime, timedelta, timezone

from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Outcome, Usage


def test_an_entry_is_told_flat_and_in_utc() -> None:
    entry = Entry(
        id="e1",
        at=datetime(2026, 3, 1, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1))),
        endpoint="POST /api/chat",
        outcome=Outcome.CLIENT_LEFT,
        status=200,
        reason="client_left",
        user="alice",
        team="lab",
        key_id="k1",
        plan="default",
        model="gemma3",
        stream=True,
        usage=Usage(7, 3, exact=False, load_seconds=0.5, prompt_seconds=0.1, completion_seconds=0.2),
        gpu_seconds=0.8,
        first_byte_seconds=0.7,
        total_seconds=1.5,
        bytes_in=10,
        bytes_out=20,
        peer="127.0.0.1",
        changes=("num_ctx=dropped", "keep_alive=300"),
        prompt_cut=True,
        cost=0.25,
        elsewhere=1.5,
    )

    assert {
        "id": "e1",
        "at": "2026-03-01T12:00:00.250Z",
        "user": "alice",
        "team": "lab",
        "key_id": "k1",
        "plan": "default",
        "endpoint": "POST /api/chat",
        "model": "gemma3",
        "stream": True,
        "outcome": "client_left",
        "status": 200,
        "reason": "client_left",
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "exact": False,
        "suspicious": False,
        "load_seconds": 0.5,
        "prompt_seconds": 0.1,
        "completion_seconds": 0.2,
        "gpu_seconds": 0.8,
        "first_byte_seconds": 0.7,
        "total_seconds": 1.5,
        "bytes_in": 10,
        "bytes_out": 20,
        "peer": "127.0.0.1",
        "changes": "num_ctx=dropped, keep_alive=300",
        "prompt_cut": True,
        "cost": 0.25,
        "elsewhere": 1.5,
        "watt_hours": None,
    } == facts(entry)


def test_what_is_not_known_is_none() -> None:
    told = facts(Entry("e1", datetime(2026, 3, 1, tzinfo=UTC), "", Outcome.REFUSED, None))

    assert "2026-03-01T00:00:00.000Z" == told["at"]
    assert told["user"] is told["status"] is told["load_seconds"] is told["changes"] is None
    assert told["prompt_cut"] is False
