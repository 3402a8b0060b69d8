"""Looks at the modes of files; reads none of them."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from proxy.config.files import CREDENTIALS, MOUNTS
from proxy.config.load import Loaded
from proxy.doctor.files import File, Kind
from proxy.doctor.looking import told

_SECRETS = ("database_url", "pepper", "redis_url")
_OF_ISSUERS = ".secret"
_KEPT = {
    "pepper": Kind.PEPPER,
    "llamagate.db": Kind.DATABASE,
    "llamagate.db-wal": Kind.DATABASE,
    "llamagate.db-shm": Kind.DATABASE,
    "journal": Kind.JOURNAL,
}


def look(loaded: Loaded, secret_files: Iterable[str]) -> list[File]:
    """All that the settings name; ``secret_files`` are those that variables name."""
    return [_seen(path, kind) for path, kind in dict(_named(loaded, secret_files)).items()]


def _named(loaded: Loaded, secret_files: Iterable[str]) -> Iterator[tuple[Path, Kind]]:
    settings = loaded.settings
    yield settings.state_dir, Kind.STATE
    for name, kind in _KEPT.items():
        yield settings.state_dir / name, kind
    if loaded.file is not None:
        yield Path(loaded.file), Kind.CONFIG_WITH_SECRETS if _has_secrets(loaded, loaded.file) else Kind.CONFIG
    for one in secret_files:
        yield Path(one).expanduser(), Kind.HIDDEN
    if settings.tls.key is not None:
        yield settings.tls.key, Kind.KEY
    for issuer in settings.issuers.values():
        if issuer.secret_file is not None:
            yield issuer.secret_file, Kind.HIDDEN


def _has_secrets(loaded: Loaded, file: str) -> bool:
    return any(
        origin == file and (key in _SECRETS or key.endswith(_OF_ISSUERS)) for key, origin in loaded.origins.items()
    )


def _seen(path: Path, kind: Kind) -> File:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return File(str(path), kind, None)
    except OSError as error:
        return File(str(path), kind, None, told(error))
    return File(str(path), kind, mode, is_given=_is_given(path), is_read_only=is_read_only)


def _is_given(path: Path) -> bool:
    real = path.resolve()
    return any(Path(folder).resolve() in real.parents for folder in (*CREDENTIALS, *MOUNTS))
