import json
from pathlib import Path

import pytest

from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.admin.watching import LedgerStatus, Look
from tests.admin.cli.conftest import Type
from tests.fakes.redis import free_port
from tests.fakes.tools import FakeTools

SECRET = "rather-long-pw-7f3a"


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    """With an Ollama, a Redis and a database where nobody is."""
    port = free_port()
    text = (
        f'state_dir = "{tmp_path}/state"\nupstream = "http://127.0.0.1:{port}"\n'
        f'redis_url = "redis://:{SECRET}@127.0.0.1:{port}"\ndatabase_url = "postgresql://gate:{SECRET}@127.0.0.1:{port}/x"'
    )
    return FakeTools(text=text)


def test_each_finding_is_told_with_why_and_its_cure_and_the_worst_first(type_in: Type) -> None:
    result = type_in("doctor")
    lines = result.stdout.splitlines()

    assert 2 == result.exit_code
    assert lines[0].startswith("critical  ollama.reachable        No Ollama answers at http://127.0.0.1:")
    assert lines[1].startswith("          why   Every call that needs a model")
    assert lines[2].startswith("          cure  systemctl start ollama")
    severities = [line.split()[0] for line in lines if not line.startswith(" ")][:-1]
    assert sorted(severities, key=["critical", "warning", "info", "ok"].index) == severities
    assert lines[-1].startswith("3 critical, ")
    assert SECRET not in result.output


def test_it_is_told_as_json(type_in: Type) -> None:
    result = type_in("doctor", "--json")
    told = json.loads(result.stdout)

    assert (2, 2) == (result.exit_code, told["exit_code"])
    assert {"id", "severity", "what", "why", "cure"} == told["findings"][0].keys()
    assert {"ollama.reachable", "redis.reachable", "database.reachable"} == {
        one["id"] for one in told["findings"] if one["severity"] == "critical"
    }
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("fails", "severity"),
    [(None, "ok"), (GateNotRunning(), "warning"), (NotDone("Only root may ask."), "info")],
)
def test_whether_the_gate_runs_is_told(type_in: Type, tools: FakeTools, fails: NotDone | None, severity: str) -> None:
    tools.fails = fails
    told = {one["id"]: one["severity"] for one in json.loads(type_in("doctor", "--json").stdout)["findings"]}

    assert severity == told["gate.running"]
    assert ("gate.ledger" in told) is (fails is None)


def test_what_the_running_gate_says_of_its_ledger_is_told(type_in: Type, tools: FakeTools) -> None:
    tools.seen = (Look(0.0, ledger=LedgerStatus(is_full=True)),)
    told = {one["id"]: one["severity"] for one in json.loads(type_in("doctor", "--json").stdout)["findings"]}

    assert "critical" == told["gate.ledger"]


@pytest.mark.parametrize("told", ["", "elsewhere", "redis 10.211.44.3"])
def test_a_network_of_its_own_is_told_by_its_hosts(
    type_in: Type, tools: FakeTools, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    tools.text += '\nadmin_listen = "10.211.44.3:11436"'
    monkeypatch.setenv("LLAMAGATE_DOCTOR_PRIVATE", told)
    by_variable, by_option = (
        {one["id"]: one["severity"] for one in json.loads(type_in(*words).stdout)["findings"]}
        for words in (
            ("doctor", "--json"),
            ("doctor", "--json", *(word for host in told.split() for word in ("--private", host))),
        )
    )

    assert ("info" if "10.211.44.3" in told else "warning") == by_variable["gate.admin"]
    assert by_variable == by_option


def test_mistakes_in_the_configuration_are_findings_too(type_in: Type, tools: FakeTools) -> None:
    tools.text = 'listen = "nowhere"\nupsteam = "x"'
    result = type_in("doctor", "--json")
    told = json.loads(result.stdout)["findings"]

    assert 2 == result.exit_code
    assert ["config.valid", "config.valid"] == [one["id"] for one in told]
    assert all(one["cure"] for one in told)


def test_it_can_be_told_which_configuration(type_in: Type, tools: FakeTools) -> None:
    type_in("doctor", "--config", "other.toml")

    assert ["other.toml"] == [str(config) for config in tools.configs]


def test_from_outside_nothing_here_is_looked_at(type_in: Type, tools: FakeTools) -> None:
    result = type_in("doctor", "--url", f"http://127.0.0.1:{free_port()}", "--key", "sk-lg_secret", "--wait", "0")

    assert 2 == result.exit_code
    assert result.stdout.startswith("critical  front.reachable")
    assert [] == tools.configs
    assert "sk-lg_secret" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["--url", "gate.example"],
        ["--url", "https://user:pw@gate.example"],
        ["--url", "http://127.0.0.1", "--key", "a b"],
        ["--url", "http://127.0.0.1", "--key", "a\r\nX: y"],
        ["--url", "http://127.0.0.1", "--wait", "1000"],
    ],
)
def test_what_makes_no_sense_is_refused(type_in: Type, words: list[str]) -> None:
    result = type_in("doctor", *words)

    assert (2, "") == (result.exit_code, result.stdout)
    assert "pw" not in result.stderr
