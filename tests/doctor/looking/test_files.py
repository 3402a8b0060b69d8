import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.config.load import Loaded, load
from proxy.doctor.files import File, Kind, findings
from proxy.doctor.looking import files as looking
from tests.doctor.shown import shown


def loaded(folder: Path, text: str = "", environment: Mapping[str, str] | None = None) -> Loaded:
    """From a file in the folder, with its state directory there too."""
    file = folder / "llamagate.toml"
    file.write_text(f'state_dir = "{folder}/state"\n{text}')
    file.chmod(0o600)
    return load(
        text=file.read_text(),
        file=str(file),
        environment=environment or {},
        flags={},
        read_secret=lambda path: Path(path).read_text(),
    )


def put(file: Path, mode: int) -> Path:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch()
    file.chmod(mode)
    return file


def bad(files: list[File]) -> list[str]:
    return [
        Path(one.path).name for one in files if one.mode is not None and "ok" not in shown(findings([one])).values()
    ]


def test_before_the_first_start_only_the_configuration_is_there(tmp_path: Path) -> None:
    files = looking.look(loaded(tmp_path), ())

    assert ["llamagate.toml"] == [Path(one.path).name for one in files if one.mode is not None]
    assert {"file.mode": "ok"} == shown(findings(files))


@pytest.mark.parametrize("name", ["pepper", "llamagate.db", "llamagate.db-wal"])
def test_whatever_is_kept_and_open_to_others_is_found(tmp_path: Path, name: str) -> None:
    put(tmp_path / "state" / name, 0o644)

    assert [name] == bad(looking.look(loaded(tmp_path), ()))


def test_an_open_state_directory_is_found(tmp_path: Path) -> None:
    put(tmp_path / "state" / "pepper", 0o600)
    (tmp_path / "state").chmod(0o755)

    assert ["state"] == bad(looking.look(loaded(tmp_path), ()))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.CONFIG),
        ('redis_url = "redis://:rather-long-pw-1@127.0.0.1"', Kind.CONFIG_WITH_SECRETS),
        (
            '[issuers.sso]\nurl = "https://sso.example"\naudience = "g"\nalgorithms = ["HS256"]\n'
            'secret = "0123456789abcdefABCDEF0123456789xyz"',
            Kind.CONFIG_WITH_SECRETS,
        ),
    ],
)
def test_a_configuration_that_others_may_read_is_bad_once_there_is_a_secret_in_it(
    tmp_path: Path, text: str, kind: Kind
) -> None:
    told = loaded(tmp_path, text)
    (tmp_path / "llamagate.toml").chmod(0o644)
    files = looking.look(told, ())

    assert kind in {one.kind for one in files}
    assert (["llamagate.toml"] if kind is Kind.CONFIG_WITH_SECRETS else []) == bad(files)


def test_keys_and_files_of_secrets_are_found_wherever_they_are(tmp_path: Path) -> None:
    key, secret, named = (put(tmp_path / "other" / name, 0o644) for name in ("key.pem", "sso", "pepper.txt"))
    text = (
        f'[tls]\ncertificate = "{tmp_path}/cert.pem"\nkey = "{key}"\n'
        f'[issuers.sso]\nurl = "https://sso.example"\naudience = "g"\nalgorithms = ["HS256"]\nsecret_file = "{secret}"'
    )

    assert {"key.pem", "sso", "pepper.txt"} == {*bad(looking.look(loaded(tmp_path, text), [str(named)]))}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into everything")
def test_what_may_not_be_looked_at_is_told(tmp_path: Path) -> None:
    put(tmp_path / "state" / "pepper", 0o600)
    told = loaded(tmp_path)
    (tmp_path / "state").chmod(0)
    try:
        assert "file.unreadable" in {one.id for one in findings(looking.look(told, ()))}
    finally:
        (tmp_path / "state").chmod(0o700)
