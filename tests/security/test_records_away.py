"""What is on record cannot be reached: who is known goes on, nobody else comes in, and what has ended has ended."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.conftest import Gate, OpenGate
from tests.fakes.databases import Postgres
from tests.fakes.eventually import eventually
from tests.fakes.ollama_client import OllamaClient, new_key_file

PROCESSES = Path("/proc/self/task")


async def status(gate: Gate, key: str) -> int:
    return (await gate.ask(gate.get("/v1/key", key=key))).status


@contextmanager
def dead(server: Postgres) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """It takes connections, and answers nothing."""
    first = int((server.folder / "data/postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    stopped = [first, *map(int, children)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def away(server: Postgres, how: str) -> AsyncIterator[None]:
    """In a thread each time, for starting one takes its time."""
    gone = {"dead": dead, "frozen": frozen}[how](server)
    await asyncio.to_thread(gone.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(gone.__exit__, None, None, None)


@pytest.mark.parametrize(
    "how", ["dead", pytest.param("frozen", marks=pytest.mark.skipif(not PROCESSES.exists(), reason="needs Linux"))]
)
async def test_while_the_database_is_away_the_known_go_on_and_all_that_has_ended_has_ended(
    own_postgres: Postgres, open_gate: OpenGate, tmp_path: Path, how: str
) -> None:
    gate = await open_gate(database_url=SecretStr(own_postgres.new_database()))
    unseen = await gate.issue("bob")
    ending = await gate.desk.create_key("carol", lifetime=timedelta(seconds=3))
    rotated = await gate.desk.create_key("dora")
    renewed = await gate.desk.rotate_key(rotated.key.id, timedelta(seconds=3))
    client = OllamaClient(new_key_file(tmp_path / "erin"))
    await gate.desk.add_identity(client.public_line, "erin")

    async def signed() -> int:
        ts = int(time.time())
        proof = f"Authorization: {client.authorization('GET', '/v1/key', ts)}"
        return (await gate.ask(gate.get(f"/v1/key?ts={ts}", proof, key=""))).status

    remembered = gate.opened.who.remembered
    async with remembered.at_rest:
        await remembered.look()  # Else what is asked now would be forgotten again, once all these acts are seen.
    keys = (gate.key, ending.secret, rotated.secret, renewed.secret)
    assert [200] * 4 == [await status(gate, key) for key in keys]
    assert 200 == await signed()
    async with away(own_postgres, how):
        async with asyncio.timeout(30):
            await asyncio.sleep(4)  # Until the short ones have ended; time is the gate's own here.

            assert [200, 401, 401, 200] == [await status(gate, key) for key in keys]
            assert 200 == await signed()
            assert 503 == await status(gate, unseen)
    await eventually(lambda: _is(gate, unseen, 200), 15, "the database to be back")
    await gate.desk.suspend_key(renewed.key.id)
    await eventually(lambda: _is(gate, renewed.secret, 401), 2, "the suspension to bite")


async def _is(gate: Gate, key: str, expected: int) -> bool | None:
    return (await status(gate, key)) == expected or None
