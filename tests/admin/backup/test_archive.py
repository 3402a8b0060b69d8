import gzip
import io
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.admin.backup import archive
from proxy.admin.backup.archive import LONGEST_LINE
from proxy.admin.refusals import NotDone


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An archive with two members."""
    path = tmp_path / "a.tar.gz"
    with archive.written(path, force=False) as writer:
        with writer.member("one.jsonl") as member:
            member.add(b"1\n")
            member.add(b"2\n")
        with writer.member("two.jsonl"):
            pass
    return path


def contents(path: Path) -> dict[str, bytes]:
    with archive.opened(path) as reader:
        return {name: b"".join(member.all_lines()) for name, member in reader.members()}


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=format) as made:
        for head, text in members:
            head.size = len(text)
            made.addfile(head, io.BytesIO(text))
    return path


def test_what_was_written_is_read(file: Path) -> None:
    assert {"one.jsonl": b"1\n2\n", "two.jsonl": b""} == contents(file)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(file.parent.iterdir())


def test_any_tar_can_read_it(file: Path) -> None:
    with tarfile.open(file) as opened:
        assert ["one.jsonl", "two.jsonl"] == opened.getnames()
        member = opened.extractfile("one.jsonl")
        assert member is not None
        assert b"1\n2\n" == member.read()


def test_it_can_be_read_again_and_in_parts(file: Path) -> None:
    with archive.opened(file) as reader:
        for _ in range(2):
            assert ["one.jsonl", "two.jsonl"] == [name for name, _ in reader.members()]


def test_one_that_is_there_is_replaced_only_when_told_to(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(NotDone, match="--force"), archive.written(file, force=False):
        pass
    assert before == file.read_bytes()

    with archive.written(file, force=True):
        pass
    assert {} == contents(file)


def test_one_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with pytest.raises(NotDone, match="--force"), archive.written(path, force=False):
        path.write_text("mine")

    assert [path] == list(tmp_path.iterdir())
    assert "mine" == path.read_text()


def test_a_pipe_is_not_replaced_whatever_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(NotDone, match="is no file"), archive.written(path, force=True):
            pass

    assert pipe.is_fifo()
    assert link.is_symlink()


def half_way(path: Path) -> None:
    with archive.written(path, force=False) as writer:
        with writer.member("one.jsonl") as member:
            member.add(b"1\n")
        raise ZeroDivisionError


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        half_way(tmp_path / "a")

    assert [] == list(tmp_path.iterdir())


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "a"
    with pytest.raises(NotDone, match="cannot be written: No such file"), archive.written(nowhere, force=False):
        pass
    with pytest.raises(NotDone, match="is a folder"), archive.written(tmp_path, force=True):
        pass
    with pytest.raises(NotDone, match="cannot be read: No such file"), archive.opened(tmp_path / "a"):
        pass


def test_a_disk_that_is_full_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="cannot be written: No space"), archive.written(tmp_path / "a", force=False):
        raise OSError(28, "No space left on device")


def test_a_row_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with (
        archive.written(tmp_path / "a", force=False) as writer,
        writer.member("one.jsonl") as member,
        pytest.raises(NotDone, match="too long"),
    ):
        member.add(b"x" * LONGEST_LINE + b"\n")


def test_a_line_may_be_as_long_as_one_that_was_written(tmp_path: Path) -> None:
    line = b"x" * (LONGEST_LINE - 1) + b"\n"
    with archive.written(tmp_path / "a", force=False) as writer, writer.member("one.jsonl") as member:
        member.add(line)
        member.add(b"1\n")

    assert {"one.jsonl": line + b"1\n"} == contents(tmp_path / "a")


def test_one_that_is_cut_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        with pytest.raises(NotDone, match="damaged"):
            contents(file)


def test_one_in_which_a_byte_is_different_is_refused_or_says_the_same(file: Path) -> None:
    whole = file.read_bytes()
    same = contents(file)
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with suppress(NotDone):
            assert same == contents(file)  # gzip's own head has a time, which means nothing.


def test_something_behind_the_end_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + gzip.compress(b"more"))

    with pytest.raises(NotDone, match="behind its end"):
        contents(file)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    head = tarfile.TarInfo("one.jsonl")
    head.type, head.linkname = kind, "/etc/passwd"

    with pytest.raises(NotDone, match="no plain file"):
        contents(packed(tmp_path / "a", (head, b"")))


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_go_on_elsewhere_are_refused(tmp_path: Path, format: int) -> None:
    with pytest.raises(NotDone, match="no plain file"):
        contents(packed(tmp_path / "a", (tarfile.TarInfo("n" * 300), b"1\n"), format=format))


def test_a_size_below_nothing_is_refused(tmp_path: Path) -> None:
    head = tarfile.TarInfo("one.jsonl")
    head.size = -1
    with gzip.open(tmp_path / "a", "wb") as made:
        made.write(head.tobuf(tarfile.GNU_FORMAT) + bytes(1024))

    with pytest.raises(NotDone, match="damaged"):
        contents(tmp_path / "a")


def test_a_size_that_nothing_holds_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    head = tarfile.TarInfo("one.jsonl")
    head.size = 2**60
    with gzip.open(tmp_path / "a", "wb") as made:
        made.write(head.tobuf(tarfile.GNU_FORMAT) + bytes(1024))

    with pytest.raises(NotDone, match="cut off"):
        contents(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "why"), [(b"x" * (LONGEST_LINE + 2**17), "too long"), (b"1\n2", "half a line"), (b"\0", "half a line")]
)
def test_lines_that_cannot_be_are_refused(tmp_path: Path, text: bytes, why: str) -> None:
    with pytest.raises(NotDone, match=why):
        contents(packed(tmp_path / "a", (tarfile.TarInfo("one.jsonl"), text)))


def test_a_member_is_not_read_whole_where_it_is_too_large(file: Path) -> None:
    with archive.opened(file) as reader:
        assert [b"1\n2\n", b""] == [member.whole(4) for _, member in reader.members()]
        with pytest.raises(NotDone, match="too large"):
            [member.whole(3) for _, member in reader.members()]
