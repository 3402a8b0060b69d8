"""A copy of every entry in plain files, a line of JSON each, for whoever would rather read those than a database."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec

from proxy.ledger import lines
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Now

SCHEMA = 1
"""Of the lines; docs/usage-log.md says what is in them. A field may come to be added to it; nothing else changes."""
LOOK_BACK_BYTES = 2**20
"""How far back a file is searched for lines that were written before a crash."""
MOST_KNOWN = 7
"""Files of which it is remembered what stood in them."""

_encode = msgspec.json.Encoder().encode
_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")


class UsageLog:
    """A ``Copy``. One file for each day of UTC on which calls began."""

    def __init__(self, folder: Path, keep_seconds: float | None, now: Now) -> None:
        """``keep_seconds`` are counted from the end of a file's day; None keeps files for ever."""
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._now = now
        self._known: dict[str, frozenset[str]] = {}
        self._swept_on: date | None = None
        self._one_at_a_time = threading.Lock()
        self._keeping: asyncio.Task[None] | None = None
        """The group that was given to a thread last."""
        self._is_failing = False
        self._log = logging.getLogger("proxy.ledger")
        self.lost = 0
        """Entries that could not be written."""

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Write them, but for those that the files have already. Never raises: what cannot be written is lost."""
        if not entries:
            return
        try:
            # Not in one more thread: a disk that does not answer would come to hold all that the ledger has.
            while self._keeping is not None and not self._keeping.done():
                await asyncio.wait([self._keeping])
        except asyncio.CancelledError:
            self._tell(len(entries), "the disk does not answer")
            raise
        self._keeping = asyncio.create_task(self._kept(entries))
        await asyncio.shield(self._keeping)

    async def _kept(self, entries: Sequence[Entry]) -> None:
        """Goes on though nobody waits for it any more, and tells what was lost all the same."""
        try:
            lost, error = await asyncio.to_thread(self._keep, entries)
        except RuntimeError as refused:  # There is no thread to be had.
            lost, error = len(entries), str(refused)
        self._tell(lost, error)

    def _tell(self, lost: int, error: str) -> None:
        self.lost += lost
        if lost and not self._is_failing:
            self._log.error("usage_log_failed", extra={"lost": self.lost, "error": error})
        elif not lost and self._is_failing:
            self._log.warning("usage_log_works_again", extra={"lost": self.lost})
        self._is_failing = lost > 0

    async def sweep(self) -> None:
        """Delete what is too old, as ``keep`` does by itself once a day. Never raises."""
        with suppress(RuntimeError):
            await asyncio.to_thread(self._sweep)

    def _keep(self, entries: Sequence[Entry]) -> tuple[int, str]:
        """How many were lost, and to what."""
        lost, why = 0, ""
        with self._one_at_a_time:
            if self._swept_on != self._now().astimezone(UTC).date():
                self._sweep()
            files: dict[str, list[Entry]] = {}
            for entry in entries:
                files.setdefault(f"{entry.at.astimezone(UTC).date().isoformat()}.jsonl", []).append(entry)
            for name, some in files.items():
                new = some
                try:
                    known = self._there_before(name)
                    new = [entry for entry in some if entry.id not in known]
                    missing = len(new) - (lines.append(self._folder / name, [_line(one) for one in new]) if new else 0)
                    error = "the disk did not take all of it" if missing else ""
                except OSError as failed:
                    missing, error = len(new), f"{failed.strerror}: {name}"
                lost += missing
                why = error or why
        return lost, why

    def _there_before(self, name: str) -> frozenset[str]:
        """The ids that a file had at its end when it was first written to. Raises OSError."""
        if name not in self._known:
            there = frozenset(filter(None, map(_id, lines.last(self._folder / name, LOOK_BACK_BYTES))))
            self._known[name] = there
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return self._known[name]

    def _sweep(self) -> None:
        now = self._now()
        self._swept_on = now.astimezone(UTC).date()
        if self._keep_seconds is not None:
            keep = timedelta(seconds=self._keep_seconds)
            lines.sweep(self._folder, lambda name: (end := _end(name)) is not None and now - end >= keep)


def _line(entry: Entry) -> bytes:
    told = {"schema": SCHEMA, **facts(entry)}
    with suppress(UnicodeEncodeError):
        line = _encode(told)
        if line.isascii():
            return line + b"\n"
    return json.dumps(told).encode() + b"\n"  # In ASCII, where nothing passes for the end of a line.


def _id(line: bytes) -> str | None:
    """That of a line; None where it was torn."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = told.get("id") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None


def _end(name: str) -> datetime | None:
    """When the day of a file was over; None where it is no file of ours."""
    match = _NAME.fullmatch(name)
    try:
        return datetime.combine(date.fromisoformat(match[1]), time(), UTC) + timedelta(days=1) if match else None
    except (ValueError, OverflowError):
        return None
