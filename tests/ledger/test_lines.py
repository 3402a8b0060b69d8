import stat
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.ledger import lines

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_lines_are_appended_in_a_file_and_a_folder_that_are_ours_alone(tmp_path: Path) -> None:
    file = tmp_path / "usage" / "a.jsonl"

    assert 2 == lines.append(file, [b"1\n", b"2\n"])
    assert 1 == lines.append(file, [b"3\n"])
    assert b"1\n2\n3\n" == file.read_bytes()
    assert (0o600, 0o700) == (mode(file), mode(file.parent))


def test_a_torn_line_is_ended_before_the_next_begins(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'1\n{"to')

    assert 1 == lines.append(file, [b"2\n"])
    assert b'1\n{"to\n2\n' == file.read_bytes()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "else").write_bytes(b"")
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "else")

    with pytest.raises(OSError, match="symbolic"):
        lines.append(tmp_path / "a.jsonl", [b"1\n"])
    assert b"" == (tmp_path / "else").read_bytes()


def test_the_last_lines_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    assert [] == lines.last(file, 10)

    file.write_bytes(b"one\ntwo\nthree\nfo")
    assert [b"one", b"two", b"three"] == lines.last(file, 100)
    assert [b"two", b"three"] == lines.last(file, 12)
    assert [b"three"] == lines.last(file, 11)
    assert [] == lines.last(file, 2)


def test_only_plain_files_whose_time_is_over_are_deleted(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text("")
    (tmp_path / "old-folder").mkdir()
    (tmp_path / "old-link").symlink_to(tmp_path / "new")

    lines.sweep(tmp_path, lambda name: name.startswith("old"))
    lines.sweep(tmp_path / "nowhere", lambda name: True)

    assert ["new", "old-folder", "old-link"] == sorted(path.name for path in tmp_path.iterdir())


APPEND = """
import pathlib, resource, sys
from proxy.ledger import lines
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
print(lines.append(pathlib.Path(sys.argv[1]), [b"1234\\n", b"5678\\n", b"9\\n"]))
"""


def test_what_the_disk_did_not_take_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"0\n")
    done = subprocess.run([sys.executable, "-c", APPEND, file], cwd=ROOT, capture_output=True, check=True, text=True)

    assert "1\n" == done.stdout
    assert b"0\n1234\n567" == file.read_bytes()
