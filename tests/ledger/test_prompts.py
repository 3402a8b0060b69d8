import asyncio
import json
import logging
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.ledger.prompts import LOGGED, PromptLog, kept_for
from tests.fakes.threads import FewThreads

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DAY = 86_400.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prompts"


@pytest.fixture
async def log(folder: Path) -> AsyncIterator[PromptLog]:
    made = PromptLog(folder, lambda: NOON)
    yield made
    await made.close()


def told(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, text: str) -> None:
    path.write_text(text)


async def test_a_prompt_is_a_line_in_the_file_of_its_hour_and_its_time_to_keep(folder: Path, log: PromptLog) -> None:
    log.log("c1", NOON, "alice", 7 * DAY, "/api/chat", '{"prompt": "Grüße\n\u2028"}'.encode())
    log.log("c2", NOON, None, 7 * DAY, "/api/chat", b"\xff\x00")
    log.log("c3", NOON, "bob\ud800", 3600, "/v1/audio/transcriptions", None, length=12_345)
    await log.close()

    line = {
        "schema": 1,
        "id": "c1",
        "at": "2026-03-01T12:30:00.000Z",
        "user": "alice",
        "endpoint": "/api/chat",
        "body": '{"prompt": "Grüße\n\u2028"}',
        "bytes": 25,
    }
    (first, second) = told(folder / "7d-2026-03-01T12.jsonl")
    assert line == first
    assert ("c2", None, "\ufffd\x00", 2) == (second["id"], second["user"], second["body"], second["bytes"])
    (third,) = told(folder / "1h-2026-03-01T12.jsonl")
    assert (None, 12_345, "bob\ud800") == (third["body"], third["bytes"], third["user"])
    assert 0 == log.dropped


async def test_prompts_are_for_nobody_elses_eyes(folder: Path, log: PromptLog) -> None:
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"{}")
    await log.close()

    (name,) = names(folder)
    assert (0o600, 0o700) == (mode(folder / name), mode(folder))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7 * DAY, "7d"), (36 * 3600, "36h"), (5400, "90m"), (90, "90s"), (90 * DAY, "90d"), (0.2, "1s")],
)
def test_how_long_it_is_kept_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert text == kept_for(seconds)


async def test_what_there_is_no_room_for_is_dropped_counted_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = PromptLog(folder, lambda: NOON, most_waiting_bytes=1000)
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"x" * 1000)
    log.log("c2", NOON, "alice", DAY, "/api/chat", b"x" * 1000)
    assert 2 == log.dropped
    assert ["prompt_log_failed"] == [record.message for record in caplog.records]

    log.log("c3", NOON, "alice", DAY, "/api/chat", b"x")
    await log.close()
    assert ["c3"] == [line["id"] for line in told(folder / "1d-2026-03-01T12.jsonl")]
    assert ["prompt_log_failed", "prompt_log_works_again"] == [record.message for record in caplog.records]


async def test_a_disk_that_fails_costs_the_prompt_and_nothing_else(
    folder: Path, log: PromptLog, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "in the way")
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"{}")
    await log.close()

    assert 1 == log.dropped
    assert ["prompt_log_failed"] == [one.message for one in caplog.records if one.levelno == logging.ERROR]


async def test_after_the_end_nothing_is_taken_any_more(folder: Path, log: PromptLog) -> None:
    await log.close()
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"{}")
    await log.close()

    assert 1 == log.dropped
    assert set() == names(folder)


async def test_where_there_is_no_thread_to_be_had_the_end_is_not_waited_for(log: PromptLog) -> None:
    asyncio.get_running_loop().set_default_executor(FewThreads(float("inf")))
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"{}")
    await log.close()

    assert 0 == log.dropped


async def test_a_file_goes_when_its_newest_line_is_too_old_and_nothing_else_does(folder: Path, tmp_path: Path) -> None:
    moment = [NOON]
    log = PromptLog(folder, lambda: moment[0])
    await log.sweep()
    log.log("c1", NOON, "alice", DAY, "/api/chat", b"{}")
    log.log("c2", NOON, "alice", 3600, "/api/chat", b"{}")
    log.log("c3", NOON, "alice", 7 * DAY, "/api/chat", b"{}")
    await log.close()
    others = [
        "1d-2026-01-01.jsonl",
        "1y-2026-01-01T00.jsonl",
        "1d-2026-13-01T00.jsonl",
        "999999999d-9999-12-31T23.jsonl",
    ]
    for name in others:
        (folder / name).write_text("")
    (folder / "1d-2026-01-01T00.jsonl").symlink_to(tmp_path)
    others.append("1d-2026-01-01T00.jsonl")
    hour, day, week = "1h-2026-03-01T12.jsonl", "1d-2026-03-01T12.jsonl", "7d-2026-03-01T12.jsonl"

    for moment[0], left in (
        (NOON + timedelta(minutes=89), {hour, day, week}),
        (NOON + timedelta(minutes=90), {day, week}),
        (NOON + timedelta(days=1, minutes=29), {day, week}),
        (NOON + timedelta(days=1, minutes=30), {week}),
        (NOON + timedelta(days=8), set()),
    ):
        await log.sweep()
        assert {*others, *left} == names(folder)


def test_the_docs_name_the_header() -> None:
    assert f"`{LOGGED}: 7d`" in (ROOT / "docs/usage-log.md").read_text()
