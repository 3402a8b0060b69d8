import contextlib
import re
import shlex
from pathlib import Path

import pytest

from proxy import __version__
from proxy.admin.cli.app import cli
from proxy.admin.importing import COLUMNS
from proxy.errors import Misconfigured
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools


def test_the_version_is_told(type_in: Type) -> None:
    result = type_in("--version")

    assert (0, f"llamagate {__version__}\n") == (result.exit_code, result.stdout)


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["keys", "create"], ["calls", "--last", "x"], ["usage", "--by", "moon"], ["usage", "nonsense"]],
)
def test_a_command_that_makes_no_sense_ends_with_2(type_in: Type, words: list[str]) -> None:
    assert 2 == type_in(*words).exit_code


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "list"],
        ["calls"],
        ["usage"],
        ["usage", "export"],
        ["check"],
        ["settings"],
        ["serve"],
        ["reload"],
        ["keys", "create", "--user", "alice"],
        ["keys", "update", "k7", "--rpm", "1"],
        ["keys", "rotate", "k7"],
        ["identities", "list"],
        ["users", "list"],
        ["users", "suspend", "alice"],
        ["users", "import", "x.csv", "--out", "keys"],
        ["teams", "list"],
        ["tokens", "denied"],
        ["tokens", "explain"],
        ["audit"],
        ["limits", "show"],
        ["limits", "reset", "--everybody"],
        ["limits", "status"],
        ["ledger", "status"],
        ["top"],
    ],
)
def test_mistakes_are_told_without_a_traceback(type_in: Type, tools: FakeTools, words: list[str]) -> None:
    tools.text = 'listne = "x"\nidle_timeout = "soon"'
    result = type_in(*words)

    assert 1 == result.exit_code
    assert "" == result.stdout
    assert "llamagate.toml: listne: is not a setting" in result.stderr
    assert "did you mean listen?" in result.stderr
    assert "llamagate.toml: idle_timeout:" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_is_told_without_a_traceback_and_cannot_steer_the_terminal(type_in: Type, tools: FakeTools) -> None:
    tools.fails = Misconfigured("The port is \x1b[31mtaken [bold]already.")
    result = type_in("serve")

    assert (1, "The port is \\x1b[31mtaken [bold]already.\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize("words", [[], ["keys"], ["limits"], ["identities"], ["users"], ["teams"], ["tokens"]])
def test_alone_it_tells_what_there_is(type_in: Type, words: list[str]) -> None:
    assert "Usage:" in type_in(*words).output


def test_tracebacks_never_show_local_variables() -> None:
    app = cli()

    assert (False, False) == (app.pretty_exceptions_enable, app.pretty_exceptions_show_locals)


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "list"],
        ["keys", "create", "--user", "a"],
        ["identities", "add", "--user", "a", "ssh-ed25519 A"],
        ["identities", "list"],
        ["users", "create", "a"],
        ["users", "list"],
        ["users", "suspend", "a"],
        ["teams", "create", "a"],
        ["teams", "list"],
        ["tokens", "deny", "--issuer", "keycloak", "--sub", "a"],
        ["tokens", "denied"],
        ["tokens", "explain"],
        ["audit"],
        ["calls"],
        ["usage"],
        ["usage", "export"],
        ["check"],
        ["settings"],
        ["serve"],
        ["reload"],
        ["limits", "show"],
        ["limits", "status"],
        ["ledger", "status"],
        ["top"],
    ],
)
def test_every_command_that_reads_a_configuration_can_be_told_which(
    type_in: Type, tools: FakeTools, words: list[str]
) -> None:
    result = type_in(*words, "--config", "other.toml")

    assert 0 == result.exit_code
    assert ["other.toml"] == [str(config) for config in tools.configs]


DOCUMENTED = (Path(__file__).parents[3] / "docs/keys.md").read_text()


def test_every_command_about_keys_in_the_docs_works_in_the_order_in_which_it_stands_there(
    type_in: Type, tmp_path: Path
) -> None:
    (tmp_path / "staff.csv").write_text(DOCUMENTED.partition("```csv\n")[2].partition("```")[0])
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENTED, re.DOTALL)
    lines = [line.partition(" < ")[0] for block in blocks for line in block.splitlines()]
    failed = []
    for line in lines:
        program, *words = shlex.split(line.replace(" ID", " k1"), comments=True)
        with contextlib.chdir(tmp_path):
            result = type_in(*words)
        if (program, result.exit_code) != ("llamagate", 0):
            failed.append(f"{line}: {result.output}")

    assert [] == failed
    assert len(lines) > 30


def test_the_docs_name_every_column_of_a_table_of_users() -> None:
    assert [] == [column for column in COLUMNS if f"`{column}`" not in DOCUMENTED]
