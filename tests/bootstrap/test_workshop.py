from pathlib import Path

import pytest

from proxy.admin.refusals import NotDone
from proxy.bootstrap.workshop import Workshop
from proxy.config.load import Mistakes
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


def test_a_service_has_its_secrets_from_its_manager_whatever_their_modes(tmp_path: Path) -> None:
    credential = tmp_path / "pepper"
    credential.write_text("0123456789abcdef" * 4 + "\n")
    credential.chmod(0o440)
    loaded = Workshop({"CREDENTIALS_DIRECTORY": str(tmp_path), "LLAMAGATE_CONFIG": ""}).load(None, {})

    assert "systemd credential pepper" == loaded.origins["pepper"]


def test_a_secret_in_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pepper"
    file.write_text("0123456789abcdef" * 4)
    file.chmod(0o644)
    with pytest.raises(Mistakes, match=f"chmod 600 {file}"):
        Workshop({"LLAMAGATE_PEPPER_FILE": str(file)}).load(None, {})
