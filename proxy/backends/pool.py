"""Connections to one backend that wait to be used again.

What was sent over a connection must never be sent twice, so a call fails where its connection ends under it. One that
may be stale is therefore not used: it waits for no longer than every server is known to keep it, and is looked at for
its end just before. And there are servers that end a connection after an answer without saying so, a moment later: each
rests for that moment, and none is used again before one has been seen to stay open for a while.
"""

import asyncio
import select
import ssl
from collections import deque
from typing import Final

from proxy.backends.place import Place, connected
from proxy.backends.wire import Wire
from proxy.errors import BackendDown

IDLE_SECONDS: Final = 2.0
"""Go, and so Ollama, keeps a connection for ever; gunicorn for 2 seconds, uvicorn, Node and llama.cpp for 5."""
MOST_IDLE: Final = 128


class Pool:
    """Gives out connections, the one first that has waited for longest."""

    def __init__(
        self,
        place: Place,
        connect_seconds: float,
        watch_seconds: float,
        *,
        trial_seconds: float = 0.25,
        rest_seconds: float = 0.01,
        look_seconds: float = 1.0,
    ) -> None:
        """``trial_seconds`` is for how long one has to stay open before it is believed that the backend keeps them,
        ``rest_seconds`` for how long each has to after an answer, and ``look_seconds`` is by how much it may be noticed
        late that one is silent.
        """
        self._rest_seconds = rest_seconds
        self._look_seconds = look_seconds
        self._place = place
        self._trial_seconds = trial_seconds
        self._are_kept = False
        self._connect_seconds = connect_seconds
        self._watch_seconds = watch_seconds
        self._idle: deque[tuple[float, Wire]] = deque()
        """Each since when."""
        self._all: set[Wire] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._waiting: set[Wire] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._trust: ssl.SSLContext | None = None
        self._is_closed = False

    async def wire(self) -> Wire:
        """A connection that can be asked something. Raises BackendDown where there is none to be had."""
        now = asyncio.get_running_loop().time()
        if not self._are_kept and self._idle:
            since, oldest = self._idle[0]
            self._are_kept = now - since >= self._trial_seconds and oldest.is_usable and not _has_ended(oldest)
        while self._are_kept and self._idle and now - self._idle[0][0] >= self._rest_seconds:
            since, wire = self._idle.popleft()
            if wire.is_usable and now - since < IDLE_SECONDS:
                if not _has_ended(wire):
                    self._watch()
                    return wire
                self._are_kept = False
            wire.abort()
        if self._place.tls and self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)  # It reads a file of authorities.
        made: list[Wire] = []

        def protocol() -> Wire:
            made.append(Wire(self._gone, self._waiting))  # To look at an address may make another one.
            self._all.add(made[-1])
            return made[-1]

        try:
            async with asyncio.timeout(self._connect_seconds):
                await connected(self._place, protocol, self._watch_seconds, self._trust)
        except BaseException as error:
            for wire in made:
                self._all.discard(wire)
                wire.abort()
            if isinstance(error, (OSError, TimeoutError)):
                raise BackendDown from error
            raise
        if self._is_closed:  # Meanwhile.
            made[-1].abort()
            raise BackendDown
        self._watch()
        return made[-1]

    def _watch(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(self._look_seconds, self._look)

    def _look(self) -> None:
        """Whether any that are waited for have been silent for too long."""
        self._looking = None
        now = asyncio.get_running_loop().time()
        for wire in tuple(self._waiting):
            wire.look(now)
        if len(self._all) > len(self._idle):  # Whoever has one may wait for the backend again at any time.
            self._watch()

    def _gone(self, wire: Wire) -> None:
        """A connection has ended; those that wait are not ended by us before they are taken from the others."""
        self._all.discard(wire)
        if any(wire is one for _, one in self._idle):
            self._idle = deque(one for one in self._idle if one[1] is not wire)
            self._are_kept = False

    def take_back(self, wire: Wire) -> None:
        """Keep it for the next call, or end it where it is not fit for that."""
        if self._is_closed or not wire.is_usable or len(self._idle) >= MOST_IDLE:
            wire.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), wire))
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """End what has waited for long enough."""
        loop = asyncio.get_running_loop()
        self._sweeping = None
        while self._idle and loop.time() - self._idle[0][0] >= IDLE_SECONDS:
            self._idle.popleft()[1].abort()
        if self._idle:
            self._sweeping = loop.call_at(self._idle[0][0] + IDLE_SECONDS, self._sweep)

    async def close(self) -> None:
        """End every connection, whatever is under way on it, and make no further one."""
        self._is_closed = True
        for timer in (self._sweeping, self._looking):
            if timer is not None:
                timer.cancel()
        self._sweeping = self._looking = None
        self._idle.clear()
        for wire in tuple(self._all):
            wire.abort()
        await asyncio.sleep(0)  # They hear of it in the loop's next turn.


def _has_ended(wire: Wire) -> bool:
    """Whether the other side has closed it, or said something unasked, and the loop has not come to it yet."""
    descriptor = wire.fileno()
    if descriptor < 0:
        return True
    look = select.poll()
    look.register(descriptor, select.POLLIN)
    return bool(look.poll(0))
