"""The steps of a call as lines of text, one each, for the journal. No I/O.

A line is a letter and JSON: ``B`` and a ``Running`` where a call begins; ``T`` and an ``Entry`` for what becomes of it
if nothing else does; ``E`` and an ``Entry`` where it ends; ``D`` and a ``Done`` where it ends as it was told.
"""

from dataclasses import dataclass

import msgspec

from proxy.ledger import Running
from proxy.vocabulary import Entry


@dataclass(frozen=True, slots=True)
class Told:
    """What becomes of a call if nothing else does."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Done:
    """A call has ended as was told, and what only its end could tell."""

    id: str
    bytes_out: int
    first_byte_seconds: float | None
    total_seconds: float


Step = Running | Told | Entry | Done

_encode = msgspec.json.Encoder().encode
_running = msgspec.json.Decoder(Running)
_entry = msgspec.json.Decoder(Entry)
_done = msgspec.json.Decoder(Done)


def written(step: Step) -> bytes:
    """The line of a step, with its end."""
    match step:
        case Entry():
            return b"E%b\n" % _encode(step)
        case Told():
            return b"T%b\n" % _encode(step.entry)
        case Running():
            return b"B%b\n" % _encode(step)
        case Done():
            return b"D%b\n" % _encode(step)


def read(line: bytes) -> Step | None:
    """The step that a line tells, without its end; None where it tells none, as where a crash has torn it."""
    text = line[1:]
    try:
        match line[:1]:
            case b"E":
                return _entry.decode(text)
            case b"T":
                return Told(_entry.decode(text))
            case b"B":
                return _running.decode(text)
            case b"D":
                return _done.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return None
