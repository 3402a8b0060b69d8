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

_BEFORE_ID = b'{"id":"'
_ID_AT = 1 + len(_BEFORE_ID)


def written(step: Step) -> bytes:
    """The line of a step, with its end."""
    kind = type(step)
    if kind is Told:
        return b"T%b\n" % _encode(step.entry)  # type: ignore[union-attr]  # A ``match`` takes as long as the encoder.
    return b"%b%b\n" % (_LETTERS[kind], _encode(step))


_LETTERS: dict[type, bytes] = {Entry: b"E", Running: b"B", Done: b"D"}


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


def call_of(line: bytes) -> str | None:
    """The call of which a line tells, without looking at the rest of it; None where it does not begin as one."""
    if not line.startswith(_BEFORE_ID, 1):
        return None
    try:
        text = line[_ID_AT : line.index(b'"', _ID_AT)].decode()
    except ValueError:
        return None
    if "\\" in text:  # No id of ours.
        step = read(line)
        if step is None:
            return None
        return step.entry.id if isinstance(step, Told) else step.id
    return text


def ended_as_told(told: bytes, done: bytes) -> Entry | None:
    """The entry that comes of the line of a ``Told`` and that of the ``Done`` behind it; None where one is torn.

    They are read as one: of a member that is there twice the last counts.
    """
    if told[-1:] != b"}" or done[:2] != b"D{":
        return None
    entry = read(b"E%b,%b" % (told[1:-1], done[2:]))
    return entry if isinstance(entry, Entry) else None
