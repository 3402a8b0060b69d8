"""A profile of the gate under a load of small unary calls, as a flame graph."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from bench.gates import ALL
from bench.groups.turns import load
from bench.load import UNARY
from bench.stand import Stand, tell

SECONDS = 8
RATE = 250
"""Samples a second."""
CLIENTS = 32
MOST_CALLS = 10**9
LAST_SECONDS = 20


async def record(stand: Stand, file: Path) -> None:
    """Write it there, or say why there is none."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        _none(stand, "py-spy is not installed; it is in the developer's environment: scripts/install")
        return
    gate = await stand.one(ALL)
    assert gate is not None
    tell(f"{SECONDS} seconds of load for a flame graph")
    options = ("--duration", str(SECONDS), "--rate", str(RATE), "--format", "flamegraph", "--nonblocking")
    spying = await asyncio.create_subprocess_exec(
        *(spy, "record", "--pid", str(gate.process.pid), *options, "--output", file),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        await load(stand.notes, gate, UNARY, CLIENTS, MOST_CALLS, seconds=SECONDS + 1)
        async with asyncio.timeout(LAST_SECONDS):
            _, said = await spying.communicate()
    finally:
        with suppress(ProcessLookupError):
            spying.kill()
    if spying.returncode:
        why = said.decode(errors="replace").strip()
        _none(stand, f"py-spy may not look at another process here (ptrace), or failed: {why[-300:]}")


def _none(stand: Stand, why: str) -> None:
    stand.notes.missing["flame graph"] = why
    tell(f"no flame graph: {why}")
