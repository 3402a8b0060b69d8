import io
import json
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet
import pytest

from proxy.admin.cli.export import Format, whole
from proxy.admin.cli.forms import FORMS
from proxy.admin.refusals import NotDone
from proxy.errors import StorageFailed
from proxy.vocabulary import Entry
from tests.admin.cli.conftest import Type
from tests.fakes.book import FakeBook
from tests.fakes.tools import ENTRY, NOON, FakeTools

OLD = replace(ENTRY, id="e0", at=NOON - timedelta(days=8))


class Breaking(FakeBook):
    """Its database is gone after the first page."""

    async def all(self, since: datetime | None, until: datetime | None) -> AsyncIterator[Sequence[Entry]]:
        yield [ENTRY]
        raise StorageFailed


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_the_choices_are_the_forms() -> None:
    assert list(FORMS) == [one.value for one in Format]


def test_every_call_is_written_to_standard_output(type_in: Type, tools: FakeTools) -> None:
    tools.book = FakeBook(OLD, ENTRY)
    told = type_in("usage", "export")

    assert (0, "", ["e0", "e1"]) == (told.exit_code, told.stderr, ids(told.stdout))
    assert 3 == len(type_in("usage", "export", "--format", "csv").stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--since", "7d"], ["e1"]),
        (["--until", "7d"], ["e0"]),
        (["--since", "2026-02-21", "--until", "2026-02-22"], ["e0"]),
        (["--since", "2026-03-01T21:00", "--tz", "Asia/Tokyo"], ["e1"]),
        (["--since", "2026-03-01T21:00:01", "--tz", "Asia/Tokyo"], []),
    ],
)
def test_calls_of_a_time_are_written(type_in: Type, tools: FakeTools, words: list[str], wanted: list[str]) -> None:
    tools.book = FakeBook(OLD, ENTRY)

    assert wanted == ids(type_in("usage", "export", *words).stdout)


@pytest.mark.parametrize("form", Format)
def test_a_file_is_whole_and_its_owners_alone(type_in: Type, tools: FakeTools, tmp_path: Path, form: Format) -> None:
    tools.book = FakeBook(OLD, ENTRY)
    file = tmp_path / "calls"
    told = type_in("usage", "export", "--format", form, "--output", str(file))

    assert (0, "", f"Wrote 2 calls to {file}.\n") == (told.exit_code, told.stdout, told.stderr)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(tmp_path.iterdir())
    if form is Format.parquet:
        assert ["e0", "e1"] == pyarrow.parquet.read_table(io.BytesIO(file.read_bytes())).column("id").to_pylist()
    else:
        assert file.read_bytes() == type_in("usage", "export", "--format", form).stdout_bytes


@pytest.mark.parametrize("form", Format)
def test_an_export_that_breaks_leaves_what_was_there(
    type_in: Type, tools: FakeTools, tmp_path: Path, form: Format
) -> None:
    tools.book = Breaking()
    file = tmp_path / "calls"
    file.write_text("before")
    told = type_in("usage", "export", "--format", form, "--output", str(file))

    assert (1, f"{StorageFailed.default}\n") == (told.exit_code, told.stderr)
    assert [file] == list(tmp_path.iterdir())
    assert "before" == file.read_text()


def test_a_file_is_written_through_a_link(type_in: Type, tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "calls"
    link.symlink_to(file)
    type_in("usage", "export", "--format", "csv", "--output", str(link))

    assert link.is_symlink()
    assert file.read_text().startswith("schema,id,at,")


@pytest.mark.parametrize("there", ["", "no/such/folder/calls", "/dev/null"])
def test_what_cannot_be_written_is_told(type_in: Type, tmp_path: Path, there: str) -> None:
    told = type_in("usage", "export", "--output", str(tmp_path / there))

    assert 1 == told.exit_code
    assert "is there and is no file" in told.stderr or "cannot be written" in told.stderr
    assert "Traceback" not in told.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    def fill() -> None:
        with whole(tmp_path / "calls") as file:
            file.write(b"x")
            raise OSError(28, "No space left on device")

    with pytest.raises(NotDone, match="calls cannot be written: No space left"):
        fill()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--format", "parquet"], 2, "parquet needs a file: name one with --output"),
        (["--format", "xls"], 2, "xls"),
        (["--since", "1d", "--until", "2d"], 1, "ends before it begins"),
    ],
)
def test_what_makes_no_sense_is_told(type_in: Type, words: list[str], code: int, why: str) -> None:
    told = type_in("usage", "export", *words)

    assert code == told.exit_code
    assert why in told.stderr


def test_where_links_lead_round_and_round_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "round"
    path.symlink_to(path)

    with pytest.raises(NotDone, match="cannot be written"), whole(path):
        pass
