"""The commands by their names."""

from collections.abc import Callable
from typing import Annotated

import typer

from proxy import __version__
from proxy.admin.cli import (
    audit,
    auth_status,
    backup,
    calls,
    certificates,
    config,
    export,
    identities,
    importing,
    keys,
    ledger_status,
    limits,
    openapi,
    serve,
    teams,
    tokens,
    top,
    usage,
    users,
)
from proxy.admin.cli.held import Held

Commands = tuple[tuple[str, Callable[..., None]], ...]


def of_held(kind: Held) -> Commands:
    """What can be done with everything of that kind."""
    return (
        ("list", kind.listed),
        ("show", kind.show),
        ("update", kind.update),
        ("suspend", kind.suspend),
        ("resume", kind.resume),
        ("revoke", kind.revoke),
    )


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("serve", serve.serve),
    ("demo", serve.demo),
    ("calls", calls.calls),
    ("top", top.top),
    ("audit", audit.audit),
    ("check", config.check),
    ("settings", config.settings),
    ("reload", config.reload),
    ("openapi", openapi.openapi),
    ("backup", backup.backup),
    ("restore", backup.restore),
)
KEY_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("create", keys.create),
    ("list", keys.listed),
    ("show", keys.show),
    ("update", keys.HELD.update),
    ("rotate", keys.rotate),
    ("suspend", keys.HELD.suspend),
    ("resume", keys.HELD.resume),
    ("revoke", keys.HELD.revoke),
)
IDENTITY_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("add", identities.add),
    *of_held(identities.HELD),
)
CERTIFICATE_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("add", certificates.add),
    *of_held(certificates.HELD),
)
USER_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("create", users.create),
    ("list", users.listed),
    ("show", users.show),
    ("update", users.update),
    ("suspend", users.suspend),
    ("resume", users.resume),
    ("import", importing.imported),
)
TEAM_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("create", teams.create),
    ("list", teams.listed),
    ("show", teams.show),
    ("update", teams.update),
    ("suspend", teams.suspend),
    ("resume", teams.resume),
)
TOKEN_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("deny", tokens.deny),
    ("allow", tokens.allow),
    ("denied", tokens.denied),
    ("explain", tokens.explain),
)
LIMIT_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("show", limits.show),
    ("reset", limits.reset),
    ("status", limits.status),
)
AUTH_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("status", auth_status.status),)
LEDGER_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("status", ledger_status.status),)
USAGE_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("export", export.export),)
GROUPS = (
    ("keys", "Who may come in.", KEY_COMMANDS),
    ("identities", "Whose Ollama client may come in.", IDENTITY_COMMANDS),
    ("certificates", "Who may come in with a certificate.", CERTIFICATE_COMMANDS),
    ("users", "Whose keys, identities, certificates and tokens those are.", USER_COMMANDS),
    ("teams", "Who shares.", TEAM_COMMANDS),
    ("tokens", "What is made of the tokens of others.", TOKEN_COMMANDS),
    ("auth", "Who was let in, and why others were not.", AUTH_COMMANDS),
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
