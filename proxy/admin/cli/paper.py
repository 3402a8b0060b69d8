"""What the commands print on. Whatever was stored is shown as text: no markup, no colour and no cursor comes of it."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.config.layers import Mistake, Mistakes
from proxy.errors import GateError

NONE = "-"
_WIDE = 240


def plain(text: str) -> str:
    """The text with everything invisible spelled out, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def paper(*, err: bool = False) -> Console:
    """The terminal, or what stands in for it. A pipe has no width, so lines are not broken for one."""
    stream: TextIO = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def say(text: str = "", style: str = "", *, err: bool = False) -> None:
    """One line, however long: what is to be pasted must not be broken."""
    paper(err=err).print(Text(plain(text), style=style), soft_wrap=True)


def say_json(value: Any) -> None:
    """On one line; with everything but ASCII escaped, there is nothing in it for a terminal to obey."""
    typer.echo(json.dumps(value, ensure_ascii=True))


def say_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    paper().print(table)


def say_mistakes(mistakes: Sequence[Mistake]) -> None:
    """Each with what would be right, on stderr."""
    count = len(mistakes)
    say(f"The configuration has {count} mistake{'s' * (count != 1)}:", "bold red", err=True)
    for mistake in mistakes:
        say(f"  {mistake.where}: {mistake.key}: {mistake.problem}", err=True)
        say(f"      {mistake.cure}", "green", err=True)


def when(at: datetime | None) -> str:
    return NONE if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def told_plainly() -> Iterator[None]:
    """What went wrong is told in words, and the command ends with 1."""
    try:
        yield
    except Mistakes as error:
        say_mistakes(error.mistakes)
        raise typer.Exit(1) from None
    except GateError as error:
        say(error.message, "red", err=True)
        raise typer.Exit(1) from None
