import csv
import io
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import ModuleType

import pyarrow
import pyarrow.parquet
import pytest

from proxy.admin.cli.forms import COLUMNS, FORMS, SCHEMA, Parquet, row
from proxy.admin.refusals import NotDone
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Outcome, Usage
from tests.fakes.tools import ENTRY

HOSTILE = replace(
    ENTRY,
    id="e2",
    at=ENTRY.at + timedelta(milliseconds=1),
    user="=1+1",
    model="m\x1b[2J\n,\u202e",
    outcome=Outcome.CLIENT_LEFT,
    status=None,
    stream=True,
    usage=Usage(5, 2, exact=False, suspicious=True, load_seconds=0.25),
    changes=("num_ctx=4096", "logprobs=dropped"),
    cost=0.5,
    watt_hours=1e-7,
)
ENTRIES = (ENTRY, HOSTILE, replace(ENTRY, id="e3", user=None, model=None))


class Void(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return len(memoryview(data))  # type: ignore[arg-type] # Whatever has bytes.


def written(form: str, *pages: Sequence[Entry]) -> bytes:
    file = io.BytesIO()
    writer = FORMS[form](file)
    for page in pages:
        writer.write(page)
    writer.close()
    return file.getvalue()


def test_a_row_is_the_facts_of_an_entry_with_the_number_of_the_schema() -> None:
    assert {"schema": 1, **facts(ENTRY)} == row(ENTRY)
    assert list(COLUMNS) == list(row(ENTRY))
    assert SCHEMA == row(ENTRY)["schema"]


def test_lines_are_read_back_as_they_were() -> None:
    text = written("jsonl", ENTRIES[:1], ENTRIES[1:])

    assert text.isascii()
    assert [row(entry) for entry in ENTRIES] == [json.loads(line) for line in text.splitlines()]


def test_a_sheet_has_one_line_of_heads_and_no_formulas() -> None:
    text = written("csv", ENTRIES[:1], ENTRIES[1:]).decode()
    heads, *rows = csv.reader(io.StringIO(text, newline=""))
    told = [dict(zip(heads, one, strict=True)) for one in rows]

    assert list(COLUMNS) == heads
    assert ["e1", "e2", "e3"] == [one["id"] for one in told]
    assert ("'=1+1", "m\\x1b[2J\\n,\\u202e", "", "true", "5", "1e-07") == (
        told[1]["user"],
        told[1]["model"],
        told[1]["status"],
        told[1]["stream"],
        told[1]["prompt_tokens"],
        told[1]["watt_hours"],
    )


def test_parquet_is_read_back_as_it_was() -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(written("parquet", ENTRIES[:1], ENTRIES[1:])))
    wanted = [{**row(entry), "at": datetime.fromisoformat(str(row(entry)["at"]))} for entry in ENTRIES]

    assert wanted == table.to_pylist()
    assert pyarrow.timestamp("ms", tz="UTC") == table.schema.field("at").type


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_a_file_that_can_be_read(form: str) -> None:
    text = written(form)

    match form:
        case "jsonl":
            assert b"" == text
        case "csv":
            assert [list(COLUMNS)] == list(csv.reader(io.StringIO(text.decode())))
        case _:
            table = pyarrow.parquet.read_table(io.BytesIO(text))

            assert (0, list(COLUMNS)) == (table.num_rows, table.column_names)


def test_parquet_keeps_small_pages_in_large_groups() -> None:
    pages = [[replace(ENTRY, id=str(number))] * 1000 for number in range(70)]
    file = pyarrow.parquet.ParquetFile(io.BytesIO(written("parquet", *pages)))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]

    assert [66_000, 4_000] == groups


def pages(count: int) -> Iterator[Sequence[Entry]]:
    for number in range(count):
        yield [replace(ENTRY, id=f"{number} {place}") for place in range(200)]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_many_entries_take_no_more_memory_than_a_page(form: str) -> None:
    """Pyarrow's own is not seen from here; its groups are counted above."""
    peaks = []
    for count in (2, 20):
        tracemalloc.start()
        writer = FORMS[form](io.BufferedWriter(Void()))
        for page in pages(count):
            writer.write(page)
        writer.close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.2


def test_who_has_no_pyarrow_is_told_how_to_get_it() -> None:
    def load(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    with pytest.raises(NotDone, match=r"pip install 'llamagate\[parquet\]'"):
        Parquet(io.BytesIO(), load)
