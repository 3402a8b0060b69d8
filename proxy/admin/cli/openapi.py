"""``llamagate openapi``: what can be asked of a gate, for machines?"""

import json

import typer

from proxy.admin.cli.tools import Tools


def openapi(ctx: typer.Context) -> None:
    """Print the OpenAPI document of the gate's routes; it is the same for every gate of this version."""
    tools: Tools = ctx.obj
    typer.echo(json.dumps(tools.openapi(), indent=2, ensure_ascii=True))
