"""A gate of two real processes over a real Redis: each of them is killed, stopped, told to reload and to drain."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.bootstrap.supervising import HUNG_SECONDS
from proxy.vocabulary import Tongue
from tests.end_to_end.commands import forge
from tests.end_to_end.gate import LISTENS, Account, Gate, Row, ended
from tests.end_to_end.processes import START_SECONDS, STOP_SECONDS, environment, running
from tests.end_to_end.test_draining import ADMIN, connected, got
from tests.fakes.answers import NATIVE_LINES, NDJSON, WHOLE, question
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, recording, streaming, whole

WORKERS = 2
PATIENCE_SECONDS = 15.0
LIMITED = "[plans.default.limits]\nrequests_per_minute = 1000\n"

T = TypeVar("T")


@dataclass
class House:
    """The gate, and what is behind it."""

    gate: Gate
    upstream: RecordingUpstream
    account: Account
    told: Mapping[str, object]

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.gate.running.process.pid)

    def workers(self) -> list[int]:
        """Their processes, the eldest first."""
        return [one.pid for one in sorted(self.supervisor.children(), key=lambda child: child.create_time())]

    @property
    def admin(self) -> str:
        match = ADMIN.search(self.gate.running.log.read_text())
        assert match is not None
        return match[1]

    def log(self, event: str) -> list[Row]:
        """The lines of this event."""
        lines = self.gate.running.log.with_name("out.log").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row.get("event") == event]

    def write(self, tables: str) -> None:
        write(self.gate.folder, self.told, tables)

    async def asked(self, *words: str) -> list[Any]:
        return await asyncio.to_thread(self.gate.asked, *words)

    async def rows(self) -> list[Row]:
        return await asyncio.to_thread(self.gate.calls, self.account)

    async def outcomes(self, calls: int) -> Counter[str]:
        """Of the ledger's lines, once there are so many."""

        async def look() -> Counter[str] | None:
            rows = await self.rows()
            return Counter(row["outcome"] for row in rows) if len(rows) >= calls else None

        return await eventually(look, PATIENCE_SECONDS, f"{calls} lines in the ledger")

    async def begin(self) -> RawClient:
        """A client whose stream has begun."""
        client = await self.post(question())
        await client.until(NATIVE_LINES[0])
        return client

    async def post(self, said: Mapping[str, object]) -> RawClient:
        body = json.dumps(said).encode()
        client = await connected(self.gate.url)
        fields = f"Host: a\r\nAuthorization: Bearer {self.account.key}\r\nContent-Length: {len(body)}"
        await client.send(f"POST /api/chat HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
        return client

    async def call(self) -> Told:
        client = await self.post(question(stream=False))
        try:
            return await client.told()
        finally:
            client.close()

    async def begun_on(self, worker: int) -> RawClient:
        """A client whose stream goes on in this process."""
        for _ in range(50):
            client = await self.begin()
            if client_of(client) in {one.raddr.port for one in psutil.Process(worker).net_connections() if one.raddr}:
                return client
            client.close()
        pytest.fail("the kernel gives this worker nothing")

    async def figures(self) -> dict[tuple[str, str], float]:
        """By name and the values of the labels."""
        text = (await got(self.admin, "/metrics")).body.decode()
        return {
            (one.name, ",".join(one.labels.values())): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
        }

    async def ready(self) -> tuple[int, Row]:
        told = await got(self.admin, "/readyz")
        return told.status, json.loads(told.body)

    async def all_ready(self, *without: int) -> list[int]:
        """The workers, once they all are, and none of these is among them."""

        async def look() -> list[int] | None:
            is_ready = (await self.ready())[0] == 200
            workers = self.workers()
            return workers if is_ready and len(workers) == WORKERS and not {*without} & {*workers} else None

        return await eventually(look, START_SECONDS, "workers that are ready")


def client_of(client: RawClient) -> int:
    """The port that it calls from."""
    return int(client._writer.get_extra_info("sockname")[1])


def write(folder: Path, told: Mapping[str, object], tables: str = "") -> None:
    """What the gate there is told."""
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{name} = {json.dumps(one)}\n" for name, one in told.items())
    (folder / "llamagate.toml").write_text(lines + tables)


async def until(look: Callable[[], T | None], awaited: str, seconds: float = PATIENCE_SECONDS) -> T:
    async def looks() -> T | None:
        return look()

    return await eventually(looks, seconds, awaited)


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with recording() as upstream:
        upstream.says(whole(WHOLE[Tongue.OLLAMA]))
        yield upstream


@pytest.fixture
def told(redis_server: RedisServer, upstream: RecordingUpstream) -> dict[str, object]:
    return {
        "listen": "127.0.0.1:0",
        "admin_listen": "127.0.0.1:0",
        "upstream": upstream.url,
        "redis_url": redis_server.url,
        "redis_insecure": True,
    }


@pytest.fixture
async def house(told: dict[str, object], upstream: RecordingUpstream, tmp_path: Path) -> AsyncIterator[House]:
    folder = tmp_path / "gate"
    write(folder, told)
    account = await asyncio.to_thread(Gate(None, folder).issue, "alice")  # type: ignore[arg-type]  # It only knows it.
    serve = ["serve", "--workers", str(WORKERS)]
    opening = running(serve, folder, LISTENS, environment(folder), forge().gate)
    process = await asyncio.to_thread(opening.__enter__)  # Its first question is for the upstream in this loop.
    try:
        here = House(Gate(process, folder), upstream, account, told)
        await here.all_ready()
        yield here
    finally:
        await asyncio.to_thread(opening.__exit__, None, None, None)


async def test_two_processes_answer_and_tell_one_set_of_figures(house: House) -> None:
    assert {200} == {(await house.call()).status for _ in range(40)}
    assert {"served": 40} == await house.outcomes(40)

    seen = await house.figures()
    (proofs,) = await house.asked("auth", "status", "--json")
    (counting,) = await house.asked("limits", "status", "--json")

    assert (40, 2, 0) == (
        seen["llamagate_calls_total", "/api/chat,served"],
        seen["llamagate_workers", ""],
        seen["llamagate_workers_replaced_total", ""],
    )
    assert 40 == seen["llamagate_call_seconds_count", "/api/chat"]
    assert (40, 40) == (seen["llamagate_proofs_total", "api_key"], proofs["counts"]["api_key"])
    assert ("Redis", 0) == (counting["store"], counting["under_way"])


async def test_what_goes_on_in_either_is_seen_by_one_command(house: House) -> None:
    house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    clients = [await house.begun_on(worker) for worker in house.workers()]
    (look,) = await house.asked("top", "--json", "--once")
    seen = await house.figures()
    for client in clients:
        client.close()

    assert 2 <= len(look["calls"]), json.dumps(look)
    assert {"alice"} == {call["user"] for call in look["calls"]}
    assert len(look["calls"]) == seen["llamagate_calls_under_way", ""]


async def test_a_killed_worker_is_replaced_its_call_is_in_the_ledger_and_no_figure_is_lost(house: House) -> None:
    before = [(await house.call()).status for _ in range(10)]
    first, second = house.workers()
    await house.figures()
    house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    doomed, spared = await house.begun_on(second), await house.begun_on(first)
    calls = len(house.upstream.asked)
    await house.outcomes(calls - 2)  # Clients that came to the wrong worker have left, and it has noticed.
    os.kill(second, signal.SIGKILL)

    assert not (await doomed.told()).clean

    doomed.close()
    others = await house.all_ready(second)
    house.upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    after = [(await house.call()).status for _ in range(20)]
    seen = await house.figures()
    spared.close()
    outcomes = await house.outcomes(calls + 20)
    (death,) = house.log("worker_died")

    assert {200} == {*before, *after}
    assert first in others
    assert 1 == outcomes["lost"], "the call that went on in it"
    assert (10 + 20, calls + 20) == (outcomes["served"], outcomes.total())
    assert 10 + 20 == seen["llamagate_calls_total", "/api/chat,served"]
    assert (2, 1) == (seen["llamagate_workers", ""], seen["llamagate_workers_replaced_total", ""])
    assert (second, signal.SIGKILL) == (death["pid"], death["signal"])
    assert 1 == len(house.log("journal_taken_over")), "and the other's journal was left alone"


async def test_a_worker_that_hangs_is_killed_and_replaced(house: House) -> None:
    first, second = house.workers()
    os.kill(first, signal.SIGSTOP)
    not_ready = await eventually(lambda: _not_ready(house), PATIENCE_SECONDS, "a readiness that fails")
    await until(lambda: house.log("worker_hung") or None, "a worker that is taken to hang", HUNG_SECONDS + 10)
    others = await house.all_ready(first)

    assert (["workers"], "1 of 2") == (not_ready["failing"], not_ready["checks"]["workers"])
    assert second in others
    assert {200} == {(await house.call()).status for _ in range(10)}
    assert [first] == [row["pid"] for row in house.log("worker_hung")]


async def _not_ready(house: House) -> Row | None:
    status, told = await house.ready()
    return told if status != 200 else None


async def test_limits_hold_across_workers_exactly(house: House) -> None:
    (limited,) = await house.asked("keys", "create", "--user", "bob", "--rpm", "1", "--burst", "10", "--json")
    house.account = Account("bob", limited["key"], limited["id"])
    await house.all_ready()
    statuses = Counter([one.status for one in await asyncio.gather(*(house.call() for _ in range(100)))])

    assert {200: 10, 429: 90} == statuses


async def test_a_new_configuration_is_taken_by_all_and_by_those_that_come(house: House) -> None:
    house.write(LIMITED)
    (reloaded,) = await house.asked("reload", "--json")

    assert ["plans.default.limits.requests_per_minute"] == reloaded["applied"]
    assert {"1000"} == await limits_of(house)

    doomed = house.workers()[0]
    os.kill(doomed, signal.SIGKILL)
    await house.all_ready(doomed)

    assert {"1000"} == await limits_of(house), "the one that came later too"

    house.write(LIMITED + "wrong = 1\n")
    os.kill(house.supervisor.pid, signal.SIGHUP)
    await until(lambda: house.log("reload_refused") or None, "a refusal")

    assert {"1000"} == await limits_of(house)

    house.write("")
    os.kill(house.supervisor.pid, signal.SIGHUP)

    async def unlimited() -> bool | None:
        return await limits_of(house) == {None} or None

    await eventually(unlimited, PATIENCE_SECONDS, "both without a limit")


async def limits_of(house: House) -> set[str | None]:
    """What calls are told of the limit of requests, however the kernel spreads them."""
    told = [await house.call() for _ in range(16)]
    return {one.fields.get("x-ratelimit-limit-requests") for one in told}


async def test_all_drain_together_and_every_line_is_written(house: House) -> None:
    go_on = asyncio.Event()
    house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
    clients = [await house.begin() for _ in range(10)]
    house.gate.running.process.terminate()
    await eventually(lambda: _refused(house), PATIENCE_SECONDS, "a closed door")
    status, told = await house.ready()
    go_on.set()
    heard = [await client.told() for client in clients]
    for client in clients:
        client.close()
    code = await asyncio.to_thread(house.gate.running.process.wait, STOP_SECONDS)

    assert (503, True) == (status, "draining" in told["failing"])
    assert [True] * 10 == [one.clean for one in heard]
    assert (0, {"served": 10}) == (code, await house.outcomes(10))
    assert not (house.gate.folder / "state/control.sock").exists()
    assert [] == list((house.gate.folder / "state/journal").iterdir())


async def _refused(house: House) -> bool | None:
    try:
        (await connected(house.gate.url)).close()
    except ConnectionError:
        return True
    return None


async def test_a_second_signal_hastens_all(house: House) -> None:
    house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    clients = [await house.begin() for _ in range(6)]
    house.gate.running.process.terminate()
    await eventually(lambda: _refused(house), PATIENCE_SECONDS, "a closed door")
    house.gate.running.process.terminate()
    heard = [await client.told() for client in clients]
    for client in clients:
        client.close()
    code = await asyncio.to_thread(house.gate.running.process.wait, STOP_SECONDS)

    assert [False] * 6 == [one.clean for one in heard]
    assert (0, {"gate_failed": 6}) == (code, await house.outcomes(6))


async def test_workers_whose_supervisor_is_killed_drain_by_themselves(house: House) -> None:
    workers = [psutil.Process(pid) for pid in house.workers()]
    await house.call()
    house.gate.running.process.kill()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, STOP_SECONDS)

    assert (WORKERS, []) == (len(gone), alive)
    assert {"served": 1} == await house.outcomes(1)
    assert WORKERS == len(house.log("supervisor_gone"))


async def test_a_terminal_that_interrupts_all_of_them_drains_once(house: House) -> None:
    """As Ctrl-C does, and a service manager that sends its signal to every process of a service."""
    go_on = asyncio.Event()
    house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
    clients = [await house.begin() for _ in range(4)]
    os.killpg(house.gate.running.process.pid, signal.SIGINT)
    await eventually(lambda: _refused(house), PATIENCE_SECONDS, "a closed door")
    go_on.set()
    heard = [await client.told() for client in clients]
    for client in clients:
        client.close()

    assert [True] * 4 == [one.clean for one in heard]
    assert 0 == await asyncio.to_thread(house.gate.running.process.wait, STOP_SECONDS)


def test_without_a_redis_more_than_one_worker_is_refused(tmp_path: Path) -> None:
    refused = ended(tmp_path, "serve", "--workers", "2")

    assert 1 == refused.returncode
    assert re.search("--workers: needs redis_url", refused.stderr)


async def test_where_the_first_worker_cannot_open_the_gate_ends_and_says_why(
    told: dict[str, object], tmp_path: Path
) -> None:
    write(tmp_path, told, '[tls]\ncertificate = "nowhere.pem"\nkey = "nowhere.key"\n')
    refused = await asyncio.to_thread(ended, tmp_path, "serve", "--workers", "2")

    assert 1 == refused.returncode
    assert "nowhere.pem cannot be read" in refused.stderr


async def test_a_port_that_another_gate_has_is_not_shared_with_it(house: House, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other, {**house.told, "listen": house.gate.url.removeprefix("http://"), "workers": 2})
    refused = await asyncio.to_thread(ended, other, "serve")

    assert 1 == refused.returncode
    assert "Address already in use" in refused.stderr
