"""Meters of answers that come as one JSON object."""

from collections.abc import Callable
from typing import Any

import msgspec

from proxy.dialects.counts import Tally, object_in
from proxy.vocabulary import Usage, joined

LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that are held to find its counts, a batch of embeddings being the largest; beyond, a floor."""
LONGEST_COUNTS = 4096
"""Bytes of a member that may be counts; a longer one, such as a list of vectors, is not turned into objects."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class WholeMeter:
    """Passes everything on and reads the object once it has ended."""

    __slots__ = ("_held", "_read", "_tally", "complete", "failed")

    def __init__(self, prompt_floor: int, read: Callable[[dict[str, Any]], Usage | None]) -> None:
        self._tally = Tally(prompt_floor)
        self._read = read
        self._held: bytearray | None = bytearray()
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        if self._held is not None:
            self._held += chunk
            if len(self._held) > LONGEST_ANSWER:
                self._held = None
        return chunk

    def end(self) -> bytes:
        if self._held is None:
            self.complete = True  # Too long to be looked into; its framing was whole, and that must do.
            return b""
        held, self._held = self._held, None
        try:
            members = _members.decode(held)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""
        self.complete = True
        small = {name: bytes(raw) for name, raw in members.items() if len(memoryview(raw)) <= LONGEST_COUNTS}
        answer = object_in(joined(small))
        if answer is not None and (usage := self._read(answer)):
            self._tally.tell(usage)
        return b""

    @property
    def usage(self) -> Usage:
        return self._tally.usage


class FreeMeter:
    """For answers that cost no tokens: lists, versions, metadata. Whatever comes is the answer."""

    __slots__ = ("complete", "failed")

    usage = Usage()

    def __init__(self) -> None:
        self.complete = True
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""
