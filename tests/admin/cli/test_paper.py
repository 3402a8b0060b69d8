import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.cli.paper import plain, say, say_piece, say_table


@given(st.text())
def test_plain_text_has_nothing_in_it_that_a_terminal_obeys(text: str) -> None:
    assert plain(text).isprintable()


def test_plain_text_stays_as_it_is() -> None:
    assert "Zoë [bold]≥ 模型" == plain("Zoë [bold]≥ 模型")


def test_a_table_in_a_pipe_is_not_squeezed(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("a", "b"), [("x" * 80, "y" * 80)])

    assert f"{'x' * 80}  {'y' * 80}" in capsys.readouterr().out


@pytest.mark.parametrize(("style", "shown"), [("", "a\n"), ("bold red", "\x1b[31m\x1b[1ma\x1b[0m\n")])
def test_a_line_is_coloured_on_a_terminal_alone(
    style: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    say("a", style)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say("a", style)
    monkeypatch.setenv("NO_COLOR", "1")
    say("a", style)

    assert f"a\n{shown}a\n" == capsys.readouterr().out


def test_pieces_of_a_line_follow_one_another_and_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for piece in ("a", "\x1b[31mb\n", "c"):
        say_piece(piece)

    assert "a\\x1b[31mb\nc" == capsys.readouterr().out
