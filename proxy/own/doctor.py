"""``GET /v1/doctor``: does what comes late, and piece by piece, reach the caller so?

The gate is silent for a while, as it is while a model loads, and then says some small events with pauses between, as
it does while a model speaks. Whatever stands in front of the gate and holds back, compresses or cuts shows then. No
model is asked, so that it costs no tokens; how long and how often bounds what it costs.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from proxy.errors import NotUnderstood, RateLimited
from proxy.vocabulary import Ask, Caller, Clock, Take

LONGEST_SECONDS = 120.0
"""Of a whole answer: longer than any usual timeout of a proxy, and no place to stay."""
MOST_EVENTS = 100
MOST_OF_A_KEY = 4
"""Such answers to one key at once."""
MOST = 32
"""And to all keys."""
DONE = b"data: [DONE]\n\n"

_AGAIN = 1_000_000
"""Microseconds."""
_NUMBER = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Course:
    """How an answer shall come; all in seconds but the count."""

    wait: float = 0.0
    """Before the first event, and before the head with it."""
    events: int = 8
    every: float = 0.25
    """Between two events."""


class OwnDoctor:
    """An ``own.Flowing``."""

    def __init__(self, clock: Clock, pause: Pause = asyncio.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._under_way: Counter[str] = Counter()

    @asynccontextmanager
    async def __call__(self, caller: Caller, ask: Ask) -> AsyncIterator["Events"]:
        course = asked(ask.query)
        with self._counted(caller.key_id):
            yield Events(course, ask.peer, self._clock, self._pause)

    @contextmanager
    def _counted(self, key_id: str) -> Iterator[None]:
        if self._under_way[key_id] >= MOST_OF_A_KEY or self._under_way.total() >= MOST:
            raise RateLimited("Too many such answers are under way. Try again.", wait=_AGAIN)
        self._under_way[key_id] += 1
        try:
            yield
        finally:
            self._under_way[key_id] -= 1
            if not self._under_way[key_id]:
                del self._under_way[key_id]


class Events:
    """An ``Answer`` that takes its time."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream", "cache-control": "no-store"}

    def __init__(self, course: Course, peer: str, clock: Clock, pause: Pause) -> None:
        self._course = course
        self._peer = peer
        self._clock = clock
        self._pause = pause

    async def flow(self, take: Take) -> None:
        begun = self._clock()
        for number in range(self._course.events):
            await self._pause(self._course.every if number else self._course.wait)
            event = {
                "object": "doctor.event",
                "number": number + 1,
                "of": self._course.events,
                "seconds": round(self._clock() - begun, 3),
                "peer": self._peer,
            }
            last = DONE if number + 1 == self._course.events else b""
            if (later := take(f"data: {json.dumps(event)}\n\n".encode() + last)) is not None:
                await later

    def context_length(self) -> int | None:
        """No model speaks here."""
        return None


def asked(query: Mapping[str, str]) -> Course:
    """What these parameters ask for. Raises NotUnderstood."""
    usual = Course()
    events = _number(query, "events", usual.events, MOST_EVENTS)
    if not events or events != int(events):
        raise NotUnderstood(f"'events' should be a whole number from 1 to {MOST_EVENTS}.", param="events")
    course = Course(
        _number(query, "wait", usual.wait, LONGEST_SECONDS),
        int(events),
        _number(query, "every", usual.every, LONGEST_SECONDS),
    )
    if course.wait + (course.events - 1) * course.every > LONGEST_SECONDS:
        raise NotUnderstood(f"All of it may take {LONGEST_SECONDS:.0f} seconds at the most.", param="every")
    return course


def _number(query: Mapping[str, str], name: str, usual: float, most: float) -> float:
    told = query.get(name)
    if told is None:
        return usual
    if not _NUMBER.fullmatch(told) or float(told) > most:
        raise NotUnderstood(f"'{name}' should be a number from 0 to {most:.0f}.", param=name)
    return float(told)
