"""``llamagate users import``: many users at once, and a file for each of their keys."""

from pathlib import Path
from typing import Annotated

import typer

from proxy.admin.cli.facts import of_key
from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import NONE, say, say_json, say_table, told_plainly
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.importing import MOST_BYTES, Mistaken, rows
from proxy.admin.key_files import key_files
from proxy.admin.refusals import NotDone


def imported(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table as CSV, with a head: user,team,plan,….")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where each user's key is put, in a file for the owner's eyes.")
    ],
    add: Annotated[bool, typer.Option("--add", help="Another key for those who have one already.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Issue a key to each user of a table, or to none if anything is wrong with it."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        try:
            table = rows(_read(file))
            with key_files(out, f"{settings.address}/v1") as files:
                done = at_desk(tools, settings, lambda desk: desk.import_users(table, file.name, files.keep, add=add))
        except Mistaken as error:
            count = len(error.mistakes)
            say(f"{file.name} has {count} mistake{'s' * (count != 1)}:", "bold red", err=True)
            for mistake in error.mistakes:
                say(f"  line {mistake.line}: {mistake.problem}", err=True)
            say("Nothing was done.", err=True)
            raise typer.Exit(1) from None
    now = tools.now()
    if as_json:
        say_json([{**of_key(one.key, now), "file": one.file} for one in done])
        return
    heads = ("user", "team", "plan", "id", "file")
    say_table(heads, [(one.key.user, one.key.team or NONE, one.key.plan, one.key.id, one.file) for one in done])
    say(f"{len(done)} key{'s' * (len(done) != 1)} issued. They are nowhere but in these files.", "dim", err=True)


def _read(file: Path) -> bytes:
    """No more than a table may have, and one byte. Raises NotDone."""
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotDone(f"{file} cannot be read: {error.strerror}.") from error
