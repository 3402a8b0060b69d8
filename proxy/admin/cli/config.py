"""``llamagate check``, ``settings`` and ``reload``: what were we told to be?"""

import asyncio

import typer

from proxy.admin.cli.options import Config, Json
from proxy.admin.cli.paper import say, say_json, say_mistakes, say_table, told_plainly
from proxy.admin.cli.tools import Tools, noted
from proxy.admin.reloading import Reloaded, told
from proxy.config.layers import Mistakes
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


def reload(ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Let the running gate read its configuration again, and tell what became of it."""
    tools: Tools = ctx.obj
    with told_plainly():
        try:
            settings = tools.load(config, {}).settings
        except Mistakes as error:  # The gate would find the same.
            reloaded = Reloaded(mistakes=error.mistakes)
        else:
            reloaded = asyncio.run(tools.reload(settings))
            if not reloaded.mistakes:
                changed = [*reloaded.applied, *reloaded.waiting]
                trouble = noted(tools, settings, "gate.reload", details={"changed": changed})
                if trouble is not None:
                    say(trouble, "yellow", err=True)
    if as_json:
        say_json(told(reloaded))
    elif reloaded.mistakes:
        say_mistakes(reloaded.mistakes)
        say("The gate goes on with the configuration that it had.", err=True)
    else:
        for key in reloaded.applied:
            say(f"{key}: changed, and holds from now on")
        for key in reloaded.waiting:
            say(f"{key}: changed, and needs a restart of the gate", "yellow")
        if not reloaded.applied + reloaded.waiting:
            say("Nothing has changed.")
    if reloaded.mistakes:
        raise typer.Exit(1)
