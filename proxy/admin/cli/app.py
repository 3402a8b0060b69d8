"""The commands by their names; each is loaded when it is asked for, or when all of them are to be told."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from proxy import __version__
from proxy.late import late

audit = late("proxy.admin.cli.audit")
auth_status = late("proxy.admin.cli.auth_status")
backup = late("proxy.admin.cli.backup")
calls = late("proxy.admin.cli.calls")
certificates = late("proxy.admin.cli.certificates")
config = late("proxy.admin.cli.config")
doctor = late("proxy.admin.cli.doctor")
export = late("proxy.admin.cli.export")
identities = late("proxy.admin.cli.identities")
importing = late("proxy.admin.cli.importing")
install_service = late("proxy.admin.cli.install_service")
keys = late("proxy.admin.cli.keys")
ledger_status = late("proxy.admin.cli.ledger_status")
limits = late("proxy.admin.cli.limits")
openapi = late("proxy.admin.cli.openapi")
serve = late("proxy.admin.cli.serve")
teams = late("proxy.admin.cli.teams")
tokens = late("proxy.admin.cli.tokens")
top = late("proxy.admin.cli.top")
usage = late("proxy.admin.cli.usage")
users = late("proxy.admin.cli.users")

Commands = tuple[tuple[str, Any, str], ...]
"""What each is called, the module it is in, and the function there."""


def of_held(module: Any) -> Commands:
    """What can be done with everything of the kind that is the ``HELD`` of this module."""
    return (
        ("list", module, "HELD.listed"),
        ("show", module, "HELD.show"),
        ("update", module, "HELD.update"),
        ("suspend", module, "HELD.suspend"),
        ("resume", module, "HELD.resume"),
        ("revoke", module, "HELD.revoke"),
    )


COMMANDS: Commands = (
    ("serve", serve, "serve"),
    ("demo", serve, "demo"),
    ("calls", calls, "calls"),
    ("top", top, "top"),
    ("audit", audit, "audit"),
    ("doctor", doctor, "doctor"),
    ("check", config, "check"),
    ("settings", config, "settings"),
    ("reload", config, "reload"),
    ("openapi", openapi, "openapi"),
    ("backup", backup, "backup"),
    ("restore", backup, "restore"),
    ("install-service", install_service, "install_service"),
)
KEY_COMMANDS: Commands = (
    ("create", keys, "create"),
    ("list", keys, "listed"),
    ("show", keys, "show"),
    ("update", keys, "HELD.update"),
    ("rotate", keys, "rotate"),
    ("suspend", keys, "HELD.suspend"),
    ("resume", keys, "HELD.resume"),
    ("revoke", keys, "HELD.revoke"),
)
IDENTITY_COMMANDS: Commands = (("add", identities, "add"), *of_held(identities))
CERTIFICATE_COMMANDS: Commands = (("add", certificates, "add"), *of_held(certificates))
USER_COMMANDS: Commands = (
    ("create", users, "create"),
    ("list", users, "listed"),
    ("show", users, "show"),
    ("update", users, "update"),
    ("suspend", users, "suspend"),
    ("resume", users, "resume"),
    ("import", importing, "imported"),
)
TEAM_COMMANDS: Commands = (
    ("create", teams, "create"),
    ("list", teams, "listed"),
    ("show", teams, "show"),
    ("update", teams, "update"),
    ("suspend", teams, "suspend"),
    ("resume", teams, "resume"),
)
TOKEN_COMMANDS: Commands = (
    ("deny", tokens, "deny"),
    ("allow", tokens, "allow"),
    ("denied", tokens, "denied"),
    ("explain", tokens, "explain"),
)
LIMIT_COMMANDS: Commands = (("show", limits, "show"), ("reset", limits, "reset"), ("status", limits, "status"))
AUTH_COMMANDS: Commands = (("status", auth_status, "status"),)
LEDGER_COMMANDS: Commands = (("status", ledger_status, "status"),)
USAGE_COMMANDS: Commands = (("export", export, "export"),)
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
    groups = {name: partial(_questions, name, question, commands) for name, question, commands in GROUPS}
    app = _group({**_each(COMMANDS), **groups, "usage": _usage})
    app.callback()(_llamagate)
    return app


def _questions(name: str, question: str, commands: Commands) -> Any:
    return typer.main.get_group(_group(_each(commands), name=name, help=question))


def _usage() -> Any:
    """A command that has one below it."""
    group = _group(_each(USAGE_COMMANDS), name="usage", no_args_is_help=False)
    group.callback(invoke_without_command=True)(usage.usage)
    return typer.main.get_group(group)


Made = Mapping[str, Callable[[], Any]]
"""How the command of each name is made, for Typer."""


def _each(commands: Commands) -> Made:
    return {name: partial(_command, name, module, function) for name, module, function in commands}


def _command(name: str, module: Any, function: str) -> Any:
    app = _app()
    app.command(name)(attrgetter(function)(module))
    return typer.main.get_command(app)


def _group(made: Made, **told: Any) -> typer.Typer:
    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            names: dict[str, Any] = dict.fromkeys(made)
            self.commands = names

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in made and self.commands[cmd_name] is None:
                self.commands[cmd_name] = made[cmd_name]()
            return self.commands.get(cmd_name)

    return _app(cls=Group, **{"no_args_is_help": True, **told})


def _app(**told: Any) -> typer.Typer:
    # Tracebacks stay as Python prints them: the pretty ones show local variables, and those hold keys.
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        rich_markup_mode=None,
        **told,
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
