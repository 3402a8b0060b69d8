"""The short form of the fault run: two real gates, a real Redis, twenty streaming clients, one fault after the other.

Those that take long are in ``python -m tests.security.chaos`` alone, which ``scripts/chaos`` starts.
"""

import random
from pathlib import Path

import pytest

from tests.fakes.raw_client import Told
from tests.fakes.redis import NewRedis
from tests.security.chaos.load import BROKEN, TOLD, WHOLE, judged
from tests.security.chaos.run import one, staged
from tests.security.chaos.said import NATIVE, OPENAI, Stream, asked
from tests.security.chaos.scene import named
from tests.security.chaos.table import BY_NUMBER, FAULTS

SHORT = (1, 2, 3, 4, 8, 9, 13, 14, 16, 22)
SEED = 7
HEAD = {"x-request-id": "1"}


@pytest.mark.timeout(180)
async def test_after_each_fault_everything_is_as_before(tmp_path: Path, new_redis: NewRedis) -> None:
    redis = new_redis("appendonly yes", "appendfsync no")
    async with staged(tmp_path, redis, random.Random(SEED), seconds=0.5, words=10, pause=0.02) as scene:
        rows = [await one(scene, BY_NUMBER[number]) for number in SHORT]
        whole = sum(1 for verdict in scene.load.verdicts if verdict.kind == WHOLE)

    assert {} == {f"F{row.fault.number}": row.found.wrong for row in rows if not row.holds}
    assert whole > 20 * len(SHORT)
    assert [] == [row.fault.number for row in rows if row.cannot]
    assert all(row.found.seen[WHOLE] for row in rows), [named(row.found.seen) for row in rows]


def test_each_fault_has_a_number_of_its_own_and_none_is_left_out() -> None:
    assert list(range(1, 30)) == [fault.number for fault in FAULTS]
    assert sorted(BY_NUMBER) == sorted({fault.number for fault in FAULTS})


@pytest.mark.parametrize("path", [NATIVE, OPENAI])
def test_a_stream_is_known_by_its_question(path: str) -> None:
    stream = Stream("s1", 5, path)

    assert stream == asked(path, stream.question)
    assert len(stream.events) >= 6


@pytest.mark.parametrize("path", [NATIVE, OPENAI])
def test_an_answer_is_whole_or_a_part_of_it_or_wrong(path: str) -> None:
    stream = Stream("s1", 6, path)
    other, whole = b"".join(Stream("s2", 6, path).events), b"".join(stream.events)
    part = b"".join(stream.events[:3])
    error = b'{"error": "no"}\n' if path == NATIVE else b'data: {"error": {"message": "no"}}\n\n'

    def verdict(body: bytes, *, clean: bool) -> str:
        return judged(stream, Told(200, HEAD, body, clean, b""))

    assert (WHOLE, BROKEN, TOLD) == (
        verdict(whole, clean=True),
        verdict(part, clean=False),
        verdict(part + error, clean=False),
    )
    assert TOLD == verdict(part + stream.events[3][:9] + b"\n" * (1 if path == NATIVE else 2) + error, clean=False)
    for body, clean in ((part, True), (other, True), (other[:-20], False), (whole + b"x", True), (part + error, True)):
        assert verdict(body, clean=clean).startswith("WRONG"), body
    assert judged(stream, Told(503, HEAD, b'{"error": "no"}', True, b"")).startswith("WRONG")
