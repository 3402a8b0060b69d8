import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.cli import sheet


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\\n=1"),
        ("＝1", "'＝1"),  # noqa: RUF001 - it is the attack
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("a=1", "a=1"),
        ("", ""),
        ("'=1", "'=1"),
        ("Zoë, the \x1b[2Jfirst", "Zoë, the \\x1b[2Jfirst"),
    ],
)
def test_text_that_would_be_a_formula_or_steer_a_terminal_is_only_text(text: str, shown: str) -> None:
    (row,) = csv.reader(io.StringIO(sheet.rows([["x", text]]), newline=""))

    assert ["x", shown] == row


def test_numbers_stay_numbers_and_nothing_stays_empty() -> None:
    assert "-1,-0.5,true,false,,1e-07\r\n" == sheet.rows([[-1, -0.5, True, False, None, 1e-7]])


def test_a_cell_with_commas_and_quotes_is_quoted() -> None:
    assert '"a,b","say ""x"""\r\n' == sheet.rows([["a,b", 'say "x"']])


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_whatever_somebody_is_called_it_is_one_cell_of_one_line_and_no_formula(names: list[str]) -> None:
    text = sheet.rows([names])
    (row,) = csv.reader(io.StringIO(text, newline=""))

    assert text.endswith("\r\n")
    assert text[:-2].isprintable()
    assert len(names) == len(row)
    assert all(cell[:1] not in tuple("=+-@\t\r") for cell in row)
