import json
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, python

CALLS = [
    "CPU per unary call, 1 client",
    "CPU per unary call, 32 clients",
    "CPU per streamed event, SSE",
    "CPU per streamed event, NDJSON",
]
CALLERS = ("1 caller", "32 callers", "256 callers")
ROWS = {
    "figures": [
        *CALLS,
        "chunks per stream heard, SSE",
        "chunks per stream heard, NDJSON",
        "added latency p50, 1 client",
        "added latency p99, 1 client",
        "added latency p50, 32 clients",
        "added latency p99, 32 clients",
        "first answer after start",
        "resident memory, idle",
    ],
    "limits": [*CALLS, "added latency p50, 1 client", "added latency p50, 32 clients"],
    "decisions": [
        f"{kind}; {accounts}, {clients} at once"
        for kind in ("reserve", "reserve, settle", "admit, tell, settle")
        for accounts in ("1 account", "4 accounts")
        for clients in (1, 32)
    ],
    "ledger": [
        *(f"rows per second, {callers}" for callers in CALLERS),
        *(f"CPU per row, {callers}" for callers in CALLERS),
        "CPU per row, 100 calls a second",
        *(f"wait p{percent} of a call, {callers}" for callers in CALLERS for percent in (50, 99)),
    ],
    "proofs": [
        "an API key",
        "a token seen before",
        "a new token, RS256",
        "a new token, ES256",
        "a request signed by Ollama's client",
    ],
}
MEASURED = {
    "figures": {"bare", "gate"},
    "limits": {"gate", "in process", "in Redis"},
    "decisions": {"in process", "in Redis", "Redis itself", "call"},
    "ledger": {"SQLite", "PostgreSQL"},
    "proofs": {"proof", "call"},
}
RATIOS = {
    "figures": {"gate / bare"},
    "limits": {"in process / gate", "in Redis / gate"},
    "decisions": {"Redis / process", "process / call", "Redis / call"},
    "ledger": {"journal / none", "SQLite / call"},
    "proofs": {"proof / call"},
}
LITTLE = ("--rounds", "1", "--calls", "2", "--streams", "2", "--decisions", "4", "--proofs", "4", "--rows", "4")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(python("bench", *words), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_a_measurement_is_told_in_tables_and_written_as_json(tmp_path: Path) -> None:
    done = bench("--quick", *LITTLE, "--json", str(tmp_path / "bench.json"))

    assert 0 == done.returncode, done.stderr

    written = json.loads((tmp_path / "bench.json").read_text())

    assert {"command", "python", "cpus", "rounds", "redis", "postgresql", *ROWS} == written.keys()
    assert 1 == written["rounds"]
    assert written["redis"].startswith("Redis ")
    assert written["postgresql"].startswith("PostgreSQL ")
    for table, rows in ROWS.items():
        assert rows == [figure["name"] for figure in written[table]]
        assert [] == [row for row in rows if row not in done.stdout]
        for figure in written[table]:
            assert {"name", "unit", "ratios", "rounds"} <= figure.keys()
            assert RATIOS[table] == figure["ratios"].keys()
            assert MEASURED[table] <= figure["rounds"].keys()


@pytest.mark.parametrize("word", ["--rounds", "--calls", "--streams", "--decisions", "--proofs", "--rows"])
def test_nothing_cannot_be_measured(word: str) -> None:
    assert 2 == bench(word, "0").returncode
