import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.cli.paper import plain, say_table


@given(st.text())
def test_plain_text_has_nothing_in_it_that_a_terminal_obeys(text: str) -> None:
    assert plain(text).isprintable()


def test_plain_text_stays_as_it_is() -> None:
    assert "Zoë [bold]≥ 模型" == plain("Zoë [bold]≥ 模型")


def test_a_table_in_a_pipe_is_not_squeezed(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("a", "b"), [("x" * 80, "y" * 80)])

    assert f"{'x' * 80}  {'y' * 80}" in capsys.readouterr().out
