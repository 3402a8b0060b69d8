"""Options that several commands share."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from proxy.config import written

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Read this file, not llamagate.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
User = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this user's.")]


def lifetime(text: str) -> timedelta:
    """A duration as people write it, for the command line."""
    try:
        return timedelta(seconds=written.seconds(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
