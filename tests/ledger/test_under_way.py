from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from proxy.errors import BackendDown
from proxy.ledger.line import Ledger, Line
from proxy.ledger.steps import Step
from proxy.ledger.under_way import Stage, UnderWay
from proxy.policy.endpoints import find
from proxy.vocabulary import Ask, Call, Caller, Carrier, Credential, Plan, Usage
from tests.fakes.clock import FakeClock

CANARY = Credential(Carrier.BEARER, "CANARY")
CALL = Call("req_1", datetime(2026, 3, 1, tzinfo=UTC), "POST", "/api/chat", (CANARY,), query="CANARY")
ALICE = Caller("alice", "k1", Plan("default"), team="red")
CHAT = find("POST", "/api/chat")[0]
ASK = Ask(CHAT, model="gemma3:4b\x1b", fields={"messages": b"CANARY"}, prompt_floor=7)


class Forgetful:
    """A ``Keeper`` that keeps nothing."""

    full = False

    def note(self, step: Step) -> None:
        """Gone."""

    async def keep(self, step: Step) -> None:
        """Gone."""


class Meter:
    usage = Usage(7, 3, exact=False)


def views(ledger: Ledger) -> list[UnderWay | None]:
    return [line.view() for line in ledger.open]


def begun(line: Line) -> None:
    line.begun_by(ALICE)
    line.endpoint, line.ask = CHAT, ASK


async def test_nothing_is_told_of_a_call_before_it_is_known_whose_it_is() -> None:
    ledger = Ledger(Forgetful(), [], FakeClock())
    async with ledger.line(CALL) as line:
        unknown = views(ledger)
        line.begun_by(ALICE)
        known = views(ledger)

    assert [None] == unknown
    assert [("alice", "unknown", None)] == [(one.user, one.endpoint, one.model) for one in known if one]
    assert [] == views(ledger)


async def test_a_call_is_told_with_how_far_it_is() -> None:
    clock = FakeClock()
    ledger = Ledger(Forgetful(), [], clock)
    seen: list[UnderWay | None] = []
    async with ledger.line(CALL) as line:
        begun(line)
        seen += views(ledger)
        async with line.asking():
            clock.seconds += 1.5
            seen += views(ledger)
            line.meter = Meter()
            line.began(200)
            line.sends(64)
            seen += views(ledger)

    arriving, waiting, answering = [one for one in seen if one is not None]
    assert (Stage.ARRIVING, 0.0, 0, 0) == (arriving.stage, arriving.seconds, arriving.prompt_tokens, arriving.bytes_out)
    assert (Stage.WAITING, 1.5, 7, 0) == (
        waiting.stage,
        waiting.seconds,
        waiting.prompt_tokens,
        waiting.completion_tokens,
    )
    assert (
        UnderWay("req_1", "alice", "red", "k1", "/api/chat", "gemma3:4b?", Stage.ANSWERING, 1.5, 7, 3, 64) == answering
    )
    assert "CANARY" not in str([asdict(one) for one in (arriving, waiting, answering)])


async def test_a_call_that_no_backend_heard_waits_for_none() -> None:
    ledger = Ledger(Forgetful(), [], FakeClock())
    async with ledger.line(CALL) as line:
        begun(line)
        with pytest.raises(BackendDown):
            async with line.asking():
                raise BackendDown
        (view,) = views(ledger)

    assert view is not None
    assert Stage.ARRIVING is view.stage
