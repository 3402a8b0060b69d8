"""Every command that the docs name, on whatever page, held against the command line that there is."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import typer

from proxy.admin.cli import app
from tests.docs.shell import ROOT, blocks, commands

PAGES = [
    *sorted(path for path in (ROOT / "docs").glob("**/*.md") if "_build" not in path.parts),
    *(ROOT / name for name in ("README.md", "SECURITY.md", "deploy/README.md")),
]
ENDS = ("|", "||", "&&", ";", "<", ">", ">>")


def typed(text: str) -> Iterator[list[str]]:
    """The words of each ``llamagate`` in blocks for a shell, from its subcommand on."""
    said = [line for block in blocks(text, "console") for line in commands(block)]
    prompts = [line.removeprefix("$ ") for line in said if line.startswith("$ ")]
    plain = [line for language in ("sh", "") for block in blocks(text, language) for line in commands(block)]
    for line in prompts + plain:
        if "llamagate" not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # Only a part of something, as a drawing or a file is.
            continue
        for number, word in enumerate(words):
            is_user = words[number - 1 : number] == ["-u"]
            if (word == "llamagate" and not is_user) or word.endswith("/bin/llamagate"):
                rest = words[number + 1 :]
                end = next((at for at, one in enumerate(rest) if one in ENDS or one.startswith("…")), len(rest))
                yield rest[:end]


def unknown(words: Sequence[str]) -> list[str]:
    """What of these words is neither a command nor an option that it takes."""
    command: Any = typer.main.get_command(app.cli())
    context: Any = None
    rest = list(words)
    while rest and hasattr(command, "list_commands") and not rest[0].startswith("-"):
        context = command.context_class(command, info_name="", parent=context)
        if rest[0] not in command.list_commands(context):
            return [rest[0]]
        command = command.get_command(context, rest.pop(0))
    known = {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}
    return [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_every_command_that_a_page_names_is_one_that_there_is(page: str) -> None:
    named = [words for words in typed((ROOT / page).read_text()) if words and re.fullmatch("[a-z-]+", words[0])]

    assert [] == [(words, wrong) for words in named if (wrong := unknown(words))]


def test_what_is_none_is_noticed() -> None:
    text = "```sh\nllamagate keys make --user alice && llamagate keys create --usr alice | llamagate chekc\n```\n"

    assert [["make"], ["--usr"], ["chekc"]] == [unknown(words) for words in typed(text)]
    assert [] == unknown(["keys", "create", "--user=alice", "-1"])
