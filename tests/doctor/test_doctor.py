"""The page about the doctor, held against everything that it can say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from proxy.doctor.findings import Severity

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/doctor.md").read_text()
CLOCKS = ("clock.ollama", "clock.redis", "clock.postgresql")
SAYS = {severity.value for severity in Severity}


def told() -> dict[str, set[str]]:
    """By the page: the severities of each finding."""
    found: dict[str, set[str]] = {}
    for ids, severities in re.findall(r"^\| (`[a-z.` ]+) \| ([a-z, ]+) \|", PAGE, re.MULTILINE):
        found |= {id: set(severities.split(", ")) for id in re.findall(r"`([a-z.]+)`", ids)}
    return found


def said() -> Iterator[tuple[str, str]]:
    """By the code: each finding and how bad it may be."""
    for file in sorted((ROOT / "proxy/doctor").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                yield from _said_in(function)


def _said_in(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    chosen = {
        node.id
        for one in ast.walk(function)
        if isinstance(one, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "say" for to in one.targets)
        for node in ast.walk(one.value)
        if isinstance(node, ast.Name) and node.id in SAYS
    }
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args:
            severities = chosen if call.func.id == "say" else {call.func.id} & SAYS
            first = call.args[0]
            ids = [first.value] if isinstance(first, ast.Constant) else list(CLOCKS)
            yield from ((str(id), severity) for id in ids for severity in severities)


def test_every_finding_is_told_with_how_bad_it_may_be() -> None:
    found: dict[str, set[str]] = {}
    for id, severity in said():
        found.setdefault(id, set()).add(severity)

    assert 40 < len(found)
    assert found == told()
