from dataclasses import replace

import pytest

from tests.admin.cli.conftest import Type
from tests.fakes.tools import STANDING, FakeTools


def test_an_open_gate_says_how_things_stand_on_stderr(type_in: Type) -> None:
    result = type_in("serve")

    assert (0, "") == (result.exit_code, result.stdout)
    assert "listens on   http://127.0.0.1:11435" in result.stderr
    assert "forwards to  http://127.0.0.1:11434, which answers (Ollama 0.12.3)" in result.stderr
    assert "keys         2" in result.stderr
    assert "keys create" not in result.stderr
    assert "WARNING" not in result.stderr


def test_flags_go_to_the_settings(type_in: Type, tools: FakeTools) -> None:
    type_in("serve", "--listen", "[::1]:1", "--upstream", "http://gpu:2")

    assert [("[::1]:1", "http://gpu:2")] == [(settings.listen, settings.upstream) for settings in tools.served]


def test_a_flag_that_makes_no_sense_is_a_mistake_of_the_command_line(type_in: Type) -> None:
    result = type_in("serve", "--listen", "nowhere")

    assert 1 == result.exit_code
    assert "command line: --listen:" in result.stderr


def test_without_keys_the_first_one_is_explained(type_in: Type, tools: FakeTools) -> None:
    tools.stands = replace(STANDING, keys=0)

    assert "llamagate keys create --user alice\n" in type_in("serve").stderr
    assert "--user alice --config 'my gate.toml'\n" in type_in("serve", "--config", "my gate.toml").stderr


def test_without_an_ollama_it_says_what_to_do_and_goes_on(type_in: Type, tools: FakeTools) -> None:
    tools.stands = replace(STANDING, upstream_answers=False, upstream_version=None)
    result = type_in("serve")

    assert 0 == result.exit_code
    for words in ("No Ollama answers", "ollama serve", "--upstream", "scripts/serve --demo", "llamagate demo"):
        assert words in result.stderr


def test_a_public_address_is_warned_of(type_in: Type, tools: FakeTools) -> None:
    tools.stands = replace(STANDING, readable=True)
    warnings = [line for line in type_in("serve").stderr.splitlines() if line.startswith("WARNING")]

    assert 1 == len(warnings)
    assert [] == [words for words in ("TLS", "[tls]", "trusted_proxies", "127.0.0.1") if words not in warnings[0]]


@pytest.mark.parametrize(
    ("words", "asked"), [([], (False, True)), (["--real"], (True, True)), (["--exit"], (False, False))]
)
def test_a_demo_is_played(type_in: Type, tools: FakeTools, words: list[str], asked: tuple[bool, bool]) -> None:
    assert 0 == type_in("demo", *words).exit_code
    assert [asked] == tools.demos


def test_a_demo_is_told_in_order_and_safely(type_in: Type) -> None:
    printed = type_in("demo").stdout
    order = (
        "listens on   http://127.0.0.1:11435",
        "$ curl http://127.0.0.1:11435/v1/models",
        "Hello [bold]\\x1b[2J\n",
        "refused with 401",
        '  {"error": "no"}',
        "  alice · POST /v1/chat/completions · gemma3 · served 200 · 7 tokens in, 3 out · 1.50 s",
        "Go on by hand",
        "\nexport OPENAI_API_KEY=sk-lg_k1_SECRET1_crc\n",
    )
    places = [printed.find(words) for words in order]

    assert -1 not in places
    assert sorted(places) == places
    assert "\x1b" not in printed


def test_an_admin_listener_is_told_and_warned_of_where_others_reach_it(type_in: Type, tools: FakeTools) -> None:
    tools.stands = replace(STANDING, admin_address="http://127.0.0.1:11436")
    here = type_in("serve").stderr
    tools.stands = replace(STANDING, admin_address="http://10.0.0.1:11436", admin_public=True)
    there = type_in("serve").stderr

    assert "admin at     http://127.0.0.1:11436" in here
    assert "WARNING" not in here
    assert ["WARNING: other machines can reach http://10.0.0.1:11436"] == [
        line.partition(",")[0] for line in there.splitlines() if line.startswith("WARNING")
    ]


def test_several_processes_are_told_of(type_in: Type, tools: FakeTools) -> None:
    tools.text = 'redis_url = "rediss://redis.lan"'
    tools.stands = replace(STANDING, workers=4)
    result = type_in("serve", "--workers", "4")

    assert [4] == [settings.workers for settings in tools.served]
    assert "workers      4\n" in result.stderr


@pytest.mark.parametrize(
    ("count", "words"), [("2", "needs redis_url"), ("0", "whole number"), ("many", "whole number")]
)
def test_a_number_of_processes_that_cannot_be_is_a_mistake(type_in: Type, count: str, words: str) -> None:
    result = type_in("serve", "--workers", count)

    assert 1 == result.exit_code
    assert "command line: --workers:" in result.stderr
    assert words in result.stderr
