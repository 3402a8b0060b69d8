"""The commands of the README and of the quick start, typed by a newcomer with an empty home."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.shell import NOT_TYPED, ROOT, blocks, commands, why_not
from tests.end_to_end.gate import scripted
from tests.end_to_end.processes import environment, running

PAGES = ("README.md", "docs/quickstart.md", "docs/plans.md")
"""Whose commands have to be typed, or have their reason; those of the plans are typed by a test of their own."""
STAYS = {
    "scripts/serve": re.compile(r"listens on +(http://\S+)"),
    "scripts/serve --demo": re.compile(r"(Go on by hand)"),
}
"""Commands that go on until they are told to stop, and what they say when they stand."""
COMMAND_SECONDS = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Newcomer:
    """A terminal in a clone of the repository; what differs from the page is told here."""

    clone: Path
    variables: dict[str, str]
    replaced: dict[str, str]
    """What stands on the page, and what stands for it here."""
    kept: ExitStack
    said: dict[str, str] = field(default_factory=dict)
    """What each command printed."""

    def type(self, command: str) -> None:
        for there, here in self.replaced.items():
            command = command.replace(there, here)
        if command in STAYS:
            words = [str(self.clone / command.split()[0]), *command.split()[1:]]
            folder = self.clone / f"stays-{len(self.said)}"
            shown = self.kept.enter_context(running(words, folder, STAYS[command], self.variables))
            self.said[command] = shown.url
            return
        remembered = self.clone / "variables"
        script = f"set -euo pipefail\n{command}\nenv -0 >{remembered}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.clone,
            env=self.variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
        self.said[command] = done.stdout
        for line in remembered.read_text().split("\0"):
            name, equals, value = line.partition("=")
            if equals:
                self.variables[name] = value
        if key := re.search(r"OPENAI_API_KEY=(\S+)", done.stdout):
            self.replaced["sk-lg_…"] = key[1]


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    clone, home, port = tmp_path / "clone", tmp_path / "home", free_port()
    (clone / "scripts").mkdir(parents=True)
    home.mkdir()
    shutil.copy(ROOT / "scripts/serve", clone / "scripts")
    shutil.copy(ROOT / ".env.example", clone)
    # The environment is there already: to make it needs a package index and minutes.
    install = clone / "scripts/install"
    install.write_text(f"#!/bin/sh\necho {sys.prefix}\n")
    install.chmod(0o755)
    (clone / ".venv").symlink_to(sys.prefix)
    with ExitStack() as kept:
        upstream = kept.enter_context(scripted(tmp_path / "upstream"))
        variables = {name: value for name, value in environment(tmp_path).items() if not name.startswith("XDG_")}
        del variables["LLAMAGATE_STATE_DIR"]
        variables |= {
            "HOME": str(home),
            "LLAMAGATE_LISTEN": f"127.0.0.1:{port}",
            "LLAMAGATE_UPSTREAM": upstream,
        }
        replaced = {"127.0.0.1:11435": f"127.0.0.1:{port}", '"llama3.2"': '"llama3.2:1b"'}
        yield Newcomer(clone, variables, replaced, kept)


def typed(page: str) -> list[str]:
    text = (ROOT / page).read_text()
    return [one for block in blocks(text, "sh") for one in commands(block) if why_not(one) is None]


def test_a_newcomer_who_types_the_quick_start_has_a_key_and_an_answer_and_sees_what_it_cost(newcomer: Newcomer) -> None:
    for command in typed("docs/quickstart.md"):
        newcomer.type(command)
    said = {command.split(" -H ")[0]: told for command, told in newcomer.said.items()}

    assert "scripts/serve --demo" in said
    assert '"id":"llama3.2:1b"' in said['curl "$OPENAI_BASE_URL/models"']
    assert said['curl -N "$OPENAI_BASE_URL/chat/completions"'].endswith("data: [DONE]\n\n")
    assert re.search(r"alice +/v1/chat/completions +llama3.2:1b +served +200", said["llamagate calls"])
    assert re.search(r"^alice +2 ", said["llamagate usage"], re.MULTILINE)
    assert re.search(r"^REDIS_PASSWORD=[0-9a-f]{64}$", (newcomer.clone / ".env").read_text(), re.MULTILINE)


def test_a_newcomer_who_types_the_commands_of_the_readme_has_a_key(newcomer: Newcomer) -> None:
    for command in typed("README.md"):
        newcomer.type(command)

    assert {"scripts/serve --demo", "scripts/serve"} <= newcomer.said.keys()
    assert "sk-lg_…" in newcomer.replaced
    assert 0o600 == (newcomer.clone / ".env").stat().st_mode & 0o777


def test_what_is_not_typed_has_a_reason_and_every_reason_is_needed() -> None:
    every = [one for page in PAGES for block in blocks((ROOT / page).read_text(), "sh") for one in commands(block)]

    assert NOT_TYPED.keys() == {why for one in every if (why := why_not(one))}
