"""What the commands print on. Whatever was stored is shown as text: no markup, no colour and no cursor comes of it."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import typer

from proxy.config.layers import Mistake, Mistakes
from proxy.errors import GateError
from proxy.late import late

if TYPE_CHECKING:
    from rich import console, table, text
else:
    console = late("rich.console")
    table = late("rich.table")
    text = late("rich.text")

NONE = "-"
_WIDE = 240


def plain(written: str) -> str:
    """The text with everything invisible spelled out, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in written)


def paper(*, err: bool = False) -> "console.Console":
    """The terminal, or what stands in for it. A pipe has no width, so lines are not broken for one."""
    stream: TextIO = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else _WIDE
    return console.Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def say(line: str = "", style: str = "", *, err: bool = False) -> None:
    """One line, however long: what is to be pasted must not be broken. Colours are for terminals that have them."""
    is_dull = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    typer.echo(_dressed(plain(line), style), err=err, color=False if is_dull else None)


def _dressed(line: str, style: str) -> str:
    """In the style, which is words such as ``bold red``. Not by rich: a gate that says a few lines does without it."""
    words = set(style.split())
    if not line or not words:
        return line
    colour = next(iter(words - {"bold", "dim"}), None)
    return typer.style(line, fg=colour, bold="bold" in words or None, dim="dim" in words or None)


def say_piece(piece: str) -> None:
    """Some lines and a part of one, with which the next goes on."""
    typer.echo("\n".join(map(plain, piece.split("\n"))), nl=False)


def say_json(value: Any) -> None:
    """On one line; with everything but ASCII escaped, there is nothing in it for a terminal to obey."""
    typer.echo(json.dumps(value, ensure_ascii=True))


def say_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    drawn = table.Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        drawn.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(text.Text(plain(cell)) for cell in row))
    paper().print(drawn)


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
