"""``python -m tests.security.fuzz``: look for so many seconds, print what is found, and end by itself.

Nothing leaves this machine: the parsers are called, and the gate listens on the loopback alone. The same seed tries the
same inputs in the same order; how many of them is a question of time.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from tests.security.fuzz import stalls, through
from tests.security.fuzz.finding import search
from tests.security.fuzz.mutation import inputs
from tests.security.fuzz.standing import CANARY, standing
from tests.security.fuzz.targets import ROOT, TARGETS, Target

LEAST_WITH_ATHERIS_SECONDS = 10.0
ATHERIS_STARTS_SECONDS = 4.0
"""For so long it looks at the code before it runs any: with little time, chance chooses some of the parsers for it."""
GRACE_SECONDS = 60.0
"""For a process that is about to end by itself."""
SIZES = (64 * 1024, 1024 * 1024, 4 * 1024 * 1024)
"""Bytes of the bodies with which stalls are looked for."""
EXAMPLES = 10
"""Of each kind on each route, in one round through the socket."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def mutated(target: Target, seed: int, seconds: float) -> Iterator[str]:
    over = time.monotonic() + seconds
    until = takewhile(lambda _: time.monotonic() < over, inputs(random.Random(seed), target.seeds))
    return (str(finding) for finding in search(target, seed, until))


def covered(target: Target, seed: int, seconds: float, folder: Path) -> Iterator[str]:
    """With atheris, which stops at the first finding."""
    options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}"]
    words = [sys.executable, "-m", "tests.security.fuzz.covered", target.name, str(folder), *options]
    ended = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False
    )
    if ended.returncode:
        inputs = [path.read_bytes() for path in folder.glob(f"{target.name}-*") if path.is_file()]
        yield f"{target.name}, atheris, seed {seed}: {ended.stderr[-1500:]}\n    {inputs!r}"


def through_the_socket(seed: int, until: float, folder: Path) -> Iterator[str]:
    with standing(folder) as gate:
        for size in SIZES:
            for name, request in stalls.heavy(gate.key, size).items():
                if time.monotonic() > until:
                    break
                stall = stalls.measured(gate, name, request)
                if stall.is_one:
                    yield f"a stall: {name}, {size} bytes: {[f'{one * 1000:.0f} ms' for one in stall.seconds]}"
        while time.monotonic() < until:
            yield from through.findings(gate, seed, EXAMPLES, until)
            seed += 1
        logged = gate.logged()
        for word in (CANARY, "Traceback", "call_crashed"):
            if word in logged:
                yield f"the log has {word!r} in it"


def every_finding(targets: Sequence[Target], seed: int, seconds: float, *, only_parsers: bool) -> Iterator[str]:
    """A third of the time for changed seeds, one for atheris, and one for the socket."""
    until = time.monotonic() + seconds
    share = seconds / 3 / len(targets)
    with tempfile.TemporaryDirectory(prefix="llamagate-fuzz-") as name:
        for target in targets:
            say(f"{target.name}: {share:.1f} seconds of changed seeds")
            yield from mutated(target, seed, share)
        if importlib.util.find_spec("atheris") is not None:
            count = min(len(targets), max(1, int(seconds / 3 / LEAST_WITH_ATHERIS_SECONDS)))
            for target in random.Random(seed).sample(list(targets), count):
                span = max(1.0, seconds / 3 / count - ATHERIS_STARTS_SECONDS)
                say(f"{target.name}: {span:.0f} seconds with atheris")
                yield from covered(target, seed, span, Path(name))
        if not only_parsers:
            say("stalls, and through the socket")
            yield from through_the_socket(seed, until, Path(name) / "gate")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Look for inputs that do what none may do.")
    parser.add_argument("--seconds", type=float, default=300.0, help="about how long (300)")
    parser.add_argument("--seed", type=int, default=None, help="where chance begins (told at the start)")
    parser.add_argument("--target", action="append", choices=[one.name for one in TARGETS], help="only this parser")
    told = parser.parse_args()
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(1, 2**31)
    targets = [one for one in TARGETS if not told.target or one.name in told.target]
    say(f"seed {seed}")
    count = 0
    for finding in every_finding(targets, seed, told.seconds, only_parsers=bool(told.target)):
        count += 1
        say(f"FOUND {finding}")
    say(f"{count} found, seed {seed}")
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main()
