"""``python -m tests.security.chaos``: the long form, which prints one table and ends by itself."""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fakes.databases import Postgres, running_postgres
from tests.fakes.redis import RedisServer, redis_servers
from tests.security.chaos.run import Row, all_of, soaked, staged
from tests.security.chaos.scene import Fault, named
from tests.security.chaos.table import BY_NUMBER, FAULTS, SOAK

LONGEST = 1200.0


def numbers(text: str) -> list[Fault]:
    """``F3,F4`` or ``3,4``."""
    try:
        return [BY_NUMBER[int(one.strip().lstrip("Ff"))] for one in text.split(",")]
    except (KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} does not name faults from F1 to F{len(FAULTS)}") from error


def told(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=420.0, help="no fault begins after so long (default: 420)")
    parser.add_argument(
        "--seed", type=int, help="of the order and of what is left to chance (default: another each time)"
    )
    parser.add_argument("--faults", type=numbers, help="only these, in this order, as F3,F4 (default: all, shuffled)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--hold", type=float, default=3.0, help="seconds that a fault lasts (default: 3)")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    options = told(words)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    console = Console(width=150, soft_wrap=False)
    console.print(f"seed {seed}, {options.database}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamagate-chaos-")))
        redis = stack.enter_context(redis_servers())("appendonly yes", "appendfsync no")
        postgres = stack.enter_context(running_postgres()) if options.database == "postgresql" else None
        return asyncio.run(run(options, seed, folder, redis, postgres, console))


async def run(
    options: argparse.Namespace,
    seed: int,
    folder: Path,
    redis: RedisServer,
    postgres: Postgres | None,
    console: Console,
) -> int:
    dice = random.Random(seed)
    faults = options.faults or dice.sample(FAULTS, len(FAULTS))
    began = time.monotonic()

    def heard(row: Row) -> None:
        state = "cannot" if row.cannot else "holds" if row.holds else "FAILS"
        console.print(f"F{row.fault.number:<3} {row.fault.name:<40} {state} after {row.seconds:.1f} s", highlight=False)
        for line in sorted(set(row.found.wrong))[:8]:
            console.print(f"       {line}", highlight=False, markup=False)

    async with staged(folder, redis, dice, postgres=postgres, seconds=options.hold) as scene:
        rows, left = await all_of(scene, faults, began + min(options.seconds, LONGEST), heard)
        wrong, notes = await soaked(scene, began)
    console.print(table(rows, left))
    console.print(f"F{SOAK}: {'; '.join([*notes, *wrong])}", highlight=False, markup=False)
    failed = [row for row in rows if not row.holds]
    undone = [row for row in rows if row.cannot]
    held = [row for row in rows if row.holds and not row.cannot]
    console.print(
        f"seed {seed}: {len(held)} hold, {len(failed)} fail, {len(undone)} cannot be done here, "
        f"{len(left)} had no time, "
        f"{time.monotonic() - began:.0f} s",
        highlight=False,
    )
    return 1 if failed or wrong else 0


def table(rows: Sequence[Row], left: Sequence[Fault]) -> Table:
    """By number."""
    sheet = Table("fault", "", "callers saw", "recovery", "notes", title="Faults")
    for row in sorted(rows, key=lambda one: one.fault.number):
        found = row.found
        state = "cannot be done here" if row.cannot else "holds" if row.holds else "FAILS"
        recovery = "" if found.recovery is None else f"{found.recovery:.2f} s"
        notes = "\n".join([*([row.cannot] if row.cannot else []), *found.notes, *sorted(set(found.wrong))[:8]])
        sheet.add_row(f"F{row.fault.number} {row.fault.name}", state, named(found.seen), recovery, notes)
    for fault in left:
        sheet.add_row(f"F{fault.number} {fault.name}", "no time", "", "", "")
    return sheet


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
