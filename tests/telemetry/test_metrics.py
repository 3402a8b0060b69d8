import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.errors import Why
from proxy.telemetry.metrics import FIGURES, LOOK_SECONDS, Metrics
from proxy.vocabulary import Entry, Outcome, Usage

OPERATING = (Path(__file__).parents[2] / "docs/operating.md").read_text()
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


def test_the_names_are_as_prometheus_has_them() -> None:
    for figure in FIGURES:
        assert re.fullmatch(r"llamagate(_[a-z]+)+", figure.name)
        assert figure.only_grows == figure.name.endswith("_total")
        assert re.fullmatch(r"[A-Z0-9].*\.", figure.means)


def rows() -> list[list[str]]:
    section = OPERATING.partition("\n## Metrics")[2].partition("\n## ")[0]
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
