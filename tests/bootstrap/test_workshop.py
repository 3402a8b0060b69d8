from pathlib import Path

import pytest

from proxy.admin.refusals import NotDone
from proxy.bootstrap.workshop import Workshop
from proxy.config.settings import Settings


def settings(state_dir: Path) -> Settings:
    return Settings.model_validate({"state_dir": state_dir})


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_what_one_gate_kept_another_has_after_a_restore(tmp_path: Path) -> None:
    workshop, old, new = Workshop({}), settings(tmp_path / "old"), settings(tmp_path / "new")
    async with workshop.desk(old) as desk:
        await desk.create_key("alice")
        issued = await desk.keys()
    copied = await workshop.backup(old, tmp_path / "kept.tar.gz", force=False)
    assert copied == await workshop.restore(new, tmp_path / "kept.tar.gz")

    async with workshop.desk(new) as desk:
        assert issued == await desk.keys()
    assert (0o700, 0o600) == (mode(new.state_dir), mode(new.state_dir / "llamagate.db"))
    assert (old.state_dir / "pepper").read_bytes() == (new.state_dir / "pepper").read_bytes()


async def test_where_no_gate_ever_was_nothing_is_made_by_a_backup(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="There is nothing to back up"):
        await Workshop({}).backup(settings(tmp_path / "old"), tmp_path / "kept.tar.gz", force=False)

    assert set() == names(tmp_path)
