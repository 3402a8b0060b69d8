from datetime import datetime, timedelta
from typing import Any

import pytest

from proxy.auth import Act
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import ACTOR, NOON, a_desk


async def trail() -> FakeRegistry:
    registry = FakeRegistry()
    told = (("key.create", "key:k1"), ("user.create", "user:alice"), ("key.revoke", "key:k1"), ("gate.reload", ""))
    for hour, (name, subject) in enumerate(told):
        actor = "olga" if hour % 2 else "oleg"
        await registry.record(Act(NOON + timedelta(hours=hour), actor, "gatehouse", name, subject))
    return registry


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"last": 2}, [3, 4]),
        ({"since": NOON + timedelta(hours=1)}, [2, 3, 4]),
        ({"since": NOON + timedelta(hours=1), "last": 1}, [4]),
        ({"actor": "olga"}, [2, 4]),
        ({"subject": "key:k1"}, [1, 3]),
        ({"subject": "k1"}, [1, 3]),
        ({"subject": "sk-lg_k1_HUSH_crc"}, [1, 3]),
        ({"subject": "k1", "last": 1, "actor": "oleg"}, [3]),
        ({"subject": "alic"}, []),
        ({"actor": "nobody", "last": 9}, []),
    ],
)
async def test_acts_are_told_in_their_order_as_they_are_asked_for(asked: dict[str, Any], numbers: list[int]) -> None:
    assert numbers == [act.number for act in await a_desk(await trail()).acts(**asked)]


async def test_what_was_done_elsewhere_is_written_down_with_who_did_it_and_when() -> None:
    registry = FakeRegistry()
    now: datetime = NOON + timedelta(minutes=5)
    await a_desk(registry, now=lambda: now).record("backup.make", details={"file": "kept.tar.gz"})

    assert [Act(now, ACTOR.name, ACTOR.origin, "backup.make", "", {"file": "kept.tar.gz"}, 1)] == await registry.acts()
