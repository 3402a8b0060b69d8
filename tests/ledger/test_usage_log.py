import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from proxy.ledger.facts import facts
from proxy.ledger.line import UNKNOWN
from proxy.ledger.usage_log import LOOK_BACK_BYTES, SCHEMA, UsageLog
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Entry, Outcome, Usage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 86_400.0
ROOT = Path(__file__).parents[2]


def entry(name: str, at: datetime = NOON) -> Entry:
    return Entry(id=name, at=at, endpoint="POST /api/chat", outcome=Outcome.SERVED, status=200, usage=Usage(7, 3))


class Wall:
    """A ``Now`` that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def opened(tmp_path: Path, wall: Wall) -> Callable[[], UsageLog]:
    return lambda: UsageLog(tmp_path / "usage", 7 * DAY, wall)


def told(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def ids(file: Path) -> list[str]:
    return [line["id"] for line in told(file)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_every_entry_is_a_line_in_the_file_of_its_day_in_utc(
    tmp_path: Path, opened: Callable[[], UsageLog]
) -> None:
    late = datetime.fromisoformat("2026-03-02T00:30:00+01:00")

    log = opened()
    await log.keep([entry("a"), entry("b", NOON + timedelta(days=1)), entry("c", late)])

    assert [{"schema": 1, **facts(entry("a"))}, {"schema": 1, **facts(entry("c", late))}] == told(
        tmp_path / "usage/2026-03-01.jsonl"
    )
    assert ["b"] == ids(tmp_path / "usage/2026-03-02.jsonl")
    assert 0 == log.lost


async def test_what_comes_again_after_a_crash_is_left_out(tmp_path: Path, opened: Callable[[], UsageLog]) -> None:
    file = tmp_path / "usage/2026-03-01.jsonl"
    await opened().keep([entry("a"), entry("b")])
    with file.open("ab") as torn:
        torn.write(b'{"schema": 1, "id": "c", "at"')

    begun_again = opened()
    await begun_again.keep([entry("a"), entry("b"), entry("c")])
    await begun_again.keep([entry("b"), entry("d")])  # Another journal's, found later.

    lines = file.read_text().splitlines()
    assert ["a", "b", "c", "d"] == [json.loads(line)["id"] for line in lines if line.endswith("}")]
    assert '{"schema": 1, "id": "c", "at"' == lines[2]


async def test_of_a_long_file_only_the_end_is_read(tmp_path: Path, opened: Callable[[], UsageLog]) -> None:
    file = tmp_path / "usage/2026-03-01.jsonl"
    file.parent.mkdir()
    file.write_text('{"id": "far"}\n' + '{"id": "x"}\n' * (LOOK_BACK_BYTES // 12) + '[1]\nnull\n{"id": "near"}\n')

    await opened().keep([entry("far"), entry("near")])

    assert "far" == ids_at_the_end(file)


def ids_at_the_end(file: Path) -> str:
    return str(json.loads(file.read_text().splitlines()[-1])["id"])


async def test_what_cannot_be_written_is_counted_and_told_once(
    tmp_path: Path, opened: Callable[[], UsageLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()
    (tmp_path / "usage").write_text("in the way")
    await log.keep([entry("a"), entry("b")])
    await log.keep([entry("c")])
    assert 3 == log.lost
    assert ["usage_log_failed"] == [record.message for record in caplog.records if record.levelno == logging.ERROR]

    (tmp_path / "usage").unlink()
    await log.keep([entry("d")])
    await log.keep([entry("e")])
    assert 3 == log.lost
    assert "usage_log_works_again" == caplog.records[-1].message
    assert 1 == sum(record.message == "usage_log_works_again" for record in caplog.records)
    assert ["d", "e"] == ids(tmp_path / "usage/2026-03-01.jsonl")


async def test_a_file_that_fails_does_not_take_another_with_it(tmp_path: Path, opened: Callable[[], UsageLog]) -> None:
    (tmp_path / "usage/2026-03-01.jsonl").mkdir(parents=True)

    log = opened()
    await log.keep([entry("a"), entry("b", NOON + timedelta(days=1))])

    assert 1 == log.lost
    assert ["b"] == ids(tmp_path / "usage/2026-03-02.jsonl")


async def test_old_files_are_deleted_at_the_start_and_once_a_day(
    tmp_path: Path, wall: Wall, opened: Callable[[], UsageLog]
) -> None:
    folder = tmp_path / "usage"
    folder.mkdir()
    others = ["2026-01-01.jsonl.gz", "x2026-01-01.jsonl", "2026-13-01.jsonl", "9999-12-31.jsonl"]
    for name in ("2026-02-21.jsonl", "2026-02-22.jsonl", *others):
        (folder / name).write_text("")
    (folder / "2026-01-02.jsonl").symlink_to(folder / "2026-02-22.jsonl")

    log = opened()
    await log.keep([entry("a")])
    kept = {"2026-02-22.jsonl", "2026-03-01.jsonl", "2026-01-02.jsonl", *others}
    assert kept == names(folder)

    wall.now += timedelta(days=1)
    await log.keep([entry("b")])
    assert kept - {"2026-02-22.jsonl"} == names(folder)

    wall.now += timedelta(days=10)
    await log.sweep()
    assert {"2026-01-02.jsonl", *others} == names(folder)


async def test_without_a_time_to_keep_nothing_is_deleted(tmp_path: Path, wall: Wall) -> None:
    (tmp_path / "1999-01-01.jsonl").write_text("")

    await UsageLog(tmp_path, None, wall).keep([entry("a")])

    assert (tmp_path / "1999-01-01.jsonl").exists()


async def test_groups_that_come_together_are_all_kept(tmp_path: Path, opened: Callable[[], UsageLog]) -> None:
    log = opened()
    await asyncio.gather(*(log.keep([entry(f"{group}-{one}") for one in range(20)]) for group in range(20)))

    assert {f"{group}-{one}" for group in range(20) for one in range(20)} == set(
        ids(tmp_path / "usage/2026-03-01.jsonl")
    )


async def test_a_disk_that_does_not_answer_holds_one_thread_and_what_is_lost_to_it_is_counted(
    tmp_path: Path, wall: Wall, opened: Callable[[], UsageLog]
) -> None:
    file = tmp_path / "usage/2026-03-01.jsonl"
    file.parent.mkdir()
    os.mkfifo(file)  # Whoever opens it to read waits for somebody to write.
    log = opened()
    for group in range(50):
        with suppress(TimeoutError):
            await asyncio.wait_for(log.keep([entry(str(group))]), 0.001)
    async with asyncio.timeout(20):
        others = await asyncio.to_thread(threading.get_ident)
        os.close(os.open(file, os.O_WRONLY))
        await log.keep([entry("a", NOON + timedelta(days=1))])

    assert (True, 50) == (others != threading.get_ident(), log.lost)
    assert ["a"] == ids(tmp_path / "usage/2026-03-02.jsonl")


WRITE = """
import asyncio, pathlib, sys
from tests.ledger.test_usage_log import NOON, UsageLog, entry, replace
async def main():
    log = UsageLog(pathlib.Path(sys.argv[1]), None, lambda: NOON)
    for group in range(50):
        await log.keep([replace(entry(f"{sys.argv[2]}-{group}-{one}"), model="m" * 100) for one in range(10)])
asyncio.run(main())
"""


def test_processes_that_write_together_leave_whole_lines(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, tmp_path, name], cwd=ROOT) for name in ("p", "q")]

    assert [0, 0] == [process.wait() for process in processes]
    assert 1000 == len(set(ids(tmp_path / "2026-03-01.jsonl")))


TYPES = {"text": (str,), "whole number": (int,), "number": (float, int), "true or false": (bool,)}


def documented() -> dict[str, tuple[tuple[type, ...], str]]:
    """Each field's types and meaning, as the table of the docs has them."""
    section = (ROOT / "docs/usage-log.md").read_text().partition("| field |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in section.splitlines()[2:]]
    types: dict[str, tuple[tuple[type, ...], str]] = {}
    for name, kind, meaning in rows:
        plain = kind.removesuffix(" or null")
        types[name.strip("`")] = (TYPES[plain] + ((NoneType,) if kind != plain else ()), meaning)
    return types


FULL = replace(
    entry("a"),
    reason="rate_limit_exceeded",
    user="alice",
    team="lab",
    key_id="k1",
    plan="default",
    model="gemma3",
    usage=Usage(7, 3, load_seconds=0.1, prompt_seconds=0.2, completion_seconds=0.3),
    first_byte_seconds=0.4,
    changes=("num_ctx=dropped",),
    cost=0.1,
    elsewhere=0.2,
    watt_hours=0.3,
)


@pytest.mark.parametrize("one", [FULL, replace(entry("b"), status=None)])
def test_the_docs_tell_every_field_with_its_type(one: Entry) -> None:
    line = {"schema": SCHEMA, **facts(one)}

    assert list(line) == list(documented())
    assert {} == {name: value for name, value in line.items() if type(value) not in documented()[name][0]}


def test_the_docs_name_a_route_as_its_line_does() -> None:
    _, meaning = documented()["endpoint"]

    assert {UNKNOWN, "/api/chat"} == set(re.findall("`(.+?)`", meaning))
    assert "/api/chat" in {endpoint.path for endpoint in ENDPOINTS}


def test_the_docs_say_null_only_where_there_may_be_none() -> None:
    bare = facts(replace(entry("b"), status=None))

    assert {name for name, value in bare.items() if value is None} == {
        name for name, (types, _) in documented().items() if NoneType in types
    }


@pytest.mark.parametrize("model", ["llama3.2:1b", "é", "a\u2028b\n", "\udcff"])
async def test_whatever_a_model_is_called_it_is_one_line_in_ascii(
    tmp_path: Path, opened: Callable[[], UsageLog], model: str
) -> None:
    await opened().keep([replace(entry("a"), model=model)])
    file = tmp_path / "usage/2026-03-01.jsonl"

    assert file.read_bytes().isascii()
    assert [model] == [json.loads(line)["model"] for line in file.read_text().splitlines()]
