"""Redis in trouble, with gates that go on with their own share of every limit (``on_redis_failure = "local"``).

Callers see nothing of it; what is measured is for how long the gates wait, and when they ask Redis again.
"""

import asyncio
import time
from collections.abc import Mapping

from tests.security.chaos.load import WHOLE
from tests.security.chaos.scene import CannotBeDone, Found, Scene

DECISION_SECONDS = 0.25
"""The longest that a call waits for Redis, once."""
BACK_SECONDS = 2.0
"""A look is due every 250 ms; the rest is this machine's."""


TROUBLES: tuple[tuple[tuple[str | int, ...], tuple[str | int, ...]], ...] = (
    (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
    (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
    (("ACL", "SETUSER", "default", "-@write"), ("ACL", "SETUSER", "default", "+@all")),
    (("CLIENT", "PAUSE", 1000, "WRITE"), ("CLIENT", "UNPAUSE")),
)
"""What is said to Redis, and what undoes it."""


async def killed(scene: Scene, found: Found) -> None:
    """F3"""
    for _ in range(scene.rounds):
        async with scene.window(found):
            scene.stage.redis.kill()
            await scene.hold()
            await asyncio.to_thread(scene.stage.redis.start)
        await asked_again(scene, found)
    await degraded(scene, found)


async def paused(scene: Scene, found: Found) -> None:
    """F4"""
    began = time.monotonic()
    async with scene.window(found):
        with scene.stage.redis.paused():
            await scene.hold()
    await asked_again(scene, found)
    slow = [one for one in scene.load.since(began) if one.kind == WHOLE and one.first_byte - one.began > 1.5]
    if len(slow) > 2:
        found.wrong.append(f"{len(slow)} calls waited for more than 1.5 s")


async def slow(scene: Scene, found: Found) -> None:
    """F5"""
    weather = scene.stage.wire.weather
    async with scene.window(found):
        weather.delay = lambda: scene.dice.random() * 0.4
        await scene.hold()
        weather.delay = lambda: 0.0
        weather.resets_after = scene.dice.randint(1, 300)  # Also in the middle of a reply.
        await scene.hold()
        weather.resets_after = None
        weather.garbles = b"+OK\r\n:1\r\n$-1\r\n"
        await scene.hold(0.5)
        weather.garbles = None
    await asked_again(scene, found)


async def data(scene: Scene, found: Found) -> None:
    """F6"""
    say = scene.stage.redis.say
    for words in (("FLUSHALL",), ("SCRIPT", "FLUSH")):
        async with scene.window(found):
            say(*words)
            await scene.hold(0.3)
    before = (await scene.a.figures()).get('llamagate_limits_total{event="keys_repaired"}', 0)
    async with scene.window(found):
        for key in say("KEYS", "*:h") or say("KEYS", "*"):
            say("DEL", key)
            say("SET", key, "of another type")
        await scene.hold(0.5)
    repaired = sum(
        [(await gate.figures()).get('llamagate_limits_total{event="keys_repaired"}', 0) for gate in scene.stage.gates]
    )
    found.notes.append(f"{repaired - before:.0f} keys of a wrong type repaired")
    for trouble, undo in TROUBLES:
        async with scene.window(found):
            say(*trouble)
            await scene.hold(0.5)
            say(*undo)
        await asked_again(scene, found)
    with scene.stage.redis.client() as held:  # For nobody else there is room.
        held.ping()
        async with scene.window(found):
            held.execute_command("CONFIG", "SET", "maxclients", 1)  # type: ignore[no-untyped-call]
            held.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
            await scene.hold(0.5)
            held.execute_command("CONFIG", "SET", "maxclients", 1000)  # type: ignore[no-untyped-call]
        await asked_again(scene, found)


async def cluster(scene: Scene, found: Found) -> None:
    """F7"""
    raise CannotBeDone(
        "there is nothing to refuse: sentinels and clusters are served; "
        "tests/security/test_redis_faults.py has a failover"
    )


async def asked_again(scene: Scene, found: Found) -> None:
    """Redis decides again, soon after it could. How long that takes is part of the recovery."""
    began = time.monotonic()
    for gate in scene.stage.gates:
        before = await gate.figures()

        while not _asks(before, await gate.figures()):
            if time.monotonic() > began + 10:
                found.wrong.append(f"{gate.name} does not ask Redis again")
                return
            await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    found.recovery = max(found.recovery or 0.0, seconds)
    if seconds > BACK_SECONDS:
        found.wrong.append(f"Redis is asked again after {seconds:.1f} s only")


def _asks(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether there were decisions since then that were not the gate's own."""
    decisions, own = (now.get(name, 0) - before.get(name, 0) for name in (DECISIONS, LOCAL))
    return decisions > own


DECISIONS = 'llamagate_limits_total{event="decisions"}'
LOCAL = 'llamagate_limits_total{event="decisions_degraded_local"}'


async def degraded(scene: Scene, found: Found) -> None:
    count = sum([(await gate.figures()).get(LOCAL, 0) for gate in scene.stage.gates])
    found.notes.append(f"{count:.0f} decisions on the gates' own shares so far")
    if not count:
        found.wrong.append("no decision was made without Redis")
