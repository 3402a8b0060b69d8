import asyncio
import json

import pytest

from proxy.admin.refusals import GateNotRunning
from proxy.admin.reloading import Reloaded
from proxy.config.layers import Mistake
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

PEPPER = "0123456789abcdef" * 4


def test_a_good_configuration_is_one_line(type_in: Type) -> None:
    result = type_in("check")

    assert (0, "good: llamagate.toml\n", "") == (result.exit_code, result.stdout, result.stderr)


def test_every_mistake_is_told_with_what_would_be_right(type_in: Type, tools: FakeTools) -> None:
    tools.text = '[plans.lab]\nmodles = []\ngrants = ["root"]'
    tools.environment = {"LLAMAGATE_LISTEN": "nowhere\x1b[2J"}
    result = type_in("check", "--config", "my.toml")

    assert 1 == result.exit_code
    assert "3 mistakes" in result.stderr
    assert "my.toml: plans.lab.modles: is not a setting\n      did you mean models?" in result.stderr
    assert "my.toml: plans.lab.grants: entry 1 should be 'health', 'read', 'inference', 'manage'" in result.stderr
    assert "environment: LLAMAGATE_LISTEN:" in result.stderr
    assert "\x1b" not in result.stderr


def test_settings_are_told_with_where_they_came_from_and_secrets_masked(type_in: Type, tools: FakeTools) -> None:
    tools.text = 'idle_timeout = "90s"'
    tools.environment = {"LLAMAGATE_PEPPER": PEPPER}
    table = type_in("settings").stdout
    rows = json.loads(type_in("settings", "--json").stdout)

    assert {"key": "idle_timeout", "value": "1m30s", "origin": "llamagate.toml"} in rows
    assert {"key": "pepper", "value": "********", "origin": "environment LLAMAGATE_PEPPER"} in rows
    assert PEPPER not in table + repr(rows)
    assert any(["idle_timeout", "1m30s", "llamagate.toml"] == line.split() for line in table.splitlines())


@pytest.mark.parametrize(
    ("reloaded", "told"),
    [
        (Reloaded(), "Nothing has changed.\n"),
        (
            Reloaded(("plans.lab.models", "limits.concurrent"), ("listen",)),
            "plans.lab.models: changed, and holds from now on\n"
            "limits.concurrent: changed, and holds from now on\n"
            "listen: changed, and needs a restart of the gate\n",
        ),
    ],
)
def test_what_became_of_a_changed_configuration_is_told(
    type_in: Type, tools: FakeTools, reloaded: Reloaded, told: str
) -> None:
    tools.text = 'state_dir = "/srv/gate"'
    tools.reloaded = reloaded
    result = type_in("reload")

    assert (0, told, "") == (result.exit_code, result.stdout, result.stderr)
    assert ["/srv/gate"] == [str(settings.state_dir) for settings in tools.reloads]


def test_mistakes_that_the_gate_found_are_told_and_it_goes_on_as_before(type_in: Type, tools: FakeTools) -> None:
    mistake = Mistake("llamagate.toml", "idle_timeout", "is \x1b[2J", "for instance 5m")
    tools.reloaded = Reloaded(mistakes=(mistake,))
    result = type_in("reload")
    as_json = type_in("reload", "--json")

    assert (1, "") == (result.exit_code, result.stdout)
    assert "llamagate.toml: idle_timeout: is \\x1b[2J\n      for instance 5m\n" in result.stderr
    assert result.stderr.endswith("The gate goes on with the configuration that it had.\n")
    assert 1 == as_json.exit_code
    assert ["idle_timeout"] == [told["key"] for told in json.loads(as_json.stdout)["mistakes"]]


def test_with_mistakes_that_are_seen_from_here_the_gate_is_not_asked(type_in: Type, tools: FakeTools) -> None:
    tools.text = 'listne = "x"'
    result = type_in("reload")

    assert (1, "", []) == (result.exit_code, result.stdout, tools.reloads)
    assert "llamagate.toml: listne: is not a setting" in result.stderr
    assert result.stderr.endswith("The gate goes on with the configuration that it had.\n")


def test_without_a_gate_there_is_nothing_to_reload(type_in: Type, tools: FakeTools) -> None:
    tools.fails = GateNotRunning("The gate does not run: nobody listens on /x.")
    result = type_in("reload")

    assert (1, "", "The gate does not run: nobody listens on /x.\n") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )


def test_a_reload_is_an_act_where_the_gate_took_it(type_in: Type, tools: FakeTools) -> None:
    tools.reloaded = Reloaded(("plans.lab.models",), ("listen",))
    type_in("reload")
    tools.reloaded = Reloaded(mistakes=(Mistake("llamagate.toml", "idle_timeout", "is no time", "for instance 5m"),))
    type_in("reload")

    assert [("gate.reload", {"changed": ["plans.lab.models", "listen"]})] == [
        (act.name, act.details) for act in asyncio.run(tools.keys.acts())
    ]


def test_a_reload_that_could_not_be_written_down_was_done_all_the_same(type_in: Type, tools: FakeTools) -> None:
    tools.desk_fails = GateNotRunning("The database is away.")
    result = type_in("reload")

    assert (0, "Nothing has changed.\n") == (result.exit_code, result.stdout)
    assert "could not be written into the audit trail: The database is away.\n" in result.stderr
