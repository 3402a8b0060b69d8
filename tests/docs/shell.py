"""The commands of a page, in order, and why some of them are not typed here."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

NOT_TYPED = {
    "docker ": "There is no container engine here; tests/deploy reads what it would, and replays the image's steps.",
    "python3 -m venv /opt/": "It needs root and a package index; scripts/install does the same with the same locks.",
    "/opt/llamagate/bin/": "It needs root; tests/admin/cli/test_install_service.py runs it below another folder.",
    "systemd-sysusers ": "It needs root and systemd; tests/deploy/test_unit.py looks at the unit.",
    "sudo ": "There is no such user here.",
    "llamagate reload": "It needs a gate that runs with the file; tests/end_to_end/test_limits_operating.py does that.",
}
"""How a command begins, and why it is not typed."""


def blocks(text: str, language: str) -> list[str]:
    """What stands between the fences of one language; without one where that is empty."""
    every = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for named, block in every if named == language]


def commands(block: str) -> Iterator[str]:
    """One by one, those that go on in the next line whole."""
    yield from (line for line in re.sub(r"\\\n *", "", block).splitlines() if line.strip())


def why_not(command: str) -> str | None:
    """The beginning by which it is known that a command is not typed."""
    return next((beginning for beginning in NOT_TYPED if command.startswith(beginning)), None)
