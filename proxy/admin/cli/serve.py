"""``llamagate serve`` and ``llamagate demo``: open the gate."""

import asyncio
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy import __version__
from proxy.admin.cli.options import Config
from proxy.admin.cli.paper import say, say_piece, told_plainly
from proxy.admin.cli.tools import Standing, Tools
from proxy.late import late
from proxy.vocabulary import Entry

if TYPE_CHECKING:
    from proxy.admin.cli import calls
else:
    calls = late("proxy.admin.cli.calls")


def serve(
    ctx: typer.Context,
    listen: Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen.")] = None,
    upstream: Annotated[str | None, typer.Option("--upstream", metavar="URL", help="The Ollama to forward to.")] = None,
    workers: Annotated[str | None, typer.Option("--workers", metavar="N", help="How many processes answer.")] = None,
    config: Config = None,
) -> None:
    """Open the gate, until it is told to stop."""
    tools: Tools = ctx.obj
    told = {"listen": listen, "upstream": upstream, "workers": workers}
    flags = {name: value for name, value in told.items() if value is not None}
    with told_plainly():
        settings = tools.load(config, flags).settings
        again = partial(tools.load, config, flags)
        tools.serve(settings, lambda standing: welcome(standing, config), again)


def demo(
    ctx: typer.Context,
    real: Annotated[bool, typer.Option("--real", help="Let a small real model answer, not a script.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="End after the calls.")] = False,
) -> None:
    """See the gate at work, with nothing installed and nothing kept."""
    tools: Tools = ctx.obj
    with told_plainly():
        asyncio.run(tools.demo(real, Teller(), not leave))


def welcome(standing: Standing, config: Path | None = None) -> None:
    """How things stand, on stderr: stdout is for log lines."""
    create = "llamagate keys create --user alice"
    if config is not None:
        create += f" --config {shlex.quote(str(config))}"
    version = f" (Ollama {standing.upstream_version})" if standing.upstream_version else ""
    answers = f"answers{version}" if standing.upstream_answers else "does not answer"
    say(f"Llamagate {__version__}", "bold", err=True)
    say(f"  listens on   {standing.address}", err=True)
    say(f"  forwards to  {standing.upstream}, which {answers}", err=True)
    if standing.admin_address is not None:
        say(f"  admin at     {standing.admin_address}", err=True)
    if standing.workers > 1:
        say(f"  workers      {standing.workers}", err=True)
    say(f"  keys         {standing.keys or 'none yet'}", err=True)
    say(f"  kept in      {standing.state_dir}", err=True)
    if not standing.keys:
        say(f"Create the first key:  {create}", "green", err=True)
    if not standing.upstream_answers:
        say(f"No Ollama answers at {standing.upstream}.", "bold yellow", err=True)
        say("  Start it with `ollama serve`, or name another with --upstream URL.", err=True)
        say("  To see the gate work without any: scripts/serve --demo, or llamagate demo.", err=True)
        say("  The gate stays open and forwards as soon as Ollama answers.", err=True)
    if standing.readable:
        say(
            "WARNING: other machines can reach this address, and it does not speak TLS: keys and prompts can be read"
            " on the way. Give it a certificate ([tls] certificate and key), name the TLS proxy in front of it in"
            " trusted_proxies, or listen on 127.0.0.1.",
            "bold red",
            err=True,
        )
    if standing.admin_public:
        say(
            f"WARNING: other machines can reach {standing.admin_address}, which tells its metrics to whoever asks."
            " Listen on 127.0.0.1, or let only your own monitoring through.",
            "bold red",
            err=True,
        )


class Teller:
    """The demo on paper."""

    def __init__(self) -> None:
        self._amid_line = False

    def standing(self, standing: Standing) -> None:
        version = f" (Ollama {standing.upstream_version})" if standing.upstream_version else ""
        self._say(f"Llamagate {__version__}, a demo", "bold")
        self._say(f"  listens on   {standing.address}")
        self._say(f"  forwards to  {standing.upstream}{version}")

    def asked(self, command: str) -> None:
        self._say()
        for number, part in enumerate(command.splitlines()):
            self._say(f"{'$' if number == 0 else ' '} {part}", "bold cyan")

    def streamed(self, piece: str) -> None:
        if not piece:
            return
        say_piece(piece)
        self._amid_line = not piece.endswith("\n")

    def refused(self, status: int, body: str) -> None:
        self._say(f"refused with {status}", "bold yellow")
        self._say(f"  {body.strip()}")

    def entry(self, entry: Entry) -> None:
        self._say("in the ledger:", "dim")
        self._say(f"  {calls.in_words(entry)}", "dim")

    def paste(self, lines: Sequence[str]) -> None:
        self._say()
        self._say("Go on by hand (Ctrl-C ends the demo):", "bold")
        self._say()
        for each in lines:
            self._say(each)

    def _say(self, text: str = "", style: str = "") -> None:
        if self._amid_line:
            say()
            self._amid_line = False
        say(text, style)
