from datetime import timedelta

import pytest

from proxy.admin.importing import COLUMNS, MOST_BYTES, MOST_ROWS, Mistake, Mistaken, Row, rows
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms
from proxy.vocabulary import Limits

HEAD = ",".join(COLUMNS)


def mistakes(table: bytes) -> list[tuple[int, str]]:
    with pytest.raises(Mistaken) as refused:
        rows(table)
    return [(one.line, one.problem) for one in refused.value.mistakes]


def test_every_column_is_read() -> None:
    line = 'alice,red,lab,"llama3.2:*, gemma3",90d,"laptop, at home",30,10,20000,2,500000,5000000,2h'
    told = Terms(
        "alice",
        "red",
        "lab",
        ("llama3.2:*", "gemma3"),
        timedelta(days=90),
        "laptop, at home",
        Limits(30, 10, 20_000, None, 2, 500_000, 5_000_000, 7200.0),
    )

    assert [Row(2, told)] == rows(f"{HEAD}\n{line}\n".encode())


@pytest.mark.parametrize(
    "table",
    [
        b"user\nalice\nbob",
        b"\xef\xbb\xbfuser\r\nalice\r\nbob\r\n",
        b"user,note\n alice , \n\nbob,\n",
        b'"user"\n"alice"\n"bob"\n',
    ],
)
def test_tables_are_read_as_programs_write_them(table: bytes) -> None:
    assert [Terms("alice"), Terms("bob")] == [row.terms for row in rows(table)]


def test_a_row_is_told_by_the_line_on_which_it_begins() -> None:
    assert [2, 5] == [row.line for row in rows(b'user,note\nalice,"a\nb\nc"\nbob,\n')]


@pytest.mark.parametrize(
    ("table", "line", "problem"),
    [
        (b"", 1, "The head has to name the column user."),
        (b"\n\n", 1, "The head has to name the column user."),
        (b"team\nred\n", 1, "The head has to name the column user."),
        (b"user,colour\nalice,red\n", 1, "The head names a column that there is not."),
        (b"alice,red\n", 1, "The head names a column that there is not."),
        (b"user,user\na,b\n", 1, "The head names a column twice."),
        (b"user\n", 1, "There is nobody below the head."),
        (b"user\nalice\n\xff\n", 3, "This is not UTF-8."),
        (b"u\x00s\x00e\x00r\x00", 1, "The head names a column"),
        (b'user\n"alice\n', 2, "This is not CSV"),
        (b'user\nal"ice"x\n"a"b\n', 3, "This is not CSV"),
        (b"user\n" + b"x" * 200_000, 2, "This is not CSV"),
        (b"user,team\nalice\n", 2, "There are 1 cells, and 2 in the head."),
        (b"user,team\nalice,red,blue\n", 2, "There are 3 cells, and 2 in the head."),
        (b"user,rpm\nalice,many\n", 2, "rpm: it should be a whole number."),
        (b"user,rpm\nalice,-1\n", 2, "rpm: it should be a whole number."),
        (b"user,expires\nalice,soon\n", 2, "expires: 'soon' is not a duration"),
        (b"user,gpu_seconds_per_day\nalice,1y\n", 2, "gpu_seconds_per_day: '1y' is not a duration"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_by_the_line(table: bytes, line: int, problem: str) -> None:
    ((where, told),) = mistakes(table)

    assert line == where
    assert told.startswith(problem)


def test_every_mistake_is_told_and_not_only_the_first() -> None:
    assert [2, 4] == [line for line, _ in mistakes(b"user,rpm\nalice,x\nbob,1\ncarol,y\n")]


def test_the_error_itself_says_the_first_and_how_many_more() -> None:
    error = Mistaken([Mistake(5, "That is bad."), Mistake(2, "So is this.")])

    assert "Nothing was done. Line 2: So is this, and 1 more." == error.message
    assert "Nothing was done. Line 5: That is bad." == Mistaken([Mistake(5, "That is bad.")]).message


def test_a_table_has_bounds() -> None:
    most = b"user\n" + b"".join(b"u%d\n" % number for number in range(MOST_ROWS))

    assert MOST_ROWS == len(rows(most))
    with pytest.raises(NotDone, match="more than 10000 rows"):
        rows(most + b"more\n")
    with pytest.raises(NotDone, match="larger than 10 MB"):
        rows(b"user\n" + b"\n" * MOST_BYTES)
