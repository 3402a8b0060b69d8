"""``llamagate backup`` and ``restore``: all that is kept, in one file."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from proxy.admin.backup import Copied
from proxy.admin.cli.options import Config
from proxy.admin.cli.paper import say, told_plainly
from proxy.admin.cli.tools import Tools, noted
from proxy.config.settings import Settings

_PEPPERS = {
    "backup": "The pepper is in it, and so is what every key is checked by: keep it as safe as this machine.",
    "settings": "The pepper is not in it, for the settings tell it: without that, no key works after a restore.",
    "nowhere": "There is no pepper in it, as none was made yet.",
}


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: Config = None,
) -> None:
    """Write keys, the ledger and the pepper into one file, whether the gate runs or not."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        copied = asyncio.run(tools.backup(settings, file, force=force))
    if "acts" in copied.rows:  # An older gate's database would be brought to our schema under that gate.
        _note(tools, settings, "backup.make", file)
    say(f"{file} holds {_counts(copied)}.")
    say(_PEPPERS[copied.pepper], "dim")


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What backup has written.")],
    config: Config = None,
) -> None:
    """Bring back what a backup holds, into an empty database and while the gate does not run."""
    tools: Tools = ctx.obj
    with told_plainly():
        settings = tools.load(config, {}).settings
        copied = asyncio.run(tools.restore(settings, file))
    _note(tools, settings, "backup.restore", file)
    say(f"{_counts(copied)} are back. The gate can be started.")


def _note(tools: Tools, settings: Settings, name: str, file: Path) -> None:
    trouble = noted(tools, settings, name, details={"file": file.name})
    if trouble is not None:
        say(trouble, "yellow", err=True)


def _counts(copied: Copied) -> str:
    keys, calls = (copied.rows.get(table, 0) for table in ("keys", "calls"))
    return f"{keys} key{'s' * (keys != 1)} and {calls} call{'s' * (calls != 1)}"
