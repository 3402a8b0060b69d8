"""The four examples of docs/plans.md: each file is looked at by ``llamagate check``, and its commands are typed."""

import re
import shlex
from pathlib import Path

import pytest

from tests.docs.shell import ROOT, blocks, commands, why_not
from tests.end_to_end.commands import forge
from tests.end_to_end.processes import environment

PAGE = (ROOT / "docs/plans.md").read_text()
EXAMPLES = {
    "A family": ("children", "keys create", "for kitchen, plan device,"),
    "A lab": ("batch", "keys create", "for nightly, plan batch,"),
    "A class of 30": ("class", "users import", "alan@example.edu"),
    "A public demo": ("demo", "keys create", "for demo, plan demo,"),
}
"""By their headings: a plan that it has, and what one of its commands says."""
COMMAND_SECONDS = 60.0


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def typed(words: list[str], folder: Path) -> str:
    """What a command prints in a folder with a ``llamagate.toml``; the database is a file there, whatever that says."""
    database = {"LLAMAGATE_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'records.db'}"}
    done = forge().run(words, folder, environment(folder) | database, COMMAND_SECONDS)
    assert 0 == done.returncode, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The heading of one, with its file in the folder and whatever else its section shows as a file."""
    text = section(request.param)
    (toml,) = blocks(text, "toml")
    (tmp_path / "llamagate.toml").write_text(toml)
    for table in blocks(text, "csv"):
        (tmp_path / "class.csv").write_text(table)
    return str(request.param)


def test_every_example_is_a_good_configuration(example: str, tmp_path: Path) -> None:
    assert "good: llamagate.toml\n" == typed(["check"], tmp_path)
    assert re.search(rf"^plans\.{EXAMPLES[example][0]}\.models ", typed(["settings"], tmp_path), re.MULTILINE)


def test_the_commands_of_every_example_do_what_they_say(example: str, tmp_path: Path) -> None:
    lines = [line for block in blocks(section(example), "sh") for line in commands(block) if why_not(line) is None]
    words = [shlex.split(line, comments=True) for line in lines]
    said = {" ".join(one[1:3]): typed(one[1:], tmp_path) for one in words}

    assert {"llamagate"} == {one[0] for one in words}
    _, command, told = EXAMPLES[example]
    assert told in said[command]
