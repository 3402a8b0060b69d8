import json
from typing import Any

import pytest

from proxy.errors import GateError, StorageFailed, StoreFailed
from proxy.limits import Account, State
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryStore
from proxy.limits.verdict import Standing, standings
from proxy.own.bounded import Bounded
from proxy.own.key import OwnKey, told
from proxy.vocabulary import Allowance, Caller, Level, Limits, Plan, Risk
from tests.fakes.clock import FakeClock
from tests.fakes.moments import FakeMoments

GEMMA = "registry.ollama.ai/library/gemma3:*"
PLAN = Plan(
    "lab",
    grants=frozenset({Risk.READ, Risk.INFERENCE}),
    models=("*",),
    allowances=(
        Allowance(Level.KEY, Limits(requests_per_minute=30, concurrent=2, gpu_seconds_per_day=7200.0)),
        Allowance(Level.USER, Limits(tokens_per_day=1000), models=GEMMA),
        Allowance(Level.TEAM, Limits(tokens_per_month=5), shadow=True),
    ),
)
ALICE = Caller("alice", "k1", PLAN, team="red", models=("llama3.2:*", GEMMA))


def limiter() -> Limiter:
    return Limiter(MemoryStore(FakeMoments()), lambda pattern, model: True, lambda: "c1")


async def test_a_key_is_told_whose_it_is_what_it_may_do_and_what_is_left() -> None:
    said = json.loads(await OwnKey(limiter(), Bounded(FakeClock()))(ALICE, {}))

    assert {
        "object": "key",
        "id": "k1",
        "user": "alice",
        "team": "red",
        "plan": "lab",
        "models": ["llama3.2:*", "gemma3:*"],
        "grants": ["inference", "read"],
        "limits": [
            limit("key-requests", 30, 30, 0, 60),
            limit("key-concurrent", 2, 2, None, None),
            limit("key-gpu-day", 7200.0, 7200.0, 12 * 3600, 86_400),
            limit("user-tokens-day", 1000, 1000, 12 * 3600, 86_400, models="gemma3:*"),
            limit("team-tokens-month", 5, 5, (30 * 24 + 12) * 3600, 31 * 86_400, shadow=True),
        ],
    } == said


def limit(name: str, most: float, left: float, reset: int | None, window: int | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "limit": most, "remaining": left, "reset_seconds": reset, "window_seconds": window, **more}


def test_what_is_used_is_not_left_any_more_and_seconds_are_rounded_up() -> None:
    account = Account(Level.KEY, "k1", Limits(requests_per_minute=30, gpu_seconds_per_day=10.0))
    state = State(requests=60_000_000 + 1, day_gpu_ms=2500)
    said = told(ALICE, standings(account, state, FakeMoments()()))

    assert [(28, 3), (7.5, 12 * 3600)] == [(one["remaining"], one["reset_seconds"]) for one in said["limits"]]


@pytest.mark.parametrize("error", [StoreFailed(), StorageFailed()])
async def test_where_nobody_can_tell_the_limits_the_rest_is_told(error: GateError) -> None:
    class Away:
        async def standings(self, caller: Caller) -> list[Standing]:
            raise error

    said = json.loads(await OwnKey(Away(), Bounded(FakeClock()))(ALICE, {}))

    assert ("k1", None) == (said["id"], said["limits"])


async def test_a_key_without_limits_has_none() -> None:
    said = json.loads(await OwnKey(limiter(), Bounded(FakeClock()))(Caller("bob", "k2", Plan("default")), {}))

    assert (["*"], None, []) == (said["models"], said["team"], said["limits"])
