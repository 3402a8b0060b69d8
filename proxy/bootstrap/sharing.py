"""What the processes of one gate show one another, in memory that they have in common since they were forked.

Nobody waits here for anybody: whoever writes goes on at once, and whoever reads finds what was written last as a whole.
"""

import mmap
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

READINESS_BYTES: Final = 16 * 1024
COMPLAINT_BYTES: Final = 16 * 1024
FIGURES_BYTES: Final = 2 * 2**20
"""Pages that nobody writes to cost nothing."""

_TURN = struct.Struct("=I")
_HEAD = struct.Struct("=II")
"""Of a half: how long its text is, and its CRC-32."""
_TRIES = 5


class Note:
    """A text that one process writes and any may read.

    It has two halves. The one that is not being read is written, and becomes the one to read once it is whole, so that
    a writer who is killed amid it leaves what stood there before.
    """

    def __init__(self, most_bytes: int) -> None:
        self._half = _HEAD.size + most_bytes
        self._memory = mmap.mmap(-1, _TURN.size + 2 * self._half)

    def write(self, text: bytes) -> bool:
        """Whether there was room for it."""
        if _HEAD.size + len(text) > self._half:
            return False
        turn = (_TURN.unpack_from(self._memory)[0] + 1) % 2**32
        at = self._begin(turn)
        _HEAD.pack_into(self._memory, at, len(text), zlib.crc32(text))
        self._memory[at + _HEAD.size : at + _HEAD.size + len(text)] = text
        _TURN.pack_into(self._memory, 0, turn)
        return True

    def read(self) -> bytes:
        """What was written last, or nothing: where nothing was, or where it changes faster than it can be read."""
        for _ in range(_TRIES):
            at = self._begin(_TURN.unpack_from(self._memory)[0])
            size, digest = _HEAD.unpack_from(self._memory, at)
            text = self._memory[at + _HEAD.size : at + _HEAD.size + min(size, self._half - _HEAD.size)]
            if zlib.crc32(text) == digest:
                return text
        return b""

    def _begin(self, turn: int) -> int:
        return _TURN.size + turn % 2 * self._half


class _Numbers:
    """Whole numbers from 0 to 2**64 - 1, each written and read at once. All are 0 at first."""

    def __init__(self, count: int) -> None:
        self._view = memoryview(mmap.mmap(-1, 8 * count)).cast("Q")

    def __getitem__(self, place: int) -> int:
        return self._view[place]

    def __setitem__(self, place: int, number: int) -> None:
        self._view[place] = number


_BEATS, _IS_OPEN = 0, 1


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one worker, where one comes after the other."""

    number: int
    _numbers: _Numbers = field(default_factory=lambda: _Numbers(2), repr=False)
    readiness: Note = field(default_factory=lambda: Note(READINESS_BYTES), repr=False)
    """Whether its worker should be sent calls, and why not, as the worker last said it."""
    figures: Note = field(default_factory=lambda: Note(FIGURES_BYTES), repr=False)
    """What all of its workers have counted together, as the last one said it."""

    @property
    def beats(self) -> int:
        """It changes for as long as the loop of the slot's worker goes around."""
        return self._numbers[_BEATS]

    def beat(self) -> None:
        self._numbers[_BEATS] += 1

    @property
    def is_open(self) -> bool:
        """Whether its worker has come so far that it answers calls."""
        return bool(self._numbers[_IS_OPEN])

    def opened(self) -> None:
        """Its worker answers calls from now on."""
        self._numbers[_IS_OPEN] = True

    def vacate(self) -> None:
        """Its worker has gone; what was counted stays."""
        self._numbers[_IS_OPEN] = False
        self.readiness.write(b"")


class Board:
    """The slots, and what concerns all of them."""

    def __init__(self, slots: int) -> None:
        self.slots = tuple(map(Slot, range(slots)))
        self._numbers = _Numbers(1)
        self.complaint = Note(COMPLAINT_BYTES)
        """Why the first worker could not open."""

    @property
    def reloads(self) -> int:
        """It changes whenever the workers have taken a new configuration."""
        return self._numbers[0]

    def reloaded(self) -> None:
        self._numbers[0] += 1
