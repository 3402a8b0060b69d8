import json
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, python

ROWS = [
    "CPU per unary call, 1 client",
    "CPU per unary call, 32 clients",
    "CPU per streamed event, SSE",
    "CPU per streamed event, NDJSON",
    "chunks per stream heard, SSE",
    "chunks per stream heard, NDJSON",
    "added latency p50, 1 client",
    "added latency p99, 1 client",
    "added latency p50, 32 clients",
    "added latency p99, 32 clients",
    "first answer after start",
    "resident memory, idle",
]
LITTLE = ("--rounds", "1", "--calls", "2", "--streams", "2")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(python("bench", *words), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_a_measurement_is_told_as_one_table_and_written_as_json(tmp_path: Path) -> None:
    done = bench("--quick", *LITTLE, "--json", str(tmp_path / "bench.json"))

    assert 0 == done.returncode, done.stderr

    written = json.loads((tmp_path / "bench.json").read_text())

    assert {"command", "python", "cpus", "rounds", "figures"} == written.keys()
    assert 1 == written["rounds"]
    assert ROWS == [figure["name"] for figure in written["figures"]]
    assert [] == [row for row in ROWS if row not in done.stdout]
    for figure in written["figures"]:
        assert {"name", "unit", "upstream", "bare", "gate", "rounds", "ratio"} == figure.keys()
        assert {"bare", "gate"} <= figure["rounds"].keys()


@pytest.mark.parametrize("word", ["--rounds", "--calls", "--streams"])
def test_nothing_cannot_be_measured(word: str) -> None:
    assert 2 == bench(word, "0").returncode
