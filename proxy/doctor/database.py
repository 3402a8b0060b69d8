"""The database: can it be asked, is it what this version needs, and who reads along?"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.doctor.findings import AS_THE_GATE, PRIVATE, Finding, critical, info, ok, warning

OLDEST_POSTGRESQL = 14
"""Older ones get no fixes any more."""


@dataclass(frozen=True, slots=True)
class Database:
    """As it was found. None stands for what nobody could tell."""

    kind: str
    """``SQLite`` or ``PostgreSQL``."""
    is_there: bool = True
    """False for a file that the gate will make when it starts first."""
    is_hidden: bool = False
    """Whether it is a file in a folder that is closed to whoever looks."""
    failure: str | None = None
    """Why it cannot be asked."""
    version: int | None = None
    """The first number, of PostgreSQL only."""
    is_local: bool = True
    """Whether nothing of it goes over a network."""
    is_private: bool = False
    """Whether somebody has said that nobody else is in the network between."""
    has_tls: bool | None = None
    revision: str | None = None
    """Of its schema; None where it has none yet."""
    live_keys: int | None = None


def findings(database: Database, newest: str, *, has_issuers: bool) -> Iterator[Finding]:
    """``newest`` is the schema of this version, and ``has_issuers`` whether anybody may come in without a key."""
    if database.is_hidden:
        yield info(
            "database.reachable",
            "Whether there is a database cannot be told: its folder is closed to you.",
            "Only the user that the gate runs as may look into it, and root.",
            AS_THE_GATE,
        )
        return
    if not database.is_there:
        yield info(
            "database.reachable",
            "There is no database yet: the gate makes it when it starts first.",
            cure="llamagate serve, and in another terminal llamagate keys create --user alice",
        )
        return
    if database.failure is not None:
        yield critical(
            "database.reachable",
            f"The database ({database.kind}) cannot be asked: {database.failure}.",
            "No key can be looked up, and the ledger waits in the journal until that is full.",
            "psql with the URL of database_url must connect"
            if database.kind == "PostgreSQL"
            else "llamagate backup FILE tells more; who runs the gate must own the file",
        )
        return
    yield ok("database.reachable", f"The database ({database.kind}) answers.")
    if database.version is not None and database.version < OLDEST_POSTGRESQL:
        yield warning(
            "database.version",
            f"The PostgreSQL is version {database.version}.",
            "It gets no fixes any more.",
            f"pg_upgrade to {OLDEST_POSTGRESQL} or newer",
        )
    open_way = "The way to the PostgreSQL is not encrypted."
    if database.is_local or database.has_tls is not False:
        pass
    elif database.is_private:
        yield info("database.tls", open_way, PRIVATE)
    else:
        yield warning(
            "database.tls",
            open_way,
            "Whoever is on the way reads the digests of keys and can change what plans they have.",
            "ssl=require (or ssl=verify-full) behind a ? at the end of database_url, and ssl = on in postgresql.conf",
        )
    yield from _schema(database, newest)
    yield from _keys(database, has_issuers=has_issuers)


def _schema(database: Database, newest: str) -> Iterator[Finding]:
    if database.revision == newest:
        yield ok("database.schema", f"The schema is that of this version ({newest}).")
    elif database.revision is None or database.revision < newest:
        yield info(
            "database.schema",
            f"The schema is {database.revision or 'not there yet'}, and this version needs {newest}.",
            "The gate brings it up to date when it starts.",
            "llamagate backup FILE, then restart the gate",
        )
    else:
        yield critical(
            "database.schema",
            f"The schema is {database.revision}, and this version knows only those up to {newest}.",
            "A newer gate was here: this one will not start.",
            "Install the newer version again, or llamagate restore a backup from before",
        )


def _keys(database: Database, *, has_issuers: bool) -> Iterator[Finding]:
    if database.live_keys:
        yield ok("gate.keys", f"{database.live_keys} keys, identities and certificates are live.")
    elif database.live_keys is not None:
        say = info if has_issuers else warning
        yield say(
            "gate.keys",
            "No key is live.",
            "Nobody can come in but with tokens of the issuers." if has_issuers else "Nobody can come in.",
            "llamagate keys create --user alice",
        )
