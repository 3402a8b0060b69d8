"""Meters of answers that come as one piece of JSON."""

from collections.abc import Callable
from typing import Any

import msgspec

from proxy.dialects.counts import Bounds, Tally, Told, object_in
from proxy.vocabulary import Usage, joined

LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that are held to find its counts, a batch of embeddings being the largest; beyond, a floor."""
LONGEST_COUNTS = 4096
"""Bytes of a member that may be counts; a longer one, such as a list of vectors, is not turned into objects, and True
stands for it."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Held:
    """An answer that is not shown before its end. One that grows too long is let go, and passes unread from then on."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: bytearray | None = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        if self._held is None:
            return chunk
        self._held += chunk
        return b"" if len(self._held) <= LONGEST_ANSWER else self.taken() or b""

    def taken(self) -> bytes | None:
        """All of it, held no longer; None where it has been let go."""
        held, self._held = self._held, None
        return None if held is None else bytes(held)


class WholeMeter:
    """Holds the object until it has ended, so that what its counts tell can still be said in a header."""

    __slots__ = ("_held", "_read", "_tally", "complete", "failed")

    rewrites = False
    content_type: str | None = None

    def __init__(self, bounds: Bounds, read: Callable[[dict[str, Any]], Told | None]) -> None:
        self._tally = Tally(bounds)
        self._read = read
        self._held = Held()
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        return self._held.feed(chunk)

    def end(self) -> bytes:
        held = self._held.taken()
        if held is None:
            self.complete = True  # Too long to be looked into; its framing was whole, and that must do.
            return b""
        answer = object_in(held) if len(held) <= LONGEST_COUNTS else _in_outline(held)
        if answer is None:
            return b""  # Nothing of it has been shown yet, so the client can still be told.
        if answer.get("error") not in (None, ""):
            self.failed = True  # With a 200, as relays from elsewhere have it: the client shall hear a status.
            return b""
        if answer.get("done") is False:
            return b""  # So Ollama ends what it could not finish, with a 200.
        self.complete = True
        if told := self._read(answer):
            self._tally.tell(told)
        return held

    @property
    def counted(self) -> bool:
        return self._tally.is_told

    @property
    def usage(self) -> Usage:
        return self._tally.usage


def _in_outline(held: bytes) -> dict[str, Any] | None:
    """The object with what may be counts in it, and True in place of every member that is too long for that."""
    try:
        members = _members.decode(held)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    small = {name: bytes(raw) for name, raw in members.items() if len(memoryview(raw)) <= LONGEST_COUNTS}
    return dict.fromkeys(members, True) | (object_in(joined(small)) or {})


class FreeMeter:
    """For answers that cost no tokens and are nobody's secret. Whatever comes is the answer."""

    __slots__ = ("complete", "failed")

    usage = Usage()
    counted = False
    rewrites = False
    content_type: str | None = None

    def __init__(self) -> None:
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        self.complete = True
        return b""


class EditedMeter:
    """For answers that a caller may see only in part: nothing is shown before all of it has been looked at."""

    __slots__ = ("_edit", "_held", "complete", "failed")

    usage = Usage()
    counted = False
    rewrites = True
    content_type: str | None = None

    def __init__(self, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._edit = edit
        self._held = bytearray()
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        if len(self._held) <= LONGEST_ANSWER:
            self._held += chunk
        return b""

    def end(self) -> bytes:
        if not self._held:  # The answer to HEAD.
            self.complete = True
            return b""
        answer = object_in(bytes(self._held)) if len(self._held) <= LONGEST_ANSWER else None
        if answer is None:
            return b""
        self.complete = True
        return msgspec.json.encode(self._edit(answer))
