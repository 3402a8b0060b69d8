from pathlib import Path

import pytest

from proxy.config.files import find, read, read_secret
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


def test_a_named_file_that_is_missing_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match="--config"):
        find(Path("a.toml"), {}, lambda _: False)
    with pytest.raises(Mistakes, match="LLAMAGATE_CONFIG"):
        find(None, {"LLAMAGATE_CONFIG": "b.toml"}, lambda _: False)


def test_a_file_is_read_whatever_editor_saved_it(tmp_path: Path) -> None:
    file = tmp_path / "llamagate.toml"
    file.write_bytes(b'\xef\xbb\xbflisten = "h:1"')

    assert 'listen = "h:1"' == read(file)
    assert 'listen = "h:1"' == read_secret(str(file))


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    noise = tmp_path / "noise.toml"
    noise.write_bytes(b"\xff\xfe")

    with pytest.raises(Mistakes, match="UTF-8"):
        read(noise)
    with pytest.raises(Mistakes, match="cannot be read"):
        read(tmp_path)
