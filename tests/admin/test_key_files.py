import os
import stat
from pathlib import Path

import pytest

from proxy.admin.key_files import key_files, name_for
from proxy.admin.refusals import NotDone

URL = "http://127.0.0.1:11435/v1"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_key_has_a_file_for_its_owners_eyes_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    before = os.umask(0)
    try:
        with key_files(folder, URL) as files:
            told = files.keep("alice", "sk-lg_k1_SECRET1_crc")
    finally:
        os.umask(before)

    assert str(folder / "alice.env") == told
    assert (0o700, 0o600) == (mode(folder), mode(folder / "alice.env"))
    assert f"OPENAI_BASE_URL={URL}\nOPENAI_API_KEY=sk-lg_k1_SECRET1_crc\n" == (folder / "alice.env").read_text()


@pytest.mark.parametrize("others", [0o750, 0o701, 0o707, 0o770])
def test_a_folder_that_others_may_look_into_is_refused(tmp_path: Path, others: int) -> None:
    tmp_path.chmod(others)
    with pytest.raises(NotDone, match="chmod 700"), key_files(tmp_path, URL):
        pass

    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_or_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "no" / "where", tmp_path / "file"):
        with pytest.raises(NotDone, match="cannot be used for the keys"), key_files(folder, URL):
            pass


def keep(folder: Path, *users: str) -> None:
    with key_files(folder, URL) as files:
        for user in users:
            files.keep(user, "SECRET")


def test_a_file_that_is_there_is_never_written_over_nor_followed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (folder / "alice.env").write_text("mine")
    (folder / "bob.env").symlink_to(tmp_path / "elsewhere")
    for user in ("alice", "bob"):
        with pytest.raises(NotDone, match="is there already"):
            keep(folder, "carol", user)

    assert "mine" == (folder / "alice.env").read_text()
    assert not (tmp_path / "elsewhere").exists()
    assert ["alice.env", "bob.env"] == sorted(path.name for path in folder.iterdir())


def interrupted(folder: Path) -> None:
    with key_files(folder, URL) as files:
        files.keep("alice", "SECRET")
        raise KeyboardInterrupt


def test_an_error_leaves_no_file_and_no_folder_that_was_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder)

    assert not folder.exists()


def into_nothing(folder: Path) -> None:
    with key_files(folder, URL) as files:
        folder.rmdir()
        files.keep("alice", "SECRET")


def test_a_write_that_fails_names_the_file_and_not_the_key(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="cannot be written") as refused:
        into_nothing(tmp_path / "keys")

    assert "SECRET" not in refused.value.message


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("alice", "alice.env"),
        ("alice@example.com", "alice%40example.com.env"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd.env"),
        ("..", "%2E..env"),
        (".hidden", "%2Ehidden.env"),
        ("-rf", "%2Drf.env"),
        ("~root", "%7Eroot.env"),
        ("a b", "a%20b.env"),
        ("Ünal", "%C3%9Cnal.env"),
        ("%2E", "%252E.env"),
    ],
)
def test_a_file_is_named_after_its_user_and_safely(user: str, name: str) -> None:
    assert name == name_for(user)


def test_long_names_stay_names_and_stay_apart() -> None:
    one, other = name_for("ü" * 128), name_for("ü" * 127 + "u")

    assert one != other
    assert {True} == {len(name) <= 255 and "/" not in name for name in (one, other)}
