"""Carries scripts to Redis: what is asked in one tick of the loop travels together, on one connection to each server.

A command is sent once. One whose script Redis did not know was not run, and only such a one is sent again, with the
source. Who asks is told within the timeout, whatever happens to the connection, and whoever leaves disturbs nobody:
no reply ever goes to another's question (as in CVE-2023-28858).
"""

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, Self

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import (
    InvalidResponse,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from proxy.limits import StoreFailed
from proxy.limits.redis import servers
from proxy.limits.redis.patience import Watch, patience
from proxy.vocabulary import RedisAddress

MOST_ABOARD = 200
"""Questions of one flight: the last of them waits until Redis has answered all before it."""
CONNECTING = 5
"""Times as long may a connection take, which redis-py waits for: nobody waits for it, and a busy loop is late."""
TIMEOUT_SECONDS = 0.2
"""Several times what a Redis nearby needs, and little for somebody who waits for a model."""

LOOK_AGAIN_SECONDS = 1.0
"""Between two looks at who keeps what in a cluster, each of which takes some milliseconds of our own time."""

_FAILURES = (
    RedisError,
    RedisClusterException,  # It is no RedisError.
    OSError,
    ValueError,  # From redis-py's parser, where what arrives is not the protocol at all …
    LookupError,  # … and from its map of a cluster that has no slots yet.
    AttributeError,  # From asyncio of Python 3.12 and 3.13, which writes lines to a connection that it has lost.
    RuntimeError,  # From uvloop, where it has lost the connection that is written to.
)
_ELSEWHERE = re.compile(r"\b(?:READONLY|MASTERDOWN|LOADING|MOVED|CLUSTERDOWN)\b")
"""Another server, or this one later, is the one to ask. Before Redis 7, some of these come wrapped in a script's."""
_REPEATED = re.compile(r",? with args beginning with.*", re.DOTALL)
"""Redis repeats what an unknown command was told, which is the password where AUTH has been renamed."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua source, which answers with one bulk string, and the name that Redis knows it by."""

    source: str
    sha: str = field(init=False)
    by_name: bytes = field(init=False, repr=False)
    in_full: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)
        object.__setattr__(self, "by_name", _packed(["EVALSHA", sha]))
        object.__setattr__(self, "in_full", _packed(["EVAL", self.source]))


def is_wrong_type(failure: StoreFailed) -> bool:
    """Whether a key held something else than the script expects: it stays so until somebody deletes it."""
    return "WRONGTYPE" in str(failure.__cause__)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What one asker wants to know."""

    script: Script
    words: bytes
    """The keys and the arguments, as they are sent."""
    count: bytes
    """Of all words, those of the script included."""
    answer: asyncio.Future[bytes]

    def by_name(self) -> bytes:
        return self.count + self.script.by_name + self.words

    def in_full(self) -> bytes:
        return self.count + self.script.in_full + self.words

    def told(self, reply: object) -> None:
        if self.answer.done():
            return  # Who asked has left.
        if isinstance(reply, bytes):
            self.answer.set_result(reply)
        else:
            self.failed(InvalidResponse("the script did not answer with one bulk string"))

    def failed(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(_failure(error))


Lost = Callable[[Exception], Awaitable[None]]
"""Is told whenever a server turns out not to be the one to ask, and why."""


async def _nowhere_else(error: Exception) -> None:
    """There is but one server to ask, or the sentinels are asked before each connection anyway."""


class Line:
    """The connection to one server, and those who wait for it.

    One flight is in the air at a time, and what is asked meanwhile goes with the next: so commands keep their order,
    but for those whose script is not known, which come after the others of their flight.
    Connecting has its own time, for a second sentinel may know what the first does not say within ours.
    """

    def __init__(self, connection: AbstractConnection, timeout: float, lost: Lost) -> None:
        self._connection = connection
        self._greeting_timeout = connection.socket_timeout
        self._timeout = timeout
        self._lost = lost
        self._waiting: list[Question] = []
        self._flying: asyncio.Task[None] | None = None

    def ask(self, question: Question) -> None:
        self._waiting.append(question)
        if self._flying is None or self._flying.done():
            self._flying = asyncio.create_task(self._fly())  # It begins in the next tick, when all have come.

    async def close(self) -> None:
        if self._flying is not None:
            self._flying.cancel()
            await asyncio.wait([self._flying])
        while self._waiting:
            self._disappoint(self._boarding(), ConnectionError("the connection has been closed"))
        await self._hang_up()

    async def _fly(self) -> None:
        while self._waiting:
            try:
                await self._connect()
            except _FAILURES as error:
                await self._hang_up()
                await self._lost(error)
                self._disappoint(self._boarding(), error)
                continue
            if flight := self._boarding():
                await self._exchange(flight)

    def _boarding(self) -> list[Question]:
        """Those who still want to know."""
        boarding, self._waiting = self._waiting[:MOST_ABOARD], self._waiting[MOST_ABOARD:]
        return [question for question in boarding if not question.answer.done()]

    async def _connect(self) -> None:
        """Anew, where the server has hung up since, or has said something that nobody asked."""
        if self._connection.is_connected:
            if not await self._connection.can_read():
                return
            await self._hang_up()
        self._connection.socket_timeout = self._greeting_timeout
        await self._connection.connect()  # type: ignore[no-untyped-call]
        # From here on each flight has its time: one for every reply would cost more than the reply.
        self._connection.socket_timeout = None

    async def _exchange(self, flight: list[Question]) -> None:
        usable = False
        try:
            async with patience(self._timeout):
                unknown, usable = await self._put(flight, Question.by_name)
                if unknown:
                    _, is_still = await self._put(unknown, Question.in_full)
                    usable = usable and is_still
        except _FAILURES as error:
            usable = False
            self._disappoint(flight, error)
            await self._lost(error)
        finally:  # Also after what nobody expects: replies that were not read must not become somebody else's.
            if not usable:
                self._disappoint(flight, ConnectionError("the connection has been closed"))
                await self._hang_up()

    async def _put(self, flight: list[Question], command: Callable[[Question], bytes]) -> tuple[list[Question], bool]:
        """Those whose script is not known, and whether this is still the server to ask."""
        await self._connection.send_packed_command([b"".join(map(command, flight))])
        unknown, usable = [], True
        for question in flight:
            try:
                reply = await self._connection.read_response()
            except ResponseError as error:
                if isinstance(error, NoScriptError) and command is Question.by_name:
                    unknown.append(question)
                    continue
                question.failed(error)
                if _ELSEWHERE.search(f"{error.status_code} {error}"):
                    usable = False
                    await self._lost(error)
            else:
                question.told(reply)
        return [question for question in unknown if not question.answer.done()], usable

    def _disappoint(self, questions: list[Question], error: Exception) -> None:
        for question in questions:
            question.failed(error)

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)


class Lines(Protocol):
    """Finds the server to ask."""

    async def to(self, key: str) -> Line:
        """The line to who keeps this key. Raises StoreFailed."""

    async def close(self) -> None: ...


class OneLine:
    """To the one server, or to the one that the sentinels call the master."""

    def __init__(self, client: Redis, timeout: float) -> None:
        self._client = client
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._line = Line(connection, timeout, _nowhere_else)

    async def to(self, key: str) -> Line:
        return self._line

    async def close(self) -> None:
        await self._line.close()
        pool = self._client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            await pool.sentinel_manager.aclose()
        await self._client.aclose()


class ClusterLines:
    """One to each node that is wanted. Whenever one was not the one to ask, the nodes are asked anew who keeps what.

    Only the first time is that waited for: later, what is known is good enough for all but the places of that node.
    """

    def __init__(self, client: RedisCluster, timeout: float) -> None:
        self._client = client
        self._nodes = client.nodes_manager
        self._configured = dict(self._nodes.startup_nodes)
        self._timeout = timeout
        self._lines: dict[str, Line] = {}
        self._looking: asyncio.Task[Exception | None] | None = None
        self._looked = -math.inf

    async def to(self, key: str) -> Line:
        if not self._nodes.slots_cache:
            # Goes on when those have left who wait: it may be the third node that answers.
            try:
                async with patience(self._timeout):
                    error = await asyncio.shield(self._look())
            except TimeoutError as late:
                raise StoreFailed from late
            if error is not None:
                raise _failure(error)
        try:
            node = self._nodes.get_node_from_slot(self._client.keyslot(key))
        except (RedisClusterException, LookupError) as error:  # LookupError where the place has no node at all.
            await self._lost(error)
            raise _failure(error) from error
        line = self._lines.get(node.name)
        if line is None:
            # Not one of the node's own connections: those are dropped at every look at the cluster.
            connection = node.connection_class(**node.connection_kwargs)
            line = self._lines[node.name] = Line(connection, self._timeout, self._lost)
        return line

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for line in self._lines.values():
            await line.close()
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")

    async def _lost(self, error: Exception) -> None:
        if isinstance(error, MovedError):
            with suppress(LookupError):
                await self._nodes.move_slot(error)  # So that the next who asks arrives, whatever a look takes.
        if asyncio.get_running_loop().time() - self._looked > LOOK_AGAIN_SECONDS:
            self._look()

    def _look(self) -> asyncio.Task[Exception | None]:
        """One for all."""
        if self._looking is None or self._looking.done():
            self._looked = asyncio.get_running_loop().time()
            self._looking = asyncio.create_task(self._map())
        return self._looking

    async def _map(self) -> Exception | None:
        try:
            await self._nodes.initialize()
        except _FAILURES as error:
            return error
        # Next time both those that were configured and those that were found are asked: either may be gone by then.
        self._nodes.startup_nodes = {**self._nodes.nodes_cache, **self._configured}
        gone = [name for name in self._lines if name not in self._nodes.nodes_cache]
        for name in gone:
            await self._lines.pop(name).close()
        return None


class Link:
    """To Redis, of whichever kind."""

    def __init__(self, client: Redis | RedisCluster, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._watch = Watch(timeout)
        self._lines: Lines = (
            ClusterLines(client, timeout) if isinstance(client, RedisCluster) else OneLine(client, timeout)
        )
        self._is_closed = False

    @classmethod
    def to(cls, address: RedisAddress, *, timeout: float = TIMEOUT_SECONDS) -> Self:
        """Connects to nothing yet. Raises Misconfigured."""
        return cls(servers.client(address, CONNECTING * timeout), timeout=timeout)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> bytes:
        """The script's one bulk string. In a cluster all keys lie in one slot.

        Raises StoreFailed, with what Redis or the network said as its cause: at the latest after the timeout, all
        waiting included. Whether the script has run is not known then.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        words = _packed([len(keys), *keys, *arguments])
        question = Question(script, words, b"*%d\r\n" % (3 + len(keys) + len(arguments)), answer)
        line = await self._lines.to(keys[0] if keys else "")
        if self._is_closed:
            raise StoreFailed from ConnectionError("the link has been closed")
        line.ask(question)
        self._watch.over(answer)
        try:
            return await answer
        except TimeoutError as error:
            raise StoreFailed from error

    async def close(self) -> None:
        """Who still waits is told that it failed."""
        self._is_closed = True
        await self._lines.close()


def _packed(words: Sequence[str | int]) -> bytes:
    """As the protocol has it. Not redis-py's, which takes several times as long."""
    said = [str(word) for word in words]
    return "".join([f"${len(one) if one.isascii() else len(one.encode())}\r\n{one}\r\n" for one in said]).encode()


def _failure(error: Exception) -> StoreFailed:
    if isinstance(error, ResponseError):
        error.args = (_REPEATED.sub("", str(error)),)
    failure = StoreFailed()
    failure.__cause__ = error
    return failure
