"""``llamagate check`` and ``llamagate settings``: what were we told to be?"""

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly
from proxy.admin.cli.tools import Tools
from proxy.config.load import effective


def check(ctx: typer.Context, config: Config = None) -> None:
    """Tell every mistake in the configuration, or that it is good."""
    tools: Tools = ctx.obj
    with told_plainly():
        loaded = tools.load(config, {})
    say(f"good: {loaded.file or 'no file, so the defaults and the environment'}")


def settings(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Show every setting, what it is, and who said so."""
    tools: Tools = ctx.obj
    with told_plainly():
        rows = effective(tools.load(config, {}))
    if as_json:
        say_json([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
    else:
        say_table(("setting", "value", "from"), rows)
