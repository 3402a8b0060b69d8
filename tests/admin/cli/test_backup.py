from dataclasses import replace
from pathlib import Path

import pytest

from proxy.admin.backup import PepperIn
from proxy.admin.refusals import NotDone
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools


@pytest.mark.parametrize(
    ("pepper", "word"), [("backup", "as safe as"), ("settings", "no key works"), ("nowhere", "none was made")]
)
def test_a_backup_tells_what_is_in_it(type_in: Type, tools: FakeTools, pepper: PepperIn, word: str) -> None:
    tools.copied = replace(tools.copied, pepper=pepper)
    done = type_in("backup", "kept.tar.gz", "--config", "x.toml")

    assert 0 == done.exit_code
    assert "kept.tar.gz holds 2 keys and 1 call." in done.stdout
    assert word in done.stdout
    assert [Path("x.toml")] == tools.configs
    assert [(Path("kept.tar.gz"), False)] == tools.copies


def test_a_backup_that_is_there_is_replaced_when_told_to(type_in: Type, tools: FakeTools) -> None:
    assert 0 == type_in("backup", "kept.tar.gz", "--force").exit_code
    assert [(Path("kept.tar.gz"), True)] == tools.copies


def test_what_was_restored_is_told(type_in: Type, tools: FakeTools) -> None:
    done = type_in("restore", "kept.tar.gz")

    assert (0, "2 keys and 1 call are back. The gate can be started.\n") == (done.exit_code, done.stdout)
    assert [(Path("kept.tar.gz"), None)] == tools.copies


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_cannot_be_done_is_told_plainly(type_in: Type, tools: FakeTools, command: str) -> None:
    tools.fails = NotDone("The gate runs.")
    done = type_in(command, "kept.tar.gz")

    assert (1, "The gate runs.\n") == (done.exit_code, done.stderr)
