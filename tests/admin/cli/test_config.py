import json

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
