"""Lines of JSON on their way to the client, all as they came but for one that tells of an error.

Such a line is held until it is whole, and said again without what is not the caller's business: Ollama's may name a
file on the server, repeat what another host answered, or hold a ``signin_url`` that would link the owner's account.
"""

import msgspec

from proxy.dialects.counts import object_in
from proxy.errors import BackendBrokeOff, safe_to_show

BEGINNING = b'{"error"'
LONGEST_LINE = 64 * 1024
"""Of an error: what a longer one says is not told."""


class Screen:
    """Whatever ``feed`` and ``end`` give may be shown. A line is held no longer than it may still be an error."""

    __slots__ = ("_held", "_passes")

    def __init__(self) -> None:
        self._held = bytearray()
        self._passes = False
        """The line that has begun is no error."""

    def feed(self, chunk: bytes) -> bytes:
        if self._passes and b"\n" not in chunk:
            return chunk
        *ended, rest = chunk.split(b"\n")
        shown: list[bytes] = []
        for piece in ended:
            shown += (self._more(piece), self._line_ends(), b"\n")
        shown.append(self._more(rest))
        return b"".join(shown)

    def end(self) -> bytes:
        """What is held of a line that never ended."""
        return self._line_ends()

    def _more(self, piece: bytes) -> bytes:
        if self._passes:
            return piece
        self._held += piece
        if self._held.startswith(BEGINNING) or BEGINNING.startswith(self._held):
            del self._held[LONGEST_LINE:]
            return b""
        self._passes = True
        shown = bytes(self._held)
        self._held.clear()
        return shown

    def _line_ends(self) -> bytes:
        line = bytes(self._held)
        self._held.clear()
        self._passes = False
        return _said_again(line) if line.startswith(BEGINNING) else line


def _said_again(line: bytes) -> bytes:
    told = object_in(line) or {}
    words = told.get("error")
    if not words and told:
        return line
    safe = safe_to_show(words) if isinstance(words, str) else BackendBrokeOff.default
    return line if told == {"error": safe} else msgspec.json.encode({"error": safe})
