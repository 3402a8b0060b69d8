"""What was asked, word for word, where a plan says so: apart from the ledger, and for a time that the caller is told.

It never holds up a call: what cannot be written is dropped, and counted.
"""

import asyncio
import json
import logging
import math
import queue
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.ledger import lines
from proxy.vocabulary import Now

LOGGED = "X-Llamagate-Prompt-Logged"
"""The header that tells a caller, as in ``X-Llamagate-Prompt-Logged: 7d``."""
SCHEMA = 1
MOST_WAITING_BYTES = 64 * 2**20
"""What may wait for the disk."""
AT_ONCE_BYTES = 4 * 2**20
"""What is taken together to be written."""
PATIENCE_SECONDS = 10.0
"""How long the end of the gate waits for what is still to be written."""

_OVERHEAD_BYTES = 512
"""What a line takes beside its body, so that a flood of empty ones is bounded too."""
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_NAME = re.compile(r"([0-9]{1,9})([dhms])-([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})\.jsonl")


def kept_for(seconds: float) -> str:
    """How long a prompt is kept, as the header and the names of files tell it: ``7d``, ``36h``, ``90m``."""
    whole = max(1, math.ceil(seconds))
    unit, step = next((unit, step) for unit, step in _UNITS if whole % step == 0)
    return f"{whole // step}{unit}"


@dataclass(frozen=True, slots=True)
class _Prompt:
    file: str
    at: datetime
    id: str
    user: str | None
    endpoint: str
    body: bytes | None
    length: int | None

    @property
    def size(self) -> int:
        return _OVERHEAD_BYTES + (len(self.body) if self.body else 0)

    def line(self) -> bytes:
        told = {
            "schema": SCHEMA,
            "id": self.id,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "user": self.user,
            "endpoint": self.endpoint,
            "body": None if self.body is None else self.body.decode("utf-8", "replace"),
            "bytes": self.length if self.body is None else len(self.body),
        }
        # In ASCII: some readers take more than a newline for the end of a line, and terminals obey what they are shown.
        return json.dumps(told).encode() + b"\n"


class PromptLog:
    """A thread of its own writes, from the first prompt until ``close``.

    There is a file for each hour and each time to keep: none has to stay for the sake of lines that are much younger.
    """

    def __init__(self, folder: Path, now: Now, *, most_waiting_bytes: int = MOST_WAITING_BYTES) -> None:
        self._folder = folder
        self._now = now
        self._most_waiting_bytes = most_waiting_bytes
        self._prompts: queue.SimpleQueue[_Prompt | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._writer: threading.Thread | None = None
        self._is_closed = False
        self._is_failing = False
        self._lock = threading.Lock()  # Of the fields; nobody waits for anything while holding it.
        self._log = logging.getLogger("proxy.ledger")
        self.dropped = 0
        """Prompts that could not be written."""

    def log(
        self,
        call_id: str,
        at: datetime,
        user: str | None,
        keep_seconds: float,
        endpoint: str,
        body: bytes | None,
        *,
        length: int | None = None,
    ) -> None:
        """Have it written. Without a body, as for forms and raw transfers, its length is all that is told of it.

        Never waits and never raises.
        """
        at = at.astimezone(UTC)
        file = f"{kept_for(keep_seconds)}-{at:%Y-%m-%dT%H}.jsonl"
        prompt = _Prompt(file, at, call_id, user, endpoint, body, length)
        with self._lock:
            fits = not self._is_closed and self._waiting_bytes + prompt.size <= self._most_waiting_bytes
            if fits and self._writer is None:
                fits = self._begin()
            if fits:
                self._waiting_bytes += prompt.size
                self._prompts.put(prompt)
        if not fits:
            self._drop(1, "too much waits for the disk")

    async def sweep(self) -> None:
        """Delete the files whose newest line is older than it may be kept. Never raises; to be called every hour."""
        now = self._now()
        with suppress(RuntimeError):  # There is no thread to be had: next time.
            await asyncio.to_thread(
                lines.sweep, self._folder, lambda name: (until := _until(name)) is not None and until <= now
            )

    async def close(self) -> None:
        """Write what waits, and take no more. Gives up on a disk that does not answer."""
        with self._lock:
            self._is_closed, writer = True, self._writer
        if writer is not None:
            self._prompts.put(None)
            with suppress(RuntimeError):  # There is no thread to be had: it goes on writing without being waited for.
                await asyncio.to_thread(writer.join, PATIENCE_SECONDS)

    def _begin(self) -> bool:
        try:
            writer = threading.Thread(target=self._write, name="prompts", daemon=True)
            writer.start()
        except RuntimeError:
            return False
        self._writer = writer
        return True

    def _write(self) -> None:
        while (first := self._prompts.get()) is not None:
            group, size, is_last = [first], first.size, False
            while size < AT_ONCE_BYTES:
                try:
                    following = self._prompts.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    is_last = True
                    break
                group.append(following)
                size += following.size
            dropped, why = self._write_group(group)
            with self._lock:
                self._waiting_bytes -= size
            if dropped:
                self._drop(dropped, why)
            else:
                self._wrote()
            if is_last:
                return

    def _write_group(self, group: list[_Prompt]) -> tuple[int, str]:
        """How many were dropped, and why."""
        files: dict[str, list[_Prompt]] = {}
        for prompt in group:
            files.setdefault(prompt.file, []).append(prompt)
        dropped, why = 0, ""
        for name, some in files.items():
            try:
                missing = len(some) - lines.append(self._folder / name, [prompt.line() for prompt in some])
                error = "the disk did not take all of it" if missing else ""
            except OSError as failed:
                missing, error = len(some), f"{failed.strerror}: {name}"
            dropped += missing
            why = error or why
        return dropped, why

    def _drop(self, count: int, why: str) -> None:
        with self._lock:
            self.dropped += count
            dropped, is_news, self._is_failing = self.dropped, not self._is_failing, True
        if is_news:
            self._log.error("prompt_log_failed", extra={"dropped": dropped, "error": why})

    def _wrote(self) -> None:
        with self._lock:
            # Where too much waits, some room is not yet the end of it.
            is_news = self._is_failing and self._waiting_bytes <= self._most_waiting_bytes / 2
            self._is_failing = self._is_failing and not is_news
            dropped = self.dropped
        if is_news:
            self._log.warning("prompt_log_works_again", extra={"dropped": dropped})


def _until(name: str) -> datetime | None:
    """How long a file may stay: its hour's end and the time to keep it; None where it is no file of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        begin = datetime.strptime(match[3], "%Y-%m-%dT%H").replace(tzinfo=UTC)
        return begin + timedelta(hours=1, seconds=int(match[1]) * dict(_UNITS)[match[2]])
    except (ValueError, OverflowError):
        return None
