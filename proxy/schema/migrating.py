"""Runs Alembic's migrations over a connection. Alembic is loaded with this module, so only where there is a need."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from proxy.errors import StorageFailed

HERE = Path(__file__).parent


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration: there is no ini file."""
    made = Config()
    made.set_main_option("script_location", str(HERE).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def scripts() -> ScriptDirectory:
    """All migrations that there are."""
    return ScriptDirectory.from_config(config())


def upgrade(connection: Connection) -> None:
    """Bring the database to the newest schema. Raises StorageFailed where no way leads there, and SQLAlchemyError."""
    try:
        command.upgrade(config(connection), "head")
    except CommandError as error:
        raise StorageFailed from error
