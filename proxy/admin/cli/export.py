"""``llamagate usage export``: every call, for other programs."""

import enum
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from proxy.admin.cli.forms import FORMS, NEED_A_FILE
from proxy.admin.cli.options import Config
from proxy.admin.cli.paper import say, told_plainly
from proxy.admin.cli.times import Calendar, Since, TimeZone, Until
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.admin.refusals import NotDone


class Format(enum.StrEnum):
    """``FORMS`` as the command line knows choices; a test holds the two together."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def export(
    ctx: typer.Context,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.jsonl,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write there, not to standard output.")
    ] = None,
    config: Config = None,
) -> None:
    """Write every call, in the order in which they ended, for other programs to read."""
    tools: Tools = ctx.obj
    if output is None and form in NEED_A_FILE:
        raise typer.BadParameter(f"{form} needs a file: name one with --output.")
    with told_plainly():
        settings = tools.load(config, {}).settings
        calendar = Calendar.of(settings, tools.now(), tz)
        begin, end = calendar.moment(since), calendar.moment(until)

        async def copy(desk: Desk) -> int:
            count = 0
            pages = desk.export(begin, end)
            with _stdout() if output is None else whole(output) as file, closing(FORMS[form](file)) as written:
                async for page in pages:
                    written.write(page)
                    count += len(page)
            return count

        count = at_desk(tools, settings, copy)
    if output is not None:
        say(f"Wrote {count} call{'s' * (count != 1)} to {output}.", err=True)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner can read, and that has its name once all is written, in place of one that had it.

    Raises NotDone where it cannot be written; nothing is left of it then.
    """
    try:
        # Through a link, and never in place of what is no file, such as /dev/stdout.
        there = _resolved(path)
        if there.exists() and not there.is_file():
            raise NotDone(f"{path} is there and is no file.")
        number, name = tempfile.mkstemp(prefix=".llamagate-", suffix=".part", dir=there.parent)
        try:
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(there)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise NotDone(f"{path} cannot be written: {error.strerror or error}") from error


def _resolved(path: Path) -> Path:
    """Raises OSError, where links lead round and round too: Python before 3.13 has another error, and later none."""
    with suppress(RuntimeError):
        there = path.resolve()
        if not there.is_symlink():
            return there
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    """Raises BrokenPipeError where nobody reads any more, and NotDone where it cannot be written for another reason."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotDone(f"Standard output cannot be written: {error.strerror or error}") from error
