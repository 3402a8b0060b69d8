"""What becomes of calls while Redis is in trouble: each row of the table in ``docs/limits.md`` is tested in each mode.

The gate is whole and the Redis is real; what goes wrong does so in the server, or on the way to it.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.limits.guard import OnFailure
from proxy.vocabulary import Outcome, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import WHOLE, question
from tests.fakes.eventually import eventually
from tests.fakes.redis import NewRedis, RedisSentinels, RedisServer
from tests.fakes.redis_proxy import OpenProxy, RedisProxy, Weather
from tests.fakes.upstream import RecordingUpstream, whole

BURST = 3
LIMITS = {"default": {"limits": {"requests_per_minute": 1, "request_burst": BURST}}}
DOCS = (Path(__file__).parents[2] / "docs/limits.md").read_text()


@dataclass
class Scene:
    """A Redis, and the way to it."""

    server: RedisServer
    proxy: RedisProxy

    async def sound(self) -> None:
        """What nothing undoes."""


async def refused(scene: Scene) -> Callable[[], Awaitable[None]]:
    await scene.proxy.close()
    return scene.proxy.open


async def reset(scene: Scene) -> Callable[[], Awaitable[None]]:
    scene.proxy.weather.resets_after = 0

    async def undo() -> None:
        scene.proxy.weather.resets_after = None

    return undo


async def paused(scene: Scene) -> Callable[[], Awaitable[None]]:
    scene.server.pause()

    async def undo() -> None:
        scene.server.resume()

    return undo


async def slow(scene: Scene) -> Callable[[], Awaitable[None]]:
    scene.proxy.weather.delay = lambda: 1.0

    async def undo() -> None:
        scene.proxy.weather.delay = lambda: 0.0

    return undo


def told(*words: str | int, undo: tuple[str | int, ...]) -> Callable[[Scene], Awaitable[Callable[[], Awaitable[None]]]]:
    """By a command that another one undoes."""

    async def fault(scene: Scene) -> Callable[[], Awaitable[None]]:
        scene.server.say(*words)

        async def undone() -> None:
            scene.server.say(*undo)

        return undone

    return fault


async def no_auth(scene: Scene) -> Callable[[], Awaitable[None]]:
    """A password from now on, also for who is connected already."""
    scene.server.say("CONFIG", "SET", "requirepass", "another-password")
    scene.server.password = "another-password"
    scene.server.say("CLIENT", "KILL", "TYPE", "normal")

    async def undo() -> None:
        scene.server.say("CONFIG", "SET", "requirepass", "")
        scene.server.password = None

    return undo


TROUBLE = {
    "refused": refused,
    "reset": reset,
    "SIGSTOP": paused,
    "slow": slow,
    "OOM": told("CONFIG", "SET", "maxmemory", 1, undo=("CONFIG", "SET", "maxmemory", 0)),
    "NOAUTH": no_auth,
    "NOPERM": told("ACL", "SETUSER", "default", "-@write", undo=("ACL", "SETUSER", "default", "+@all")),
    "READONLY": told("REPLICAOF", "127.0.0.1", 1, undo=("REPLICAOF", "NO", "ONE")),
}
"""By the first word of its row."""
ANSWERS = {OnFailure.LOCAL: "200, 429", OnFailure.REFUSE: "503", OnFailure.ALLOW: "200"}


async def opened(open_gate: OpenGate, upstream: RecordingUpstream, url: str, mode: OnFailure) -> Gate:
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    return await open_gate(plans=LIMITS, redis_url=SecretStr(url), on_redis_failure=mode.value)


async def ask(gate: Gate) -> int:
    began = time.monotonic()
    answer = await gate.ask(gate.post("/v1/chat/completions", question()))

    assert time.monotonic() - began < 2, "a decision waits 250 ms at the most; the rest is this machine's"
    return answer.status


async def ask_times(gate: Gate, times: int) -> list[int]:
    return [await ask(gate) for _ in range(times)]


def degraded(gate: Gate, mode: OnFailure) -> int:
    return gate.opened.counting.counts[f"decisions_degraded_{mode}"]


async def restored(gate: Gate) -> None:
    guard = gate.opened.counting.guard
    assert guard is not None

    async def well() -> bool | None:
        await asyncio.sleep(0.01)  # The gate lives in this loop too.
        return guard.degraded_seconds is None or None

    await eventually(well, 10, "a gate that has gone back to Redis")


@pytest.mark.parametrize("mode", OnFailure)
@pytest.mark.parametrize("fault", TROUBLE)
async def test_a_fault_is_answered_as_the_table_says(
    open_gate: OpenGate,
    upstream: RecordingUpstream,
    new_redis: NewRedis,
    open_proxy: OpenProxy,
    fault: str,
    mode: OnFailure,
) -> None:
    server = new_redis()
    scene = Scene(server, await open_proxy(server.port, Weather()))
    gate = await opened(open_gate, upstream, scene.proxy.url, mode)
    before = await ask(gate)
    undo = await TROUBLE[fault](scene)
    during = await ask_times(gate, BURST + 2)
    counted = degraded(gate, mode)
    await undo()
    await restored(gate)
    after = await ask_times(gate, BURST)
    entries = [await gate.entry() for _ in range(1 + len(during) + len(after))]

    assert 200 == before
    assert {
        OnFailure.LOCAL: [200] * BURST + [429] * 2,  # One gate's share is all of it.
        OnFailure.REFUSE: [503] * (BURST + 2),
        OnFailure.ALLOW: [200] * (BURST + 2),
    }[mode] == during
    assert BURST + 2 == counted == degraded(gate, mode)
    # What was spent before is known again; the calls meanwhile were this gate's own business.
    assert [200] * (BURST - 1) + [429] == after
    assert {"rate_limit_exceeded", "limits_unavailable", None} >= {_code(entry.reason) for entry in entries}
    assert len(entries) == len({entry.id for entry in entries})
    assert fault in _rows()
    assert (ANSWERS[mode], f"`decisions_degraded_{mode}`") == _rows()[fault][mode]


def _code(reason: str | None) -> str | None:
    return "rate_limit_exceeded" if reason == "key-requests" else reason


@pytest.mark.parametrize("mode", OnFailure)
@pytest.mark.parametrize("words", [("SCRIPT", "FLUSH"), ("FLUSHALL",)], ids=" ".join)
async def test_what_redis_forgets_degrades_nobody(
    open_gate: OpenGate, upstream: RecordingUpstream, new_redis: NewRedis, mode: OnFailure, words: tuple[str, ...]
) -> None:
    server = new_redis()
    gate = await opened(open_gate, upstream, server.url, mode)
    before = await ask_times(gate, BURST + 1)
    server.say(*words)
    after = await ask_times(gate, BURST + 1)

    assert [*[200] * BURST, 429] == before
    assert ([429] * (BURST + 1) if words[0] == "SCRIPT" else before) == after  # A bucket that is gone is full again.
    assert 0 == degraded(gate, mode)
    assert ("as ever" if words[0] == "SCRIPT" else "full again, once", "none") == _rows()[" ".join(words)][mode]


async def test_a_failover_is_followed(
    open_gate: OpenGate, upstream: RecordingUpstream, redis_sentinel: RedisSentinels
) -> None:
    gate = await opened(open_gate, upstream, redis_sentinel.url, OnFailure.LOCAL)
    before = await ask(gate)
    spent = redis_sentinel.master.say("INFO", "replication")["master_repl_offset"]
    await heard_by(redis_sentinel.replica, spent)  # What it had not heard yet would be lost with the master.
    redis_sentinel.master.kill()
    during = await ask(gate)
    await restored_by(gate, redis_sentinel.replica)
    after = await ask_times(gate, BURST)

    assert (200, 200) == (before, during)
    assert [200] * (BURST - 1) + [429] == after  # The replica knew what had been spent.
    assert ("200, 429", "`decisions_degraded_local`") == _rows()["failover"][OnFailure.LOCAL]


async def heard_by(replica: RedisServer, offset: int) -> None:
    async def heard() -> bool | None:
        await asyncio.sleep(0.01)
        return replica.say("INFO", "replication")["slave_repl_offset"] >= offset or None

    await eventually(heard, 20, "a replica that has heard everything")


async def restored_by(gate: Gate, replica: RedisServer) -> None:
    async def promoted() -> bool | None:
        await asyncio.sleep(0.01)
        with suppress(RedisConnectionError):  # One that is made the master ends the connections it has.
            return replica.say("ROLE")[0] == "master" or None
        return None

    await eventually(promoted, 20, "a replica that was made the master")
    await restored(gate)


async def test_a_killed_redis_that_comes_back_empty_takes_no_call_with_it(
    open_gate: OpenGate, upstream: RecordingUpstream, new_redis: NewRedis
) -> None:
    server = new_redis()
    gate = await opened(open_gate, upstream, server.url, OnFailure.LOCAL)
    statuses = []
    for _ in range(3):
        statuses += await ask_times(gate, 1)
        server.kill()
        statuses += await ask_times(gate, 1)
        server.start()
        await restored(gate)
    entries = [await gate.entry() for _ in statuses]

    assert [200] * 6 == statuses
    assert {Outcome.SERVED} == {entry.outcome for entry in entries}


async def test_a_refusal_for_want_of_redis_is_said_in_the_callers_dialect(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await opened(open_gate, upstream, "redis://127.0.0.1:1", OnFailure.REFUSE)
    told = [
        await gate.ask(gate.post(path, question())) for path in ("/api/chat", "/v1/chat/completions", "/v1/messages")
    ]
    bodies = [json.loads(one.body) for one in told]

    assert [(503, "1")] * 3 == [(one.status, one.fields["retry-after"]) for one in told]
    assert isinstance(bodies[0]["error"], str)
    assert "limits_unavailable" == bodies[1]["error"]["code"]
    assert "overloaded_error" == bodies[2]["error"]["type"]
    assert [] == upstream.connections


def _rows() -> dict[str, dict[OnFailure, tuple[str, str]]]:
    """Answer and counter, by fault and mode, as the docs have them."""
    table = DOCS.partition("## When Redis is in trouble")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:1] == "|"]
    return {
        re.sub(r"[`*]", "", row[0]).partition(":")[0].strip("| "): {
            mode: (row[2 + 2 * number].strip("| "), row[3 + 2 * number].strip("| "))
            for number, mode in enumerate(OnFailure)
        }
        for row in rows[2:]
    }
