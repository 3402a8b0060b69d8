"""Server-sent events, cut out of a stream however its bytes arrive.

Whoever only counts wants each event's data; whoever also hides some wants its bytes. A line ends with LF, CRLF or CR
in the standard; Ollama and every engine we know send LF, and CRLF is understood.
"""

from collections.abc import Iterator

LONGEST_EVENT = 16 * 1024 * 1024
"""Bytes of one event that are held to be read; a longer one passes unread. ``context`` can make one of several MB."""


class Blocks:
    """Cuts a stream of bytes into events, each with the blank line that ends it."""

    __slots__ = ("_held", "overflowed")

    def __init__(self) -> None:
        self._held = bytearray()
        self.overflowed = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that are whole now."""
        held = self._held
        searched = max(0, len(held) - 3)
        held += chunk
        begin = 0
        while (end := _end_of_event(held, max(begin, searched))) >= 0:
            yield bytes(held[begin:end])
            begin = end
        del held[:begin]
        if len(held) > LONGEST_EVENT:
            self.overflowed = True

    def rest(self) -> bytes:
        """What stands after the last whole event, no longer held."""
        self.overflowed = False
        rest = bytes(self._held)
        self._held.clear()
        return rest


def _end_of_event(held: bytearray, start: int) -> int:
    lf, crlf = held.find(b"\n\n", start), held.find(b"\n\r\n", start)
    if lf < 0:
        return crlf + 3 if crlf >= 0 else -1
    return lf + 2 if crlf < 0 or lf < crlf else crlf + 3


def data_of(event: bytes) -> bytes:
    """The data of an event; empty for comments and events without any."""
    lines = (line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)


def name_of(event: bytes) -> bytes:
    for line in event.splitlines():
        if line.startswith(b"event:"):
            return line[6:].strip()
    return b""
