import asyncio
import json
import logging
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import control
from proxy.admin.control import (
    LONGEST_LINE,
    LONGEST_PATH,
    Control,
    answering,
    ask,
    ask_worker,
    held,
    may_ask,
    path_in,
)
from proxy.admin.refusals import GateNotRunning, NoAnswer, NotDone
from proxy.errors import Misconfigured, StorageFailed


async def echo(asked: Mapping[str, Any]) -> Any:
    return asked


async def refuse(_: Mapping[str, Any]) -> Any:
    raise StorageFailed("The disk is full.")


async def crash(_: Mapping[str, Any]) -> Any:
    raise ZeroDivisionError("canary")


HANDLERS = {"echo": echo, "refuse": refuse, "crash": crash}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_in(tmp_path)


@pytest.fixture
async def listening(path: Path) -> AsyncIterator[Path]:
    async with Control(path, HANDLERS).listening() as is_listening:
        assert is_listening
        yield path


def beside(path: Path) -> set[str]:
    """The names of all files in its folder."""
    return {file.name for file in path.parent.iterdir()}


async def raw(path: Path, sent: bytes, *, ends: bool = False) -> Any:
    """What is answered to these bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    if ends:
        writer.write_eof()
    told = await reader.read()
    writer.close()
    return json.loads(told)


async def test_what_is_asked_is_answered(listening: Path) -> None:
    assert {"ask": "echo", "one": [1, None], "two": "käse"} == await ask(listening, "echo", one=[1, None], two="käse")


async def test_several_can_ask_at_once(listening: Path) -> None:
    answers = await asyncio.gather(*(ask(listening, "echo", number=number) for number in range(20)))

    assert list(range(20)) == [answer["number"] for answer in answers]


async def test_a_refusal_is_told_in_its_words(listening: Path) -> None:
    with pytest.raises(NotDone, match=r"The disk is full\."):
        await ask(listening, "refuse")


async def test_what_goes_wrong_inside_is_logged_and_not_told(listening: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NotDone) as refused:
        await ask(listening, "crash")

    assert "canary" not in refused.value.message
    assert ["control_crashed"] == [record.getMessage() for record in caplog.records if record.name == "proxy.admin"]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"nonsense\n", "one line with a JSON object"),
        (b"[]\n", "one line with a JSON object"),
        (b"\xff\n", "one line with a JSON object"),
        (b"[" * 100_000 + b"\n", "one line with a JSON object"),
        (b'{"ask": "echo"}', "one line with a JSON object"),
        (b"", "one line with a JSON object"),
        (b"{}\n", "another version"),
        (b'{"ask": "moon"}\n', "another version"),
        (b'{"ask": ["echo"]}\n', "another version"),
    ],
)
async def test_what_makes_no_sense_is_refused(listening: Path, sent: bytes, why: str) -> None:
    told = await raw(listening, sent, ends=not sent.endswith(b"\n"))

    assert ["refused"] == list(told)
    assert why in told["refused"]


async def test_a_line_that_is_too_long_is_refused_and_not_kept(listening: Path) -> None:
    with pytest.raises(NotDone):
        await ask(listening, "echo", much="x" * LONGEST_LINE)

    assert "fine" == (await ask(listening, "echo", still="fine"))["still"]


async def test_who_says_nothing_is_not_waited_for(path: Path) -> None:
    async with Control(path, HANDLERS, patience=0.0).listening():
        assert {"refused": "That took too long to ask."} == await raw(path, b"")


async def test_who_hangs_up_harms_nobody(listening: Path, caplog: pytest.LogCaptureFixture) -> None:
    for sent in (b"", b'{"ask": "echo"}\n'):
        _, writer = await asyncio.open_unix_connection(listening)
        writer.write(sent)
        writer.transport.abort()

    assert "echo" == (await ask(listening, "echo"))["ask"]
    assert [] == [record for record in caplog.records if record.levelno > logging.INFO]


async def test_where_nobody_listens_the_gate_does_not_run(path: Path) -> None:
    with pytest.raises(GateNotRunning, match=f"nobody listens on {path}"):
        await ask(path, "echo")
    async with Control(path, HANDLERS).listening():
        pass
    with pytest.raises(GateNotRunning):
        await ask(path, "echo")


@asynccontextmanager
async def listener(path: Path, said: bytes) -> AsyncIterator[None]:
    """Somebody else, who says this and hangs up."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(say, path)
    yield
    server.close()


@pytest.mark.parametrize("said", [b"", b"{}", b"{}\n", b"[1]\n", b"x\n", b"x" * (2 * LONGEST_LINE)])
async def test_an_answer_that_makes_no_sense_is_none(path: Path, said: bytes) -> None:
    async with listener(path, said):
        with pytest.raises(NotDone) as refused:
            await ask(path, "echo")

    assert not isinstance(refused.value, GateNotRunning)


async def test_the_socket_is_its_owners_only_and_goes_with_the_gate(path: Path) -> None:
    before = os.umask(0)
    try:
        async with Control(path, HANDLERS).listening():
            modes = [stat.S_IMODE(file.stat().st_mode) for file in (path, path.with_suffix(".lock"))]
    finally:
        mask = os.umask(before)

    assert [0o600, 0o600] == modes
    assert 0 == mask
    assert {"control.lock"} == beside(path)


def test_the_socket_is_its_owners_only_from_its_first_moment(path: Path) -> None:
    made = control._bound(path)  # Nobody listens yet, and nothing was changed since it was there.
    mode = stat.S_IMODE(path.stat().st_mode)
    made.close()

    assert 0o600 == mode


async def test_a_socket_that_a_killed_gate_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with Control(path, HANDLERS).listening():
        assert "echo" == (await ask(path, "echo"))["ask"]


async def test_another_gate_that_listens_is_left_alone(listening: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Control(listening, {}).listening() as is_listening:
        assert not is_listening
        assert "echo" == (await ask(listening, "echo"))["ask"]

    assert "echo" == (await ask(listening, "echo"))["ask"]
    assert ["control_taken"] == [record.getMessage() for record in caplog.records if record.name == "proxy.admin"]


@pytest.fixture
def file(path: Path) -> Path:
    path.write_text("mine")
    return path


async def test_a_file_that_is_no_socket_is_not_removed(file: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be listened on"):
        await Control(file, HANDLERS).listening().__aenter__()

    assert {"control.sock", "control.lock"} == beside(file)


async def test_a_path_that_is_too_long_for_a_socket_stops_no_gate_and_is_the_owners_to_shorten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_in(tmp_path / ("ä" * (LONGEST_PATH // 2)))
    async with Control(path, HANDLERS).listening() as listens:
        with pytest.raises(GateNotRunning, match="choose a shorter state_dir"):
            await ask(path, "echo")

    assert not listens
    assert "control_path_too_long" in caplog.text


async def test_a_path_that_is_just_short_enough_will_do(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (LONGEST_PATH - len(os.fsencode(tmp_path)) - 1))
    async with Control(path, HANDLERS).listening():
        assert "echo" == (await ask(path, "echo"))["ask"]


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere.* cannot be made"):
        await Control(path_in(tmp_path / "nowhere"), HANDLERS).listening().__aenter__()


async def test_a_gate_that_stops_does_not_wait_for_who_asks(path: Path) -> None:
    asked = asyncio.Event()

    async def never(_: Mapping[str, Any]) -> Any:
        asked.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with Control(path, {"never": never}).listening():
            asking = asyncio.create_task(ask(path, "never"))
            await asked.wait()
        with pytest.raises(NotDone):
            await asking


@pytest.mark.parametrize(
    ("uid", "own", "may"),
    [(1000, 1000, True), (0, 1000, True), (None, 1000, True), (1001, 1000, False), (1000, 0, False)],
)
def test_the_gates_own_user_and_root_may_ask(uid: int | None, own: int, may: bool) -> None:
    assert may is may_ask(uid, own)


def test_the_system_tells_who_asks() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert (os.geteuid() if sys.platform == "linux" else None) == control._uid(here)


async def test_several_answer_at_one_socket_and_it_stays_until_its_maker_takes_it_away(path: Path) -> None:
    with held(path) as mine:
        assert mine is not None

        again = mine.socket.dup()
        async with answering(mine.socket, HANDLERS):
            async with answering(again, HANDLERS):
                for number in range(10):
                    assert number == (await ask(path, "echo", number=number))["number"]

            assert "here" == (await ask(path, "echo", one="here"))["one"]
        assert path.name in beside(path)
    assert path.name not in beside(path)


async def test_a_process_of_the_gate_is_asked_at_a_name_that_leaves_no_file() -> None:
    name = f"\0llamagate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.setblocking(False)
        listening.bind(name)
        async with answering(listening, HANDLERS):
            assert 7 == (await ask_worker(name, 5.0, {"ask": "echo", "one": 7}))["one"]
            with pytest.raises(NotDone, match="The disk is full"):
                await ask_worker(name, 5.0, {"ask": "refuse"})
    with pytest.raises(NoAnswer):
        await ask_worker(name, 5.0, {"ask": "echo"})


async def test_a_process_that_hangs_is_not_waited_for() -> None:
    name = f"\0llamagate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(name)
        deaf.listen()
        with pytest.raises(NoAnswer):
            await ask_worker(name, 0.01, {"ask": "echo"})
