import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import gates, hammer, limits, marks, on_record, peers
from bench.__main__ import asked
from bench.figures import Notes, Sheet, figure, percentile
from bench.gates import ALL, FEATURES
from bench.groups import calls, memory
from bench.load import EVENTS, UNARY, WrongAnswer, unchunked
from bench.peers import CADDY, LITELLM, NGINX, NotInstalled, nginx
from bench.servers import Plan, running, upstream
from bench.sizes import QUICK
from bench.upstream import EVENT, EVENTS_END, SAID, WHOLE
from proxy.auth import api_keys
from proxy.bootstrap.storage import pepper_of, records
from proxy.config.load import load
from proxy.config.settings import Settings
from proxy.policy.models import canonical_pattern
from proxy.vocabulary import Level
from tests.end_to_end.processes import ROOT, python

SIDES = {"nginx", "Caddy", "aiohttp", "gate"}
MEASURED = {
    "start": {"aiohttp", "gate"},
    "calls": {"upstream", *SIDES, "gate, Redis"},
    "latency": {"upstream", *SIDES, "gate, Redis"},
    "streams": {"upstream", *SIDES, "gate, Redis"},
    "waits": {"upstream", *SIDES, "gate, Redis"},
    "features": {"gate, bare", "gate", "gate, Redis"},
    "growth": {"nginx", "Caddy", "aiohttp", "gate"},
    "memory": {"aiohttp", "gate"},
    "workers": set(),
    "decisions": {"in process", "in Redis", "Redis itself", "call"},
    "ledger": {"no ledger", "journal", "SQLite"},
    "proofs": {"proof", "call"},
}
"""By sheet, of what a quick run has figures; nginx where the system has it."""
ABOUT = {"command", "python", "cpus", "seconds", "redis", "servers", "missing", "marks"}
LITTLE = ("--rounds", "1", "--calls", "2", "--streams", "2", "--decisions", "4", "--proofs", "4", "--rows", "4")


def bench(*words: str, module: str = "bench") -> subprocess.CompletedProcess[str]:
    return subprocess.run(python(module, *words), cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)


def told(name: str, **rounds: list[float]) -> Sheet:
    return Sheet(name, "", {}, {}, [figure(calls.cpu(32), "µs", rounds)])


def sheets(**rounds: list[float]) -> dict[str, Sheet]:
    return {"calls": told("calls", **rounds)}


@pytest.mark.timeout(180)
def test_a_measurement_is_told_in_tables_and_written_as_json_and_as_a_plot(tmp_path: Path) -> None:
    done = bench("--quick", *LITTLE, "--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.svg"))

    assert 0 == done.returncode, done.stderr

    written = json.loads((tmp_path / "bench.json").read_text())

    assert ABOUT | MEASURED.keys() == written.keys()
    assert written["redis"].startswith("Redis ")
    for sheet, measured in MEASURED.items():
        there = measured - written["missing"].keys()
        for row in written[sheet]:
            assert {"name", "unit", "ratios", "rounds"} <= row.keys()
            assert row["name"].split(",")[0] in done.stdout or not row["rounds"]
        assert there == there & {column for row in written[sheet] for column in row["rounds"]}, sheet
    assert [mark["name"] for mark in written["marks"]] == [mark.name for mark in marks.marks({})]
    assert {"2 workers", "PostgreSQL"} <= written["missing"].keys()
    assert "<svg" in (tmp_path / "bench.svg").read_text()


def test_one_group_can_be_measured_alone(tmp_path: Path) -> None:
    done = bench("--quick", *LITTLE, "--only", "proofs", "--json", str(tmp_path / "bench.json"))

    assert 0 == done.returncode, done.stderr
    assert ABOUT | {"proofs"} == json.loads((tmp_path / "bench.json").read_text()).keys()


@pytest.mark.parametrize(
    "word",
    ["--rounds", "--starts", "--calls", "--streams", "--decisions", "--proofs", "--rows", "--streams-open"],
)
def test_nothing_cannot_be_measured(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        asked([word, "0"])

    assert "nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "nothing"), "invalid choice: 'nothing'"),
        (("--json", "no/such/folder/bench.json"), "there is no folder no/such/folder"),
        (("--plot", "no/such/folder/bench.svg"), "there is no folder no/such/folder"),
        (("--plot", "bench.text"), "as .svg or .png"),
        (("--streams-open", "9999999"), "need more open files"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        asked(words)

    assert says in capsys.readouterr().err


def test_a_million_keys_are_for_who_asks_for_the_whole_of_it() -> None:
    assert 100_000 == max(asked([]).size.keys)
    assert 1_000_000 == max(asked(["--whole"]).size.keys)


def test_who_asks_for_a_flame_graph_alone_gets_nothing_else() -> None:
    assert [] == asked(["--flame", "flames.svg"]).wanted
    assert ["calls"] == asked(["--flame", "flames.svg", "--only", "calls"]).wanted
    assert "calls" in asked([]).wanted


def test_a_peer_that_nobody_knows_is_not_installed() -> None:
    done = bench("nobody", module="bench.peers")

    assert 1 == done.returncode
    assert "there is no nobody, only litellm and portkey" in done.stderr


def test_a_large_peer_that_is_not_there_says_how_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMAGATE_PEERS", str(tmp_path))

    with pytest.raises(NotInstalled, match=r"LiteLLM is not installed: python -m bench\.peers"):
        peers.found(LITELLM, lambda folder: folder / "bin" / "litellm")


def test_the_locks_of_the_peers_are_hashed_and_name_no_address() -> None:
    python_lock = (peers.HERE / "litellm.lock").read_text()
    packages = json.loads((peers.HERE / "portkey" / "package-lock.json").read_text())["packages"]

    assert [] == re.findall(r"://", python_lock)
    assert len(re.findall(r"^\S+==\S+", python_lock, re.MULTILINE)) == len(
        re.findall(r"^\S+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", python_lock, re.MULTILINE)
    )
    assert [] == [name for name, one in packages.items() if name and "integrity" not in one]
    assert [] == [name for name, one in packages.items() if "resolved" in one]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_the_settings_of_each_feature_are_settings_of_the_gate(feature: gates.Feature) -> None:
    text = "\n".join(gates.written({**gates.AT_LEAST, **feature.told}))
    settings = load(
        text=text, file="here", environment={}, flags={}, read_secret=lambda _: "", check_pattern=canonical_pattern
    ).settings

    assert ("log_level" in feature.told) == (settings.log_level == "info")
    assert ("limits" in feature.told) == (settings.plan_table()["default"].allowances != ())


def test_a_gate_that_is_measured_limits_at_every_level() -> None:
    told = limits.told()

    assert {"user", "team"} <= told["plans"]["default"]["limits"].keys()
    assert told["limits"]
    assert set(Level) >= limits.ALLOWED.keys()


async def test_keys_are_put_on_record_as_a_desk_would_put_them(tmp_path: Path) -> None:
    (key,) = await on_record.issue(tmp_path, real=1, others=20)
    settings = Settings.model_validate({"state_dir": str(tmp_path)})
    async with records(settings) as kept:
        holder = await kept.registry.find(api_keys.key_id_of(key) or "")
        made_up = await kept.registry.find("0" * api_keys.ID_LENGTH)

    assert holder is not None
    assert holder.key.digest == api_keys.digest(key, pepper_of(settings))
    assert "live" == holder.key.state(datetime.now(UTC))
    assert made_up is not None
    assert made_up.key.digest != holder.key.digest


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert 5 == percentile([9, 1, 5], 50)
    assert 9 == percentile([9, 1, 5], 99)


def test_a_ratio_is_of_what_was_measured_in_the_same_round() -> None:
    assert 2 == figure("", "", {"ours": [2, 20, 200], "theirs": [1, 10, 100]}).ratio("ours", "theirs")
    assert 3 == figure("", "", {"ours": [6], "theirs": [1, 2, 3]}).ratio("ours", "theirs")
    assert figure("", "", {"ours": [6], "theirs": [0]}).ratio("ours", "theirs") is None
    assert figure("", "", {"ours": [6]}).ratio("ours", "theirs") is None


def test_what_is_added_is_what_the_upstream_does_not_take_itself() -> None:
    notes = Notes()
    for server, value in (("upstream", 1.0), ("gate", 3.0), ("upstream", 2.0), ("gate", 7.0)):
        notes.take("p50", server, value)

    assert {"gate": [2.0, 5.0], "upstream": [1.0, 2.0]} == notes.added("p50", "upstream")
    assert {} == notes.added("p99", "upstream")


def test_a_sheet_leaves_out_columns_and_ratios_that_have_no_figures() -> None:
    sheet = Sheet("", "", {"a": "A", "b": "B"}, {"a / b": ("a", "b")}, [figure("row", "µs", {"a": [1.0]})])

    (table,) = sheet.drawn()

    assert ["median over rounds", "A", "unit"] == [str(column.header) for column in table.columns]
    assert sheet.measured
    assert not Sheet("", "", {}, {}, [figure("row", "µs", {})]).measured


def test_a_sheet_that_is_too_wide_is_drawn_as_two_tables() -> None:
    names = [f"server {number}" for number in range(10)]
    row = figure("row", "µs", {name: [float(number + 1)] for number, name in enumerate(names)})
    ratios = {f"{name} / first": (name, names[0]) for name in names[1:]}
    values, of = Sheet("", "all", {name: name for name in names}, ratios, [row]).drawn()

    assert ["median over rounds", *names, "unit"] == [str(column.header) for column in values.columns]
    assert ["median over rounds", *ratios, "unit"] == [str(column.header) for column in of.columns]
    assert "all: ratios" == of.title


def test_a_mark_is_met_missed_or_not_measured() -> None:
    found = {mark.name: mark for mark in marks.marks(sheets(**{ALL: [100.0], CADDY: [200.0], NGINX: [10.0]}))}

    assert found["CPU per call, 32 clients, to Caddy"].met is True
    assert found["CPU per call, 32 clients, to nginx"].met is False
    assert found["CPU per call, 32 clients, to aiohttp"].met is None
    assert 10 == found["CPU per call, 32 clients, to nginx"].measured


def test_a_mark_of_at_least_is_missed_below_it() -> None:
    (met,) = [mark for mark in marks.marks(sheets(**{LITELLM: [9999.0], ALL: [100.0]})) if "LiteLLM" in mark.name]

    assert met.met is False
    assert "at least 100 times" == met.wanted


def test_an_answer_is_checked_for_all_that_it_should_say() -> None:
    stream = EVENT * EVENTS.events + EVENTS_END
    UNARY.check(WHOLE)
    UNARY.check(b'{"said": "' + SAID + b'"}', exact=False)
    EVENTS.check(stream)

    for question, wrong, exact in (
        (UNARY, WHOLE[:-1], True),
        (UNARY, b"{}", False),
        (EVENTS, EVENT + EVENTS_END, True),
        (EVENTS, stream[:-1], True),
        (EVENTS, EVENT + EVENTS_END, False),
    ):
        with pytest.raises(WrongAnswer):
            question.check(wrong, exact=exact)


def test_chunks_are_counted_and_taken_off() -> None:
    assert (b"one, two", 2) == unchunked(b"5\r\none, \r\n3\r\ntwo\r\n0\r\n\r\n")


def test_streams_that_say_nothing_need_a_file_on_each_side() -> None:
    assert memory.enough_files(QUICK.open_streams)
    assert not memory.enough_files(10**9)


def test_the_cheap_callers_hear_every_answer() -> None:
    with running(upstream()) as server:
        request = UNARY.request(server.plan.port, "none")
        answered, seconds = hammer.hammer(server.plan.port, 4, 40, 5.0, request)

    assert 40 == answered
    assert seconds > 0


def test_what_a_process_used_is_known_to_less_than_a_step_of_the_kernels() -> None:
    with running(upstream()) as server:
        used = server.cpu_seconds()

    assert 0 < used
    assert used != round(used, 2)


def test_nginx_is_told_of_its_folder_and_of_nothing_elsewhere(tmp_path: Path) -> None:
    text = nginx.configuration(tmp_path, port=1, upstream=2)
    files = re.findall(r" (/[^\s{;]+)", text.replace("location /", ""))

    assert files
    assert [] == [file for file in files if not file.startswith(f"{tmp_path}/")]


def test_a_key_is_not_in_what_a_plan_says_of_itself() -> None:
    assert "sk-secret" not in repr(Plan("peer", 1, (), {}, "sk-secret"))
