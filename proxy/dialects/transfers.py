"""The progress of a pull, a push or a create: lines of JSON up to ``{"status":"success"}`` or an error.

The gate always asks for the lines, because only they tell how large a download will be before it is done; a client that
did not ask for them gets the last one alone.
"""

from proxy.dialects.counts import object_in
from proxy.dialects.screen import Screen
from proxy.errors import BackendRefused, PullTooLarge
from proxy.vocabulary import Usage

LONGEST_LINE = 1024 * 1024


class TransferMeter:
    """Watches the layers' sizes. Raises PullTooLarge once they add up to more than is allowed."""

    __slots__ = ("_held", "_last", "_most", "_screen", "_shows_all", "_sizes", "complete", "failed")

    usage = Usage()
    counted = False
    rewrites = True
    """The screen may change a line too."""

    def __init__(self, most_bytes: int | None, *, shows_all: bool) -> None:
        self._most = most_bytes
        self._shows_all = shows_all
        self._screen = Screen()
        self._sizes: dict[str, int] = {}
        self._held = bytearray()
        self._last = b""
        self.complete = False
        self.failed = False

    @property
    def content_type(self) -> str | None:
        return None if self._shows_all else "application/json; charset=utf-8"

    def feed(self, chunk: bytes) -> bytes:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._hold(line)
            self._see(bytes(self._held))
            self._held.clear()
        self._hold(rest)
        return self._screen.feed(chunk) if self._shows_all else b""

    def end(self) -> bytes:
        self._see(bytes(self._held))
        self._held.clear()
        if self._shows_all:
            return self._screen.end()
        return self._last if self.complete else b""

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) > LONGEST_LINE:
            self._held[:] = b"\0"  # It begins no JSON, whatever may follow.

    def _see(self, line: bytes) -> None:
        told = object_in(line)
        if told is None:
            return
        self._last = line
        if told.get("error"):
            self.failed = True
            if not self._shows_all:
                raise BackendRefused(500, "The model server could not do that.")
        if told.get("status") == "success":
            self.complete = True
        digest, total = told.get("digest"), told.get("total")
        if isinstance(digest, str) and isinstance(total, int) and not isinstance(total, bool):
            self._sizes[digest] = max(total, self._sizes.get(digest, 0))
            if self._most is not None and sum(self._sizes.values()) > self._most:
                raise PullTooLarge
