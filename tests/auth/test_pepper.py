import re
import stat
from pathlib import Path

import pytest

from proxy.auth import pepper
from proxy.errors import Misconfigured

MINE, YOURS = b"\x01" * 32, b"\x02" * 32


def kept(folder: Path, chance: bytes = MINE) -> bytes:
    return pepper.kept_in(folder, lambda count: chance[:count])


def written(folder: Path, text: bytes, mode: int = 0o600) -> None:
    (folder / "pepper").write_bytes(text)
    (folder / "pepper").chmod(mode)


def test_the_first_time_makes_it_and_every_other_reads_it(tmp_path: Path) -> None:
    assert MINE == kept(tmp_path, MINE)
    assert MINE == kept(tmp_path, YOURS)


def test_only_its_owner_may_read_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    kept(tmp_path)

    assert ["pepper"] == [file.name for file in tmp_path.iterdir()]
    assert 0o600 == stat.S_IMODE((tmp_path / "pepper").stat().st_mode)


def test_two_who_are_first_together_agree(tmp_path: Path) -> None:
    other = []

    def interrupted(count: int) -> bytes:
        # Two containers that share a folder even have one process id.
        other.append(kept(tmp_path, YOURS))
        return MINE[:count]

    assert YOURS == pepper.kept_in(tmp_path, interrupted)
    assert [YOURS] == other
    assert ["pepper"] == [file.name for file in tmp_path.iterdir()]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_one_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    written(tmp_path, MINE.hex().encode(), mode)
    with pytest.raises(Misconfigured, match=f"chmod 600 {re.escape(str(tmp_path))}/pepper"):
        kept(tmp_path)


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_one_that_only_its_owner_may_read_is_good(tmp_path: Path, mode: int) -> None:
    written(tmp_path, MINE.hex().encode() + b"\n", mode)

    assert MINE == kept(tmp_path)


@pytest.mark.parametrize("text", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"a" * 63, b"no hex" * 9, b"\xff" * 64, MINE])
def test_a_damaged_one_is_refused_and_left_as_it_is(tmp_path: Path, text: bytes) -> None:
    written(tmp_path, text)
    with pytest.raises(Misconfigured, match="no issued key works any more"):
        kept(tmp_path)

    assert text == (tmp_path / "pepper").read_bytes()


def test_a_refusal_does_not_tell_what_the_file_holds(tmp_path: Path) -> None:
    written(tmp_path, b"canary" * 3)
    with pytest.raises(Misconfigured) as raised:
        kept(tmp_path)

    assert "canary" not in str(raised.value)


def test_a_folder_that_is_not_there_is_told_as_the_owners_mistake(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        kept(tmp_path / "nowhere")


def test_a_folder_in_its_place_is_told_as_the_owners_mistake(tmp_path: Path) -> None:
    (tmp_path / "pepper").mkdir(mode=0o700)
    with pytest.raises(Misconfigured, match="cannot be read"):
        kept(tmp_path)


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pepper").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured):
        kept(tmp_path)

    assert ["pepper"] == [file.name for file in tmp_path.iterdir()]
