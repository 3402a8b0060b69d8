import errno
import os
from pathlib import Path

import pytest

from proxy.config import files
from proxy.config.files import find, read, read_secret
from proxy.config.layers import Exposed
from proxy.config.load import Mistakes


def test_the_flag_goes_before_the_environment() -> None:
    assert Path("a.toml") == find(Path("a.toml"), {"LLAMAGATE_CONFIG": "b.toml"}, lambda _: True)
    assert Path("b.toml") == find(None, {"LLAMAGATE_CONFIG": "b.toml"}, lambda _: True)


def test_a_file_here_goes_before_the_users_own() -> None:
    own = find(None, {}, lambda path: path != Path("llamagate.toml"))

    assert Path("llamagate.toml") == find(None, {}, lambda _: True)
    assert own is not None
    assert ("llamagate", "llamagate.toml") == own.parts[-2:]


def test_no_file_at_all_is_no_mistake() -> None:
    assert None is find(None, {"LLAMAGATE_CONFIG": ""}, lambda _: False)


def test_a_file_in_a_folder_that_is_closed_to_us_is_none_of_ours() -> None:
    """As for ``sudo -u llamagate llamagate doctor``, typed in root's own folder."""

    class Closed(type(Path())):  # type: ignore[misc]
        def stat(self, **_: object) -> os.stat_result:
            raise PermissionError(errno.EACCES, "Permission denied")

    assert not files.is_file(Closed("llamagate.toml"))


def test_a_named_file_that_is_missing_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match="--config"):
        find(Path("a.toml"), {}, lambda _: False)
    with pytest.raises(Mistakes, match="LLAMAGATE_CONFIG"):
        find(None, {"LLAMAGATE_CONFIG": "b.toml"}, lambda _: False)


def test_a_file_is_read_whatever_editor_saved_it(tmp_path: Path) -> None:
    file = tmp_path / "llamagate.toml"
    file.write_bytes(b'\xef\xbb\xbflisten = "h:1"')

    file.chmod(0o600)

    assert 'listen = "h:1"' == read(file)
    assert 'listen = "h:1"' == read_secret(str(file))


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    noise = tmp_path / "noise.toml"
    noise.write_bytes(b"\xff\xfe")

    with pytest.raises(Mistakes, match="UTF-8"):
        read(noise)
    with pytest.raises(Mistakes, match="cannot be read"):
        read(tmp_path)


def secret_in(folder: Path, mode: int) -> Path:
    file = folder / "pepper"
    file.write_text("sesame\n")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_secret_that_only_its_owner_may_read_is_read(tmp_path: Path, mode: int) -> None:
    assert "sesame\n" == read_secret(str(secret_in(tmp_path, mode)))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o622])
def test_a_secret_that_others_may_read_or_change_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    file = secret_in(tmp_path, mode)
    with pytest.raises(Exposed, match=f"chmod 600 {file}") as raised:
        read_secret(str(file))

    assert mode == raised.value.mode
    assert "sesame" not in str(raised.value)


def test_what_a_link_leads_to_is_what_counts(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret_in(tmp_path, 0o644))
    with pytest.raises(Exposed):
        read_secret(str(link))
    (tmp_path / "pepper").chmod(0o600)

    assert "sesame\n" == read_secret(str(link))


def test_systemd_sets_the_modes_of_its_credentials(tmp_path: Path) -> None:
    file, told = secret_in(tmp_path, 0o440), list[str]()

    assert "sesame\n" == read_secret(str(file), credentials=str(tmp_path), exposed=told.append)
    assert [] == told
    with pytest.raises(Exposed):
        read_secret(str(file), credentials=str(tmp_path / "other"))


def test_a_link_out_of_the_credentials_is_no_credential(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "pepper").symlink_to(secret_in(tmp_path, 0o644))
    with pytest.raises(Exposed):
        read_secret(str(credentials / "pepper"), credentials=str(credentials))


def test_a_secret_that_a_container_engine_mounted_is_read_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes mounts a link to a link."""
    monkeypatch.setattr(files, "MOUNTS", (str(tmp_path / "run"),))
    data = tmp_path / "run" / "gate" / "..data"
    data.mkdir(parents=True)
    secret_in(data, 0o644)
    link = data.parent / "pepper"
    link.symlink_to("..data/pepper")
    told = list[str]()

    assert "sesame\n" == read_secret(str(link), exposed=told.append)
    assert [str(link)] == told

    (data / "pepper").chmod(0o400)
    read_secret(str(link), exposed=told.append)

    assert [str(link)] == told


def test_a_pipe_is_nobody_elses_to_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"sesame")
    os.close(writing)
    try:
        assert "sesame" == read_secret(f"/dev/fd/{reading}")
    finally:
        os.close(reading)


def test_in_the_home_of_nobody_there_is_no_file() -> None:
    with pytest.raises(Mistakes, match="which is not a file"):
        find(None, {"LLAMAGATE_CONFIG": "~nobody-of-here/a.toml"})
    with pytest.raises(FileNotFoundError):
        read_secret("~nobody-of-here/pepper")
