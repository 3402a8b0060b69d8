import asyncio
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from proxy.errors import Why
from proxy.telemetry.metrics import (
    FIGURES,
    LOOK_SECONDS,
    Family,
    Metrics,
    OfProcess,
    as_told,
    growing,
    heard,
    together,
    written,
)
from proxy.vocabulary import Entry, Outcome, Usage

DOCS = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
ENTRY = Entry(
    id="req_1",
    at=datetime(2026, 11, 1, tzinfo=UTC),
    endpoint="/api/chat",
    outcome=Outcome.SERVED,
    status=200,
    user="CANARY-user",
    team="CANARY-team",
    key_id="CANARY-key",
    plan="CANARY-plan",
    model="CANARY-model",
    peer="CANARY-peer",
    changes=("CANARY-change",),
    usage=Usage(prompt_tokens=26, completion_tokens=3),
    gpu_seconds=1.5,
    first_byte_seconds=0.2,
    total_seconds=2.0,
    bytes_in=100,
    bytes_out=1000,
)

Labels = tuple[tuple[str, str], ...]


async def samples(metrics: Metrics) -> Mapping[tuple[str, Labels], float]:
    families = text_string_to_metric_families((await metrics.text())[1].decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


async def test_what_calls_came_to_is_summed() -> None:
    metrics = Metrics()
    metrics.recorded(ENTRY)
    metrics.recorded(ENTRY)
    refused = replace(ENTRY, endpoint="unknown", outcome=Outcome.REFUSED, reason=f"invalid_api_key.{Why.UNKNOWN}")
    metrics.recorded(replace(refused, usage=Usage(exact=False), first_byte_seconds=None, gpu_seconds=0.0))
    told = await samples(metrics)

    assert 2 == told["llamagate_calls_total", (("endpoint", "/api/chat"), ("outcome", "served"))]
    assert 1 == told["llamagate_calls_total", (("endpoint", "unknown"), ("outcome", "refused"))]
    assert 1 == told["llamagate_not_served_total", (("reason", "invalid_api_key.unknown"),)]
    assert (52, 6) == tuple(told["llamagate_tokens_total", (("kind", kind),)] for kind in ("prompt", "completion"))
    assert (300, 3000) == tuple(told["llamagate_bytes_total", (("direction", way),)] for way in ("in", "out"))
    assert (3.0, 1) == (told["llamagate_gpu_seconds_total", ()], told["llamagate_estimated_calls_total", ()])
    chat = ("endpoint", "/api/chat")
    assert 2 == told["llamagate_first_byte_seconds_count", (chat,)]
    assert (0, 2) == tuple(
        told["llamagate_first_byte_seconds_bucket", (chat, ("le", most))] for most in ("0.1", "0.25")
    )
    assert 6.0 == sum(value for (name, _), value in told.items() if name == "llamagate_call_seconds_sum")


async def test_phases_are_summed_as_far_as_they_were_told() -> None:
    metrics = Metrics()
    metrics.recorded(replace(ENTRY, usage=Usage(1, 1, load_seconds=0.5, prompt_seconds=0.25, completion_seconds=2.0)))
    metrics.recorded(replace(ENTRY, usage=Usage(1, 0, prompt_seconds=0.5)))
    metrics.recorded(ENTRY)
    told = await samples(metrics)

    assert {"load": 0.5, "prompt": 0.75, "completion": 2.0} == {
        dict(labels)["phase"]: value
        for (name, labels), value in told.items()
        if name == "llamagate_phase_seconds_total"
    }


@pytest.mark.parametrize(
    ("usage", "stream", "speed"),
    [
        (Usage(1, 30, completion_seconds=0.5), False, 60.0),  # As the backend says …
        (Usage(1, 30), True, 15.0),  # … or from the first byte to the end …
        (Usage(1, 30), False, None),  # … which says nothing of an answer that came as a whole.
        (Usage(1, 30, exact=False, completion_seconds=0.5), True, None),
        (Usage(1, 1, completion_seconds=0.5), True, None),
        (Usage(1, 30, completion_seconds=0.0), True, None),
    ],
)
async def test_how_fast_an_answer_was_written_is_told_where_it_is_known(
    usage: Usage, stream: bool, speed: float | None
) -> None:
    metrics = Metrics()
    metrics.recorded(replace(ENTRY, usage=usage, stream=stream, first_byte_seconds=1.0, total_seconds=3.0))
    told = await samples(metrics)

    assert (0 if speed is None else 1, speed or 0.0) == tuple(
        told[f"llamagate_tokens_per_second_{part}", ()] for part in ("count", "sum")
    )


async def test_a_value_on_a_bound_is_counted_below_it_and_one_beyond_all_in_the_last() -> None:
    metrics = Metrics()
    for seconds in (0.1, 0.100001, 600.0, 601.0):
        metrics.recorded(replace(ENTRY, total_seconds=seconds))
    told = await samples(metrics)

    assert (1, 2, 3, 4) == tuple(
        told["llamagate_call_seconds_bucket", (("endpoint", "/api/chat"), ("le", most))]
        for most in ("0.1", "0.25", "600.0", "+Inf")
    )


async def test_an_ending_that_has_not_come_yet_is_told_as_none_so_that_its_first_is_seen() -> None:
    metrics = Metrics()
    metrics.recorded(ENTRY)
    told = await samples(metrics)

    assert {outcome.value: float(outcome is Outcome.SERVED) for outcome in Outcome} == {
        dict(labels)["outcome"]: value for (name, labels), value in told.items() if name == "llamagate_calls_total"
    }


async def test_what_is_told_is_of_one_moment() -> None:
    metrics = Metrics()
    metrics.recorded(ENTRY)
    telling = asyncio.ensure_future(metrics.text())
    await asyncio.sleep(0)
    metrics.recorded(ENTRY)
    told = read((await telling)[1])

    assert 1 == told["llamagate_calls_total", (("endpoint", "/api/chat"), ("outcome", "served"))]
    assert 1 == told["llamagate_call_seconds_count", (("endpoint", "/api/chat"),)]


async def test_a_mistake_of_the_gates_own_is_counted_from_nothing_on_so_that_the_first_is_seen_to_be_more() -> None:
    metrics = Metrics()
    before = b'llamagate_not_served_total{reason="internal_error"} 0.0' in (await metrics.text())[1]
    metrics.recorded(replace(ENTRY, outcome=Outcome.GATE_FAILED, reason="internal_error"))

    assert before
    assert b'llamagate_not_served_total{reason="internal_error"} 1.0' in (await metrics.text())[1]


async def test_nobody_and_nothing_that_was_sent_is_in_it() -> None:
    metrics = Metrics()
    metrics.recorded(ENTRY)

    assert b"CANARY" not in (await metrics.text())[1]


async def test_what_others_count_is_asked_for_when_it_is_wanted() -> None:
    counts, metrics = {"degraded_local": 1}, Metrics()
    metrics.asks(lambda: {"llamagate_limits_total": counts, "llamagate_draining": True})
    counts["degraded_local"] = 7
    told = await samples(metrics)

    assert 7 == told["llamagate_limits_total", (("event", "degraded_local"),)]
    assert 1 == told["llamagate_draining", ()]
    assert ("llamagate_journal_bytes", ()) not in told


async def test_an_issuers_name_cannot_break_out_of_its_label() -> None:
    metrics = Metrics()
    metrics.asks(lambda: {"llamagate_issuer_keys": {'a"} 1\nllamagate_evil{b="': 2}})

    assert "llamagate_evil" not in {name for name, _ in await samples(metrics)}


async def test_each_gate_has_figures_of_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.recorded(ENTRY)

    assert ("llamagate_calls_total", (("endpoint", "/api/chat"), ("outcome", "served"))) not in await samples(other)


async def test_a_loop_that_comes_late_is_seen() -> None:
    metrics, moments = Metrics(), iter([0.0, LOOK_SECONDS, 1.0, 1.0 + LOOK_SECONDS + 0.3])
    looks = 0

    async def pause(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 2:
            raise asyncio.CancelledError

    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await metrics.watch(pause, lambda: next(moments, 99.0))
    told = await samples(metrics)

    assert 2 == told["llamagate_loop_lag_seconds_count", ()]
    assert (1, 2) == tuple(told["llamagate_loop_lag_seconds_bucket", (("le", most),)] for most in ("0.001", "0.5"))


async def families(entries: int, **values: float) -> list[Family]:
    """What one process tells after so many calls."""
    metrics = Metrics()
    metrics.asks(lambda: values)
    for _ in range(entries):
        metrics.recorded(ENTRY)
    return await metrics.families()


def read(text: bytes) -> Mapping[tuple[str, Labels], float]:
    told = text_string_to_metric_families(text.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in told for one in family.samples}


async def test_the_figures_of_several_processes_are_those_of_one_that_did_it_all() -> None:
    busy, idle = Metrics(), Metrics()
    for _ in range(3):
        busy.recorded(ENTRY)
    idle.recorded(replace(ENTRY, endpoint="/api/tags", total_seconds=40.0))
    alone = Metrics()
    for entry in (ENTRY, ENTRY, ENTRY, replace(ENTRY, endpoint="/api/tags", total_seconds=40.0)):
        alone.recorded(entry)
    both = together([await busy.families(), await idle.families()])

    assert {name: value for name, value in (await samples(alone)).items() if not name[0].startswith("process_")} == {
        name: value for name, value in read(written(both)[1]).items() if not name[0].startswith("process_")
    }


async def test_what_is_told_to_another_process_arrives_and_is_written_alike() -> None:
    metrics = Metrics()
    metrics.asks(lambda: {"llamagate_issuer_keys": {'a"} 1\n': 2}, "llamagate_journal_bytes": 2.0**40})
    metrics.recorded(ENTRY)
    told = await metrics.families()

    assert told == heard(json.loads(json.dumps(as_told(told))))
    assert {line for line in (await metrics.text())[1].splitlines() if not line.startswith(b"process_")} == {
        line for line in written(told)[1].splitlines() if not line.startswith(b"process_")
    }


async def test_what_does_not_only_grow_is_added_or_the_highest_is_told() -> None:
    one = {"llamagate_connections": 3.0, "llamagate_book_behind_seconds": 7.5, "llamagate_ledger_full": 0.0}
    other = {"llamagate_connections": 4.0, "llamagate_book_behind_seconds": 0.0, "llamagate_ledger_full": 1.0}
    both = read(written(together([await families(0, **one), await families(0, **other)]))[1])

    assert (7, 7.5, 1) == tuple(both[name, ()] for name in one)


async def test_of_several_certificates_the_first_that_ends_is_told() -> None:
    name = "llamagate_certificate_end_timestamp_seconds"
    both = read(written(together([await families(0, **{name: 2e9}), await families(0, **{name: 1.9e9})]))[1])

    assert 1.9e9 == both[name, ()]


async def test_of_a_process_that_has_gone_only_what_grows_is_true() -> None:
    told = growing(await families(1, llamagate_connections=3.0, llamagate_log_lines_lost_total=2.0))
    names = {family.name for family in told}

    assert {
        "llamagate_calls",
        "llamagate_first_byte_seconds",
        "llamagate_log_lines_lost",
        "process_cpu_seconds",
    } <= names
    assert set() == names & {"llamagate_connections", "process_resident_memory_bytes"}


@pytest.mark.parametrize(
    "told", [None, 7, [7], [[]], [["a", "b", "c", [["x", [7], 1]]]], [["a", "b", "c", [[1, [], "x"]]]]]
)
def test_what_makes_no_sense_is_no_figures(told: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        heard(told)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_what_the_process_has_open_is_told_where_proc_shows_processes_alone(tmp_path: Path) -> None:
    """As under the unit's ProcSubset=pid, which leaves no /proc/stat."""
    (tmp_path / "self").symlink_to("/proc/self")
    usual, least = CollectorRegistry(), CollectorRegistry()
    OfProcess(registry=usual)
    OfProcess(proc=str(tmp_path), registry=least)
    began = "process_start_time_seconds"

    assert {one.name for one in usual.collect()} == {one.name for one in least.collect()}
    assert (least.get_sample_value("process_open_fds") or 0) > 0
    assert pytest.approx(usual.get_sample_value(began), abs=2) == least.get_sample_value(began)


def test_the_names_are_as_prometheus_has_them() -> None:
    for figure in FIGURES:
        assert re.fullmatch(r"llamagate(_[a-z]+)+", figure.name)
        assert figure.only_grows == figure.name.endswith("_total")
        assert re.fullmatch(r"[A-Z0-9].*\.", figure.means)


def rows() -> list[list[str]]:
    section = DOCS.partition("\n## What is told")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in lines]


async def test_every_metric_is_told_in_the_docs_with_its_type_its_labels_and_its_meaning() -> None:
    metrics = Metrics()
    metrics.asks(lambda: {figure.name: {"x": 1} if figure.label else 1 for figure in FIGURES})
    metrics.recorded(replace(ENTRY, reason="truncated"))
    expected = []
    for family in text_string_to_metric_families((await metrics.text())[1].decode()):
        if family.name.startswith("process_"):
            continue
        labels = dict.fromkeys(label for one in family.samples for label in one.labels if label != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told = ", ".join(f"`{label}`" for label in sorted(labels))
        expected.append([f"`{name}`", family.type, told, family.documentation])

    assert sorted(expected) == sorted(rows())
