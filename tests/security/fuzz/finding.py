"""What was found: which input, how it came about, and the least of it that does the same."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tests.security.fuzz.targets import ROOT, Target

CODE = str(ROOT / "proxy")
SLOW_SECONDS = 0.05
"""Of this thread's own time, for one input: so long nobody else would be served."""
ATTEMPTS = 3
"""What is slow only now and then is the machine's doing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One input that does what none may do."""

    target: str
    seed: int
    data: bytes
    said: str

    def __str__(self) -> str:
        return f"{self.target}, seed {self.seed}: {self.said}\n    {self.data!r}"


def tried(target: Target, data: bytes) -> str | None:
    """What went wrong, in one line; None where nothing did."""
    began = time.thread_time()
    try:
        target.check(data)
    except Exception as error:  # noqa: BLE001  # Whatever it is, it is a finding.
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})"[:300]
    return f"slow: more than {SLOW_SECONDS * 1000:.0f} ms" if time.thread_time() - began > SLOW_SECONDS else None


def sure(target: Target, data: bytes) -> str | None:
    """What goes wrong each time."""
    said = tried(target, data)
    if said is None or not said.startswith("slow"):
        return said
    return said if all(tried(target, data) for _ in range(ATTEMPTS - 1)) else None


def search(target: Target, seed: int, inputs: Iterable[bytes]) -> Iterator[Finding]:
    """What is found among the inputs, each kind of it once and as short as it gets."""
    known: set[str] = set()
    for data in inputs:
        said = sure(target, data)
        if said is not None and said not in known:
            known.add(said)
            yield Finding(target.name, seed, shortened(target, data, said), said)


def shortened(target: Target, data: bytes, said: str) -> bytes:
    """The least that is left when pieces are taken out as long as the same goes wrong."""
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data):
            less = data[:at] + data[at + size :]
            if sure(target, less) == said:
                data = less
            else:
                at += size
        size //= 2
    return data


def lines_run(check: Callable[[bytes], None], data: bytes) -> int:
    """How many lines of the gate's own code one check runs: its work, on any machine and however busy that is."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(CODE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return count
