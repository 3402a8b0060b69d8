"""Server-sent events, cut out of a stream however its bytes arrive.

Whoever only counts wants each event's data; whoever also hides some wants its bytes. A line ends with LF, CRLF or CR
in the standard; Ollama and every engine we know send LF, and CRLF is understood.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_EVENT = 16 * 1024 * 1024
"""Bytes of one event that are held to be read; a longer one passes unread. ``context`` can make one of several MB."""

_END = re.compile(rb"\n\r?\n")


class Event(NamedTuple):
    """One event, or a piece of one that is too long to be held."""

    raw: bytes
    """With the blank line that ends it."""
    data: bytes
    """Empty for comments, for events without any, and for what is too long."""


class Blocks:
    """Cuts a stream of bytes into events; put together again, their bytes are the stream."""

    __slots__ = ("_held", "_too_long")

    def __init__(self) -> None:
        self._held = bytearray()
        self._too_long = False

    @property
    def is_between(self) -> bool:
        """Whether all that came has been given out: the next byte begins an event."""
        return not self._held and not self._too_long

    @property
    def goes_on(self) -> bool:
        """Whether what was given out last is a piece of an event that is too long to be held, and not its end."""
        return self._too_long

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are whole now."""
        held = self._held
        searched = max(0, len(held) - 2)
        held += chunk
        begin = 0
        while found := _END.search(held, max(begin, searched)):
            yield self._event(bytes(held[begin : found.end()]))
            begin = found.end()
        del held[:begin]
        if len(held) > LONGEST_EVENT:
            self._too_long = True
            yield Event(bytes(held[:-2]), b"")
            del held[:-2]  # The rest may be the first half of its end.

    def rest(self) -> Event:
        """What stands after the last whole event, no longer held."""
        rest = self._event(bytes(self._held))
        self._held.clear()
        return rest

    def _event(self, raw: bytes) -> Event:
        unread = self._too_long or len(raw) > LONGEST_EVENT
        self._too_long = False
        return Event(raw, b"" if unread else data_of(raw))


def data_of(event: bytes) -> bytes:
    """The data of an event; empty for comments and events without any."""
    lines = (line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)
