import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.admin.backup import PepperIn
from proxy.admin.refusals import NotDone
from proxy.errors import Misconfigured
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


@pytest.mark.parametrize(("command", "act"), [("backup", "backup.make"), ("restore", "backup.restore")])
def test_both_are_acts_in_the_trail_with_the_files_name_alone(
    type_in: Type, tools: FakeTools, command: str, act: str
) -> None:
    type_in(command, "/srv/kept.tar.gz")

    assert [(act, {"file": "kept.tar.gz"})] == [(one.name, one.details) for one in asyncio.run(tools.keys.acts())]


def test_what_failed_is_no_act(type_in: Type, tools: FakeTools) -> None:
    tools.fails = NotDone("The gate runs.")
    type_in("restore", "kept.tar.gz")

    assert [] == asyncio.run(tools.keys.acts())


def test_a_backup_that_could_not_be_written_down_was_made_all_the_same(type_in: Type, tools: FakeTools) -> None:
    tools.desk_fails = Misconfigured("The database is away.")
    done = type_in("backup", "kept.tar.gz")

    assert 0 == done.exit_code
    assert "could not be written into the audit trail: The database is away." in done.stderr
    assert "kept.tar.gz holds" in done.stdout
