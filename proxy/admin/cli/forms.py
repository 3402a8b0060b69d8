"""Entries as other programs read them: a JSON object a line, a sheet, or a table of Parquet.

Each is written page by page, so that it takes no more memory for many entries than for some.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any, BinaryIO, Protocol

from proxy.admin.cli import sheet
from proxy.admin.refusals import NotDone
from proxy.ledger.facts import Fact, facts
from proxy.vocabulary import Entry

SCHEMA = 1
"""Told on every row. It grows when a column changes or goes; a new one comes last and needs no new number."""

COLUMNS: Mapping[str, str] = {
    "schema": "int32",
    "id": "string",
    "at": "time",
    "user": "string",
    "team": "string",
    "key_id": "string",
    "plan": "string",
    "endpoint": "string",
    "model": "string",
    "stream": "bool",
    "outcome": "string",
    "status": "int32",
    "reason": "string",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "exact": "bool",
    "suspicious": "bool",
    "load_seconds": "float64",
    "prompt_seconds": "float64",
    "completion_seconds": "float64",
    "gpu_seconds": "float64",
    "first_byte_seconds": "float64",
    "total_seconds": "float64",
    "bytes_in": "int64",
    "bytes_out": "int64",
    "peer": "string",
    "changes": "string",
    "prompt_cut": "bool",
    "cost": "float64",
    "elsewhere": "float64",
    "watt_hours": "float64",
}
"""What a row has, in order, and of what kind it is: as Arrow calls it, or a ``time``, to the millisecond in UTC."""

_ROWS_AT_ONCE = 65_536
"""Parquet keeps its rows in groups, and small ones make it slow to read."""


class Form(Protocol):
    """Something that entries are written as."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Add these. Raises OSError."""

    def close(self) -> None:
        """Nothing comes any more. Raises OSError."""


def row(entry: Entry) -> dict[str, Fact]:
    return {"schema": SCHEMA, **facts(entry)}


class Lines:
    """JSON Lines: one object a line, in ASCII."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, entries: Sequence[Entry]) -> None:
        self._file.write("".join(f"{json.dumps(row(entry), ensure_ascii=True)}\n" for entry in entries).encode())

    def close(self) -> None:
        """Every line is whole."""


class Sheet:
    """Comma-separated values, see ``sheet``, with a line of heads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._add([tuple(COLUMNS)])

    def write(self, entries: Sequence[Entry]) -> None:
        self._add([[told[name] for name in COLUMNS] for told in map(row, entries)])

    def close(self) -> None:
        """Every line is whole."""

    def _add(self, rows: Sequence[Sequence[Fact]]) -> None:
        self._file.write(sheet.rows(rows).encode())


class Parquet:
    """Apache Parquet, by pyarrow, which only those have who want this. Raises NotDone where it is not installed."""

    def __init__(self, file: BinaryIO, load: Callable[[str], ModuleType] = importlib.import_module) -> None:
        try:
            arrow: Any = load("pyarrow")
            parquet: Any = load("pyarrow.parquet")
        except ImportError:
            raise NotDone(
                "Parquet is written by pyarrow, which is not installed. It comes with an extra: "
                "pip install 'llamagate[parquet]'"
            ) from None
        kinds = {"time": arrow.timestamp("ms", tz="UTC"), "bool": arrow.bool_()}
        columns = [(name, kinds.get(kind) or getattr(arrow, kind)()) for name, kind in COLUMNS.items()]
        self._arrow = arrow
        self._schema = arrow.schema(columns)
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._waiting: list[Any] = []

    def write(self, entries: Sequence[Entry]) -> None:
        rows = [{**told, "at": datetime.fromisoformat(str(told["at"]))} for told in map(row, entries)]
        self._waiting.append(self._arrow.RecordBatch.from_pylist(rows, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._arrow.Table.from_batches(self._waiting, self._schema))
            self._waiting.clear()


FORMS: Mapping[str, Callable[[BinaryIO], Form]] = {"jsonl": Lines, "csv": Sheet, "parquet": Parquet}
NEED_A_FILE = frozenset({"parquet"})
"""What no terminal or pipe has a use for."""
