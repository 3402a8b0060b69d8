"""Put all that is kept into an archive, while the gate serves; take it out again, while it does not."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy.admin import control
from proxy.admin.backup import Copied, Database, PepperIn, Refill, Row, Snapshot, Value, archive
from proxy.admin.backup.archive import damaged
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.auth import pepper
from proxy.errors import StorageFailed

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 2**20
LARGEST_GROUP = 500
"""Rows that are put into the database at once."""

_REVISION = re.compile("[0-9a-z_]{1,32}")
_PEPPER = re.compile(rb"[0-9a-f]{%d}\n" % (2 * pepper.LENGTH))
_LARGEST_NUMBER = 2**62


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are that are not in the database."""

    state_dir: Path
    tells_pepper: bool
    """Whether the settings say the pepper, so that the one in the state directory is not asked."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the manifest says of a member."""

    rows: int
    sha256: str
    last_number: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says that it holds."""

    revision: str
    pepper: PepperIn
    pepper_sha256: str | None
    tables: Mapping[str, Part]

    @property
    def copied(self) -> Copied:
        return Copied(self.revision, {name: part.rows for name, part in self.tables.items()}, self.pepper)


async def back_up(path: Path, database: Database, home: Home, *, force: bool, version: str, now: datetime) -> Copied:
    """Write a backup to this path. Raises NotDone, and Misconfigured where the pepper cannot be read."""
    try:
        with archive.written(path, force=force) as writer:
            async with database.snapshot() as snapshot:
                manifest = await _put(writer, snapshot, database, home)
            with writer.member(MANIFEST) as member:
                member.add(_told(manifest, version, now))
    except StorageFailed as error:
        raise NotDone(f"The database cannot be read: {error.why}") from error
    return manifest.copied


async def restore(path: Path, database: Database, home: Home) -> Copied:
    """Bring back what a backup holds, all of it or nothing.

    Raises NotDone, and Misconfigured where a pepper is there that cannot be read.
    """
    await _refuse_while_running(home)
    with archive.opened(path) as reader:
        manifest, own_pepper = _examined(reader, database)
        if not database.knows(manifest.revision):
            raise NotDone(f"The backup is of a newer gate than this one (its schema is {manifest.revision}).")
        _refuse_other_pepper(manifest, own_pepper, home)
        is_placed = False
        try:
            async with database.refill() as refill:
                await _take(reader, manifest, refill)
                is_placed = _put_back(own_pepper, home)
        except StorageFailed as error:
            _take_away(is_placed, home)
            raise NotDone(f"The database did not take it, and nothing was changed: {error.why}") from error
        except BaseException:
            _take_away(is_placed, home)
            raise
    return manifest.copied


async def _put(writer: archive.Writer, snapshot: Snapshot, database: Database, home: Home) -> Manifest:
    revision = snapshot.revision
    if revision is None:
        raise NotDone("There is nothing to back up: the gate has never begun to use this database.")
    if not database.knows(revision):
        raise NotDone(f"The database is of a newer gate than this one (its schema is {revision}).")
    tables = {}
    for table in snapshot.tables:
        with writer.member(_file_of(table)) as member:
            async for page in snapshot.rows(table):
                for row in page:
                    member.add(_line(row))
        tables[table] = Part(member.lines, member.sha256, await snapshot.last_number(table))
    where, digest = _pepper_in(home), None
    if where == "backup":
        kept = pepper.kept_in(home.state_dir, _none_to_make)
        with writer.member(pepper.NAME) as member:
            member.add(kept.hex().encode() + b"\n")
        digest = member.sha256
    return Manifest(revision, where, digest, tables)


async def _take(reader: archive.Reader, manifest: Manifest, refill: Refill) -> None:
    if (table := await refill.occupied()) is not None:
        raise NotDone(
            f"The database is not empty: there is something in its table {table}. A backup is only restored into an "
            "empty one, so that nothing is lost."
        )
    if set(await refill.begin(manifest.revision)) != set(manifest.tables):
        raise damaged("it has not all the tables of its schema")
    seen = set()
    for name, member in reader.members():
        table = _table_of(name)
        if table not in manifest.tables:
            continue
        for rows in _groups(member):
            try:
                await refill.add(table, rows)
            except ValueError as error:
                raise damaged(str(error)) from error
        # The file is read for the second time, and might be another by now.
        if member.sha256 != manifest.tables[table].sha256:
            raise damaged("it changed while it was read")
        seen.add(table)
    if seen != set(manifest.tables):
        raise damaged("it changed while it was read")
    await refill.finish(
        {name: part.last_number for name, part in manifest.tables.items() if part.last_number is not None}
    )


def _examined(reader: archive.Reader, database: Database) -> tuple[Manifest, bytes | None]:
    """What the archive says of itself, once it is sure to be true, and the pepper in it. Raises NotDone."""
    found: dict[str, archive.OldMember] = {}
    text, own_pepper = None, None
    for name, member in reader.members():
        if name in found:
            raise damaged("it has the same part twice")
        found[name] = member
        if name == MANIFEST:
            text = member.whole(LARGEST_MANIFEST)
        elif name == pepper.NAME:
            own_pepper = member.whole(2 * pepper.LENGTH + 1)
        elif _table_of(name) in database.tables:
            for _ in member.all_lines():
                pass
        else:
            raise damaged("it has a part that no backup has")
    if text is None:
        raise damaged("it does not say what it holds")
    manifest = _manifest(text)
    tables = {_file_of(name): part for name, part in manifest.tables.items()}
    if {*tables, MANIFEST} | ({pepper.NAME} if manifest.pepper == "backup" else set()) != set(found):
        raise damaged("it does not hold what it says")
    for name, part in tables.items():
        if (part.rows, part.sha256) != (found[name].lines, found[name].sha256):
            raise damaged(f"its {name} is not what was written")
    if own_pepper is None:
        return manifest, None
    if manifest.pepper_sha256 != found[pepper.NAME].sha256 or not _PEPPER.fullmatch(own_pepper):
        raise damaged("its pepper is not what was written")
    return manifest, bytes.fromhex(own_pepper.decode())


def _pepper_in(home: Home) -> PepperIn:
    if home.tells_pepper:
        return "settings"
    return "backup" if (home.state_dir / pepper.NAME).exists() else "nowhere"


def _refuse_other_pepper(manifest: Manifest, own: bytes | None, home: Home) -> None:
    """Raises NotDone where the keys of the backup would not work afterwards."""
    here = _pepper_in(home)
    if manifest.pepper == "settings" and here != "settings":
        raise NotDone(
            "The gate of the backup had its pepper from its settings, so it is not in the backup. Tell it to this one "
            "too (LLAMAGATE_PEPPER or LLAMAGATE_PEPPER_FILE), else no key will work."
        )
    if own is not None and here == "settings":
        raise NotDone("The backup has a pepper of its own, and the settings tell another: without that, its keys work.")
    if own is not None and here == "backup":
        _put_back(own, home)


def _put_back(own: bytes | None, home: Home) -> bool:
    """Whether the pepper is there now and was not before. Raises NotDone where another is."""
    if own is None:
        return False
    file = home.state_dir / pepper.NAME
    was_there = file.exists()
    if pepper.kept_in(home.state_dir, lambda _: own) != own:
        raise NotDone(
            f"{file} holds another pepper than the backup. If no key needs it, move it away and try again; nothing was "
            "changed."
        )
    return not was_there


def _take_away(is_placed: bool, home: Home) -> None:
    if is_placed:
        (home.state_dir / pepper.NAME).unlink(missing_ok=True)


def _none_to_make(_: int) -> bytes:
    raise NotDone("The pepper went away while it was read.")


async def _refuse_while_running(home: Home) -> None:
    try:
        await control.ask(control.path_in(home.state_dir), "limits.status")
    except GateNotRunning:
        return
    except NotDone:
        pass  # There is somebody, who does not answer that.
    raise NotDone("The gate runs. Stop it first: what it keeps would change under it.")


def _file_of(table: str) -> str:
    return f"{table}.jsonl"


def _table_of(name: str) -> str:
    return name.removesuffix(".jsonl") if name.endswith(".jsonl") else ""


def _line(row: Row) -> bytes:
    return json.dumps({name: _written(value) for name, value in row.items()}, separators=(",", ":")).encode() + b"\n"


def _written(value: Value) -> object:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _groups(member: archive.OldMember) -> Iterator[Sequence[Row]]:
    """The rows of a table, in groups that are not too large. Raises NotDone."""
    group: list[Row] = []
    size = 0
    for line in member.all_lines():
        group.append(_row(line))
        size += len(line)
        if len(group) == LARGEST_GROUP or size >= archive.LONGEST_LINE:
            yield group
            group, size = [], 0
    yield group


def _row(line: bytes) -> Row:
    """Raises NotDone."""
    try:
        told = json.loads(line)
        if not isinstance(told, dict):
            raise damaged("it has a line that is no row")
        return {name: _value(value) for name, value in told.items()}
    except (ValueError, RecursionError) as error:
        raise damaged("it has a line that is no row") from error


def _value(told: Any) -> Value:
    """Raises ValueError."""
    match told:
        case None | str() | int() | float():
            return told
        case {"base64": str(text)} if len(told) == 1:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise ValueError from error
    raise ValueError


def _told(manifest: Manifest, version: str, now: datetime) -> bytes:
    told = {
        "format": FORMAT,
        "llamagate": version,
        "made_at": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "revision": manifest.revision,
        "pepper": {"in": manifest.pepper, "sha256": manifest.pepper_sha256},
        "tables": {
            name: {"rows": part.rows, "sha256": part.sha256, "last_number": part.last_number}
            for name, part in manifest.tables.items()
        },
    }
    return json.dumps(told, indent=2).encode() + b"\n"


def _manifest(text: bytes) -> Manifest:
    """Raises NotDone."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(f"its {MANIFEST} makes no sense") from error
    match told:
        case {"format": int(number)} if number > FORMAT:
            raise NotDone("The backup is of a newer gate than this one.")
        case {
            "format": 1,
            "revision": str(revision),
            "pepper": {"in": "backup" | "settings" | "nowhere" as where, "sha256": None | str() as digest},
            "tables": dict(tables),
        } if _REVISION.fullmatch(revision):
            return Manifest(revision, where, digest, {str(name): _part(part) for name, part in tables.items()})
    raise damaged(f"its {MANIFEST} makes no sense")


def _part(told: Any) -> Part:
    match told:
        case {"rows": int(rows), "sha256": str(digest), "last_number": None | int() as last}:
            if last is None or 0 <= last < _LARGEST_NUMBER:
                return Part(rows, digest, last)
    raise damaged(f"its {MANIFEST} makes no sense")
