"""The commands by their names."""

from collections.abc import Callable
from typing import Annotated

import typer

from proxy import __version__
from proxy.admin.cli import backup, calls, config, export, keys, ledger_status, limits, serve, top, usage

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("serve", serve.serve),
    ("demo", serve.demo),
    ("calls", calls.calls),
    ("top", top.top),
    ("check", config.check),
    ("settings", config.settings),
    ("reload", config.reload),
    ("backup", backup.backup),
    ("restore", backup.restore),
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
LEDGER_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("status", ledger_status.status),)
USAGE_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("export", export.export),)
GROUPS = (
    ("keys", "Who may come in.", KEY_COMMANDS),
    ("limits", "How much is left.", LIMIT_COMMANDS),
    ("ledger", "Whether everything is written.", LEDGER_COMMANDS),
)


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
    app.add_typer(_usage(), name="usage")
    return app


def _usage() -> typer.Typer:
    """A command that has one below it."""
    group = _group(no_args_is_help=False)
    group.callback(invoke_without_command=True)(usage.usage)
    for name, command in USAGE_COMMANDS:
        group.command(name)(command)
    return group


def _group(*, no_args_is_help: bool = True) -> typer.Typer:
    # Tracebacks stay as Python prints them: the pretty ones show local variables, and those hold keys.
    return typer.Typer(
        no_args_is_help=no_args_is_help,
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
