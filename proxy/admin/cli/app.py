"""The commands by their names."""

from collections.abc import Callable
from typing import Annotated

import typer

from proxy import __version__
from proxy.admin.cli import config, keys, ledger, limits, serve

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("serve", serve.serve),
    ("demo", serve.demo),
    ("calls", ledger.calls),
    ("usage", ledger.usage),
    ("check", config.check),
    ("settings", config.settings),
    ("reload", config.reload),
)
KEY_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("create", keys.create),
    ("list", keys.listed),
    ("show", keys.show),
    ("update", keys.update),
    ("revoke", keys.revoke),
)
LIMIT_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("show", limits.show),
    ("reset", limits.reset),
    ("status", limits.status),
)
GROUPS = (("keys", "Who may come in.", KEY_COMMANDS), ("limits", "How much is left.", LIMIT_COMMANDS))


def cli() -> typer.Typer:
    """The app; call it with ``obj``, which are the ``Tools``."""
    app = _group()
    app.callback()(_llamagate)
    for name, command in COMMANDS:
        app.command(name)(command)
    for name, question, commands in GROUPS:
        group = _group()
        for command_name, command in commands:
            group.command(command_name)(command)
        app.add_typer(group, name=name, help=question)
    return app


def _group() -> typer.Typer:
    # Tracebacks stay as Python prints them: the pretty ones show local variables, and those hold keys.
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        rich_markup_mode=None,
    )


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llamagate {__version__}")
        raise typer.Exit


def _llamagate(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version and end.")
    ] = False,
) -> None:
    """A gate in front of an Ollama server: who asks, what they may do, and what it cost."""
