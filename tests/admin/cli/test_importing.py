import asyncio
import json
import stat
from pathlib import Path

import pytest

from proxy.auth import Key
from proxy.errors import StorageFailed
from tests.admin.cli.conftest import Type
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, FakeTools

TABLE = "user,team,rpm\nalice,red,30\nbob@example.com,,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "staff.csv"
    file.write_text(TABLE)
    return file


def test_each_user_of_a_table_gets_a_key_in_a_file_and_no_secret_is_printed(
    type_in: Type, tools: FakeTools, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "keys"
    result = type_in("users", "import", str(table), "--out", str(out))

    assert 0 == result.exit_code
    assert [["user", "team", "plan", "id", "file"], ["alice", "red", "default", "k1", str(out / "alice.env")]] == [
        line.split() for line in result.stdout.splitlines()[:2]
    ]
    assert "SECRET" not in result.output
    assert (
        "OPENAI_BASE_URL=http://127.0.0.1:11435/v1\nOPENAI_API_KEY=sk-lg_k2_SECRET2_crc\n"
        == (out / "bob%40example.com.env").read_text()
    )
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()}
    assert {"staff.csv"} == {act.details["import"] for act in asyncio.run(tools.keys.acts())}


def test_an_import_as_json(type_in: Type, table: Path, tmp_path: Path) -> None:
    result = type_in("users", "import", str(table), "--out", str(tmp_path / "keys"), "--json")

    assert [("alice", "k1", str(tmp_path / "keys/alice.env")), ("bob@example.com", "k2")] == [
        (one["user"], one["id"], one["file"])[: 3 if one["user"] == "alice" else 2] for one in json.loads(result.stdout)
    ]
    assert "SECRET" not in result.output


def test_every_mistake_is_told_with_its_line_and_nothing_is_done(
    type_in: Type, tools: FakeTools, table: Path, tmp_path: Path
) -> None:
    table.write_text("user,plan\nalice,gold\nbob,\n\x1b[2J,\n")
    result = type_in("users", "import", str(table), "--out", str(tmp_path / "keys"))

    assert (1, "") == (result.exit_code, result.stdout)
    assert [
        "staff.csv has 2 mistakes:",
        "  line 2: There is no plan 'gold'. There are: default.",
        "  line 4: The user has to be 1 to 128 characters that can be printed.",
        "Nothing was done.",
    ] == result.stderr.splitlines()
    assert not (tmp_path / "keys").exists()
    assert [] == asyncio.run(tools.keys.keys())


def test_who_has_a_key_already_gets_another_one_with_add(
    type_in: Type, tools: FakeTools, table: Path, tmp_path: Path
) -> None:
    tools.keys = FakeRegistry(Key("k0", "alice", "default", NOON))
    words = ("users", "import", str(table), "--out", str(tmp_path / "keys"))

    assert "line 2: The user has a key already" in type_in(*words).stderr
    assert 0 == type_in(*words, "--add").exit_code


def test_where_nothing_went_on_record_no_file_stays(
    type_in: Type, tools: FakeTools, table: Path, tmp_path: Path
) -> None:
    class Broken(FakeRegistry):
        async def add(self, *_: object, **__: object) -> None:
            raise StorageFailed

    tools.keys = Broken()
    result = type_in("users", "import", str(table), "--out", str(tmp_path / "keys"))

    assert (1, f"{StorageFailed.default}\n") == (result.exit_code, result.stderr)
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_others_may_look_into_is_refused(
    type_in: Type, tools: FakeTools, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "keys"
    out.mkdir()
    out.chmod(0o755)
    result = type_in("users", "import", str(table), "--out", str(out))

    assert 1 == result.exit_code
    assert "Others may look into" in result.stderr
    assert [] == asyncio.run(tools.keys.keys())


def test_a_table_that_is_not_there_is_told(type_in: Type, tmp_path: Path) -> None:
    result = type_in("users", "import", str(tmp_path / "none.csv"), "--out", str(tmp_path / "keys"))

    assert 1 == result.exit_code
    assert "none.csv cannot be read: No such file or directory." in result.stderr
