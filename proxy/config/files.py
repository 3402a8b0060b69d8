"""The files that tell us what to be: which one it is, and its text. Only this module of the folder touches a disk."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs

from proxy.config.kinds import expanded
from proxy.config.layers import Exposed
from proxy.config.load import Mistake, Mistakes

NAME = "llamagate.toml"
CREDENTIALS = ("/run/credentials",)
"""Where systemd puts those of services."""
MOUNTS = ("/run/secrets", "/var/run/secrets")
"""Where Docker and Kubernetes put theirs."""


def is_file(path: Path) -> bool:
    """False too for one in a folder that is closed to us, as root's own is for ``sudo -u``."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def find(named: Path | None, environment: Mapping[str, str], is_file: Callable[[Path], bool] = is_file) -> Path | None:
    """The file to read: ``--config``, ``LLAMAGATE_CONFIG``, one here, the user's own, or none at all.

    Raises ``Mistakes`` where one was named that is not there.
    """
    told = environment.get("LLAMAGATE_CONFIG")
    if named is not None:
        return _there(named, "command line", "--config", is_file)
    if told:
        return _there(_home(told), "environment", "LLAMAGATE_CONFIG", is_file)
    usual = (Path(NAME), Path(platformdirs.user_config_dir("llamagate", appauthor=False)) / NAME)
    return next(filter(is_file, usual), None)


def read(path: Path) -> str:
    """The file's text. Raises ``Mistakes`` where it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise Mistakes([Mistake(str(path), "all of it", "is not UTF-8", "save it as UTF-8")]) from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror or 'no reason given'}"
        raise Mistakes([Mistake(str(path), "all of it", problem, "a file that the gate may read")]) from None


def read_secret(path: str, *, credentials: str = "", exposed: Callable[[str], None] = lambda _: None) -> str:
    """What the file of a secret holds. Raises Exposed where others may read it; OSError and UnicodeDecodeError are the
    caller's to explain.

    Below ``credentials`` and ``CREDENTIALS`` the service manager sets the modes, and keeps others out of the directory.
    Below ``MOUNTS`` a container's engine sets them and often lets everybody in the container read: ``exposed`` is told.
    """
    file = _home(path)
    with file.open(encoding="utf-8-sig") as opened:
        about = os.fstat(opened.fileno())
        if stat.S_ISREG(about.st_mode) and about.st_mode & 0o077:
            real = file.resolve()
            if _is_below(real, MOUNTS):
                exposed(path)
            elif not _is_below(real, (*CREDENTIALS, *filter(None, [credentials]))):
                raise Exposed(path, stat.S_IMODE(about.st_mode))
        return opened.read()


def _home(path: str) -> Path:
    """The path, where ``~`` is a home. One that nobody knows is a folder that is not there."""
    with suppress(ValueError):
        return expanded(Path(path))
    return Path(path)


def _is_below(file: Path, folders: Iterable[str]) -> bool:
    return any(Path(folder).resolve() in file.parents for folder in folders)


def _there(path: Path, where: str, key: str, is_file: Callable[[Path], bool]) -> Path:
    if is_file(path):
        return path
    raise Mistakes([Mistake(where, key, f"names {str(path)!r}, which is not a file", "the path of a TOML file")])
