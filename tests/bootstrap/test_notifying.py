import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.bootstrap.notifying import Manager, notifying, watchdog_seconds

PID = 4711
A_MOMENT = 5.0


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        manager.setblocking(False)
        yield manager


def heard(manager: socket.socket) -> list[str]:
    """All that was said so far."""
    said = []
    try:
        while True:
            said.append(manager.recv(1024).decode())
    except BlockingIOError:
        return said


@pytest.mark.parametrize(
    "abstract",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without a file")
        ),
    ],
)
async def test_the_manager_hears_when_the_gate_is_ready_and_when_it_stops(tmp_path: Path, abstract: bool) -> None:
    address = f"@llamagate-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with listening(address) as socket_of_manager:
        async with notifying({"NOTIFY_SOCKET": address}) as manager:
            assert [] == heard(socket_of_manager)
            manager.ready()

            assert ["READY=1"] == heard(socket_of_manager)
            manager.stopping()

        assert ["STOPPING=1"] == heard(socket_of_manager)


async def test_a_manager_that_watches_hears_that_the_loop_turns_until_the_end(tmp_path: Path) -> None:
    address, told = str(tmp_path / "notify"), {"WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(PID)}
    with listening(address) as manager:
        loop = asyncio.get_running_loop()
        async with notifying({"NOTIFY_SOCKET": address, **told}, PID), asyncio.timeout(A_MOMENT):
            first, second = await loop.sock_recv(manager, 1024), await loop.sock_recv(manager, 1024)
        heard(manager)
        await asyncio.sleep(0)

        assert (b"WATCHDOG=1", b"WATCHDOG=1") == (first, second)
        assert [] == heard(manager)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_only_whoever_is_watched_is_watched(environment: dict[str, str], seconds: float | None) -> None:
    assert seconds == watchdog_seconds(environment, PID)


@pytest.mark.parametrize("address", [None, "/nowhere/at/all", "x" * 300])
def test_a_manager_that_cannot_be_told_is_no_trouble(address: str | None) -> None:
    Manager(address).ready()


def test_a_manager_that_does_not_listen_to_what_comes_holds_nothing_up(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address):
        for _ in range(10_000):  # More than any queue of datagrams takes.
            Manager(address).alive()
