import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from prometheus_client.parser import text_string_to_metric_families

from docs.generate import kinds
from proxy.config.settings import Settings
from proxy.errors import AuthUnavailable, GateError, GateStopping, RateLimited, StorageFailed
from proxy.ledger.under_way import Stage
from proxy.limits.verdict import Kind
from proxy.policy.endpoints import ENDPOINTS
from proxy.telemetry.metrics import FIGURES
from proxy.vocabulary import Level, Outcome
from tests.conftest import OpenGate
from tests.deploy.promql import ON_COUNTERS, NoPromQL, Read, read
from tests.fakes.answers import NATIVE_LINES, NDJSON, question, streamed
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import RecordingUpstream

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD: Mapping[str, Any] = json.loads((DEPLOY / "grafana/dashboards/llamagate.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
ALERTS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
DOCS = (ROOT / "docs/metrics.md").read_text()
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_PROMETHEUS = {"job", "instance"}
"""Labels that every metric has once it is looked at."""
COUNTED = ("_total", "_bucket", "_count", "_sum")

Known = Mapping[str, set[str]]
"""The labels of each sample by its name."""


def queries() -> Iterator[tuple[str, str]]:
    for panel in DRAWN:
        for target in panel["targets"]:
            yield f"{panel['title']}: {target['refId']}", target["expr"]
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


@pytest.fixture
async def known(open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path) -> Known:
    """What a gate tells that answered somebody, refused somebody, and heard nonsense."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    key.touch(0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    plain = await open_gate(admin_listen="127.0.0.1:0")
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    await plain.ask(plain.post("/api/chat", question()))
    await plain.ask(plain.get("/api/tags", key="sk-lg_nobodys"))
    await plain.ask(b"NONSENSE\r\n\r\n")
    tls = {"certificate": certificate, "key": key}
    encrypted = await open_gate(admin_listen="127.0.0.1:0", tls=tls, state_dir=tmp_path / "other")
    labels: dict[str, set[str]] = {"up": set()}
    for gate in (plain, encrypted):
        port = int(str(gate.standing.admin_address).rpartition(":")[2])
        client = await RawClient.connect("127.0.0.1", port)
        await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        text = (await client.told()).body.decode()
        client.close()
        labels |= {f"{figure.name}": {figure.label} - {""} for figure in FIGURES if f"# TYPE {figure.name} " in text}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def wrong(looks: Read, known: Known) -> Iterator[str]:
    """What an expression wants of a gate that there is not, or that means nothing."""
    for one in looks.selectors:
        if one.name not in known:
            yield f"there is no {one.name}"
            continue
        yield from (f"{one.name} has no {label}" for label in one.labels.keys() - known[one.name] - OF_PROMETHEUS)
        is_rated = bool(one.within) and one.within[-1] in ON_COUNTERS
        if is_rated != one.is_range or is_rated != one.name.endswith(COUNTED):
            yield f"{one.name} is looked at as if it were of another kind"
        if ("histogram_quantile" in one.within) and not one.name.endswith("_bucket"):
            yield f"{one.name} is no histogram"
    for grouping in looks.groupings:
        there = set().union(*(known.get(one.name, set()) for one in grouping.of)) | OF_PROMETHEUS
        yield from (f"nothing has {label}" for label in set(grouping.labels) - there)
        if any("histogram_quantile" in one.within for one in grouping.of) and "le" not in grouping.labels:
            yield "a histogram loses its bounds"


async def test_every_query_of_the_dashboard_and_the_alerts_asks_for_what_a_gate_tells(known: Known) -> None:
    assert [] == [f"{where}: {what}" for where, query in queries() for what in wrong(read(query), known)]


async def test_every_metric_of_a_gate_is_drawn(known: Known) -> None:
    drawn = {one.name for panel in DRAWN for target in panel["targets"] for one in read(target["expr"]).selectors}
    told = {name for name in known if name.startswith("llamagate_") and not name.endswith(("_sum", "_count"))}

    # How many keys and fetches there are is no news while none fails.
    assert {"llamagate_issuer_keys", "llamagate_issuer_fetches_total"} == told - drawn


def alternatives(pattern: str) -> list[str]:
    """What a pattern has between bars that stand in no brackets."""
    found, depth = [""], 0
    for sign in pattern:
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and not depth:
            found.append("")
        else:
            found[-1] += sign
    return found


def test_every_value_that_is_asked_for_is_one_that_a_gate_tells() -> None:
    words = {
        "outcome": [*Outcome],
        "stage": [*Stage],
        "endpoint": [endpoint.path for endpoint in ENDPOINTS],
        "event": ["strangers_refused"],
        "reason": [*(kind.code for kind in kinds()), *(f"{level}-{kind}" for level in Level for kind in Kind)],
    }
    asked = {
        (name, one)
        for _, query in queries()
        for looked in read(query).selectors
        for name, value in looked.labels.items()
        if name in words
        for one in alternatives(value)
    }

    assert words.keys() == {name for name, _ in asked}
    assert [] == [(name, one) for name, one in asked if not any(re.fullmatch(one, word) for word in words[name])]


def test_calls_that_a_limit_refused_are_drawn_as_such_by_the_names_of_limits() -> None:
    """As the ledger has them: ``key-requests``, where a caller is told ``rate_limit_exceeded``."""
    (panel,) = (one for one in DRAWN if one["title"] == "Refused by a limit")
    (looked,) = read(panel["targets"][0]["expr"]).selectors
    refused = RateLimited("", wait=1, limit=f"{Level.EVERYBODY}-{Kind.DAY_TOKENS}")

    assert re.fullmatch(looked.labels["reason"], refused.reason)


def test_a_mistake_of_the_gates_own_is_not_told_of_while_something_else_is_away_or_it_is_stopped() -> None:
    (alert,) = (one for one in ALERTS if one["alert"] == "GateFails")
    (looked,) = read(alert["expr"]).selectors

    assert {"reason": GateError().reason} == looked.labels
    assert not {one().reason for one in (StorageFailed, AuthUnavailable, GateStopping)} & {*looked.labels.values()}


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("rate(llamagate_call_total[5m])", "there is no llamagate_call_total"),
        ("rate(llamagate_calls_total{model='x'}[5m])".replace("'", '"'), "llamagate_calls_total has no model"),
        ("sum by (user) (rate(llamagate_calls_total[5m]))", "nothing has user"),
        ("rate(llamagate_connections[5m])", "llamagate_connections is looked at as if it were of another kind"),
        ("llamagate_calls_total > 3", "llamagate_calls_total is looked at as if it were of another kind"),
        (
            "histogram_quantile(0.9, sum by (endpoint) (rate(llamagate_call_seconds_bucket[5m])))",
            "a histogram loses its bounds",
        ),
        (
            "histogram_quantile(0.9, sum by (le) (rate(llamagate_call_seconds_sum[5m])))",
            "llamagate_call_seconds_sum is no histogram",
        ),
    ],
)
async def test_a_query_for_what_there_is_not_is_found(known: Known, query: str, complaint: str) -> None:
    assert complaint in list(wrong(read(query), known))


@pytest.mark.parametrize(
    "query",
    ["", "rate(", "rate(x[5m]", "x{a}", 'x{a="b"', "x y", "rte(x[5m])", "x[5]", "sum by x (y)", "1 +", "x{a=b}", "x'"],
)
def test_what_is_no_query_is_told(query: str) -> None:
    with pytest.raises(NoPromQL, match=r"."):
        read(query)


def test_the_dashboard_has_its_rows_in_order_and_nothing_lies_over_another() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    taken = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert ["Traffic", "Latency", "Tokens and GPU", "Limits", "Upstream", "Ledger", "Process"] == rows
    assert len(taken) == len(set(taken))
    assert 24 > max(x for x, _ in taken)
    assert len(PANELS) == len({panel["id"] for panel in PANELS})


def test_the_dashboard_asks_whichever_prometheus_is_chosen() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    asked = [panel["datasource"] for panel in DRAWN] + [
        one["datasource"] for panel in DRAWN for one in panel["targets"]
    ]

    assert DASHBOARD["schemaVersion"] >= 39
    assert ["datasource", "job", "instance"] == list(variables)
    assert ("datasource", "prometheus") == (variables["datasource"]["type"], variables["datasource"]["query"])
    assert all(SOURCE == one for one in [*asked, variables["job"]["datasource"], variables["instance"]["datasource"]])
    assert {"label_values(llamagate_info, job)", 'label_values(llamagate_info{job=~"$job"}, instance)'} == {
        variables[name]["definition"] for name in ("job", "instance")
    }


def test_every_panel_says_what_it_shows_of_the_gates_that_are_chosen() -> None:
    for panel in DRAWN:
        assert re.fullmatch(r"[A-Z0-9].*\.", panel["description"])
        assert panel["fieldConfig"]["defaults"].get("unit", "s")
        for target in panel["targets"]:
            assert target["legendFormat"]
            for one in read(target["expr"]).selectors:
                assert ("$job", "$instance") == (one.labels["job"], one.labels["instance"])


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "cure"} == set(alert["annotations"])
        assert all(text.endswith(".") for text in alert["annotations"].values())


def test_every_alert_is_told_in_the_docs() -> None:
    section = DOCS.partition("\n## Prometheus")[2].partition("\n## ")[0]
    told = [line.strip("| ").split(" | ")[:2] for line in section.splitlines() if line.startswith("| `")]

    assert [[f"`{alert['alert']}`", alert["labels"]["severity"]] for alert in ALERTS] == told


def test_prometheus_looks_at_the_admin_listener_of_this_machine_and_knows_the_alerts() -> None:
    told = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    example = Settings.model_fields["admin_listen"].examples or []

    assert [(DEPLOY / "prometheus/alerts.yml").name] == told["rule_files"]
    assert [example] == [one["targets"] for one in told["scrape_configs"][0]["static_configs"]]
    assert "llamagate" == told["scrape_configs"][0]["job_name"]


def test_the_prometheus_of_compose_knows_the_alerts_and_takes_nothing_else_for_rules() -> None:
    told = yaml.safe_load((DEPLOY / "compose/prometheus/prometheus.yml").read_text())

    assert ["/etc/llamagate/prometheus/alerts.yml"] == told["rule_files"]


def test_grafana_is_told_where_prometheus_and_the_dashboard_are() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/llamagate.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/llamagate.yml").read_text())["providers"]

    assert ("prometheus", True) == (source["type"], source["isDefault"])
    assert "/etc/llamagate/grafana/dashboards" == provider["options"]["path"]
    assert ["llamagate.json"] == [one.name for one in (DEPLOY / "grafana/dashboards").iterdir()]
