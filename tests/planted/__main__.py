"""``python -m tests.planted``: plant each defect in a copy of this tree, run the tests that should notice, and tell.

Ends with 0 where every one was noticed, 1 where one was not, and 2 where nothing could be found out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.planted.defects import DEFECTS, STILL_PASSES, CannotPlant, Defect

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 600.0
"""For one run of the tests."""
ALL_PASSED, SOME_FAILED = 0, 1
"""What pytest ends with; anything else is no answer."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", re.MULTILINE)
_NOT_CODE = shutil.ignore_patterns(".*", "__pycache__", "node_modules")


class NoAnswer(Exception):
    """The tests say nothing about the defect."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of some tests."""

    failed: tuple[str, ...]
    seconds: float


def main(words: Sequence[str]) -> int:
    """Plant, and print the table."""
    asked = argparse.ArgumentParser(prog="scripts/plant", description="Plants defects and looks whether tests notice.")
    asked.add_argument("--only", type=int, action="append", metavar="NUMBER", help="this defect, and no other")
    only = asked.parse_args(words).only
    chosen = [defect for defect in DEFECTS if only is None or defect.number in only]
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not chosen:
        console.print("There is no such defect.")
        return 2
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=_NOT_CODE)
        try:
            _must_be_this_tree(tree)
            _must_pass(tree, chosen, console)
            runs = [_told(tree, defect, console) for defect in chosen]
        except (CannotPlant, NoAnswer) as error:
            console.print(str(error), markup=False)
            return 2
    console.print(_table(chosen, runs))
    survivors = {defect.number for defect, run in zip(chosen, runs, strict=True) if not run.failed}
    numbers = {defect.number for defect in chosen}
    ways = "" if len(chosen) == len(numbers) else f", planted in {len(chosen)} ways"
    console.print(f"{len(numbers - survivors)} of {len(numbers)} defects were noticed{ways}.")
    return 1 if survivors else 0


def _must_be_this_tree(tree: Path) -> None:
    """Raises NoAnswer where Python would take the code from anywhere else."""
    said = [sys.executable, "-c", "import proxy, tests; print(proxy.__file__, tests.__file__)"]
    found = subprocess.run(said, cwd=tree, env=_environment(tree), capture_output=True, text=True, check=True).stdout
    if [str(tree / folder / "__init__.py") for folder in ("proxy", "tests")] != found.split():
        raise NoAnswer(f"Python does not take the code from {tree} but from {found}")


def _must_pass(tree: Path, chosen: Sequence[Defect], console: Console) -> None:
    """Raises NoAnswer where a test fails without any defect: it would notice whatever is planted."""
    run = _run(tree, list(dict.fromkeys((*STILL_PASSES, *(test for one in chosen for test in one.tests)))))
    if run.failed:
        raise NoAnswer("\n".join(("These fail without any defect:", *run.failed)))
    console.print(f"Without a defect all of these tests pass, in {run.seconds:.0f} s.")


def _told(tree: Path, defect: Defect, console: Console) -> Run:
    """What the tests say with the defect; afterwards the tree is as it was. Raises CannotPlant or NoAnswer."""
    sources = {edit.file: (tree / edit.file).read_text() for edit in defect.edits}
    planted = dict(sources)
    for edit in defect.edits:
        planted[edit.file] = edit.applied(planted[edit.file])
    try:
        for file, source in planted.items():
            (tree / file).write_text(source)
        run = _run(tree, [*STILL_PASSES, *defect.tests], "--exitfirst")
    finally:
        for file, source in sources.items():
            (tree / file).write_text(source)
    if run.failed and run.failed[0].partition("[")[0] in STILL_PASSES:
        raise NoAnswer(f"With this defect nothing works any more: {defect.says}.")
    console.print(f"{defect.number:>2} {defect.says}: {run.seconds:.0f} s")
    return run


def _run(tree: Path, tests: Sequence[str], *options: str) -> Run:
    """Raises NoAnswer where pytest does not come to an end with an answer."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *options, *tests]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=tree,
            env=_environment(tree),
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"The tests have not ended after {LONGEST_SECONDS:.0f} s: {' '.join(tests)}") from error
    failed = tuple(_FAILED.findall(done.stdout))
    if done.returncode not in (ALL_PASSED, SOME_FAILED) or (done.returncode == SOME_FAILED) != bool(failed):
        raise NoAnswer(f"pytest gave no answer:\n{done.stdout}{done.stderr}")
    return Run(failed, time.monotonic() - began)


def _environment(tree: Path) -> dict[str, str]:
    """Takes the code from the tree, and compiles it each time: a defect may be as long as what it replaces."""
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def _table(chosen: Sequence[Defect], runs: Sequence[Run]) -> Table:
    table = Table("", "defect", "noticed first by", "seconds")
    table.columns[0].justify = table.columns[3].justify = "right"
    table.columns[2].overflow = "fold"
    for defect, run in zip(chosen, runs, strict=True):
        first = run.failed[0].partition("[")[0] if run.failed else "NOBODY"
        table.add_row(str(defect.number), defect.says, first, f"{run.seconds:.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
