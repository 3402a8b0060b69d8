"""The files that tell us what to be: which one it is, and its text. Only this module of the folder touches a disk."""

from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from proxy.config.load import Mistake, Mistakes

NAME = "llamagate.toml"


def find(
    named: Path | None, environment: Mapping[str, str], is_file: Callable[[Path], bool] = Path.is_file
) -> Path | None:
    """The file to read: ``--config``, ``LLAMAGATE_CONFIG``, one here, the user's own, or none at all.

    Raises ``Mistakes`` where one was named that is not there.
    """
    told = environment.get("LLAMAGATE_CONFIG")
    if named is not None:
        return _there(named, "command line", "--config", is_file)
    if told:
        return _there(Path(told).expanduser(), "environment", "LLAMAGATE_CONFIG", is_file)
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


def read_secret(path: str) -> str:
    """For ``load``: OSError and UnicodeDecodeError are its to explain."""
    return Path(path).expanduser().read_text("utf-8-sig")


def _there(path: Path, where: str, key: str, is_file: Callable[[Path], bool]) -> Path:
    if is_file(path):
        return path
    raise Mistakes([Mistake(where, key, f"names {str(path)!r}, which is not a file", "the path of a TOML file")])
