"""Log lines on their way out: to a pipe that somebody reads, that nobody reads, and that is gone."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.telemetry import lines
from proxy.telemetry.lines import LinesHandler

LONG = "x" * 1000


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.stream = os.fdopen(self.writer, "w")

    def read(self, size: int) -> bytes:
        text = b""
        while len(text) < size and (piece := os.read(self.reader, size - len(text))):
            text += piece
        return text

    def leave(self) -> None:
        """Nobody reads any more."""
        with suppress(OSError):
            os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.leave()  # A thread that still writes is freed by it.
    made.stream.close()


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("proxy", logging.INFO, "", 0, text, None, None)


def test_lines_come_out_whole_and_in_order(pipe: Pipe) -> None:
    handler = LinesHandler(pipe.stream)
    for number in range(100):
        handler.emit(line(str(number)))
    handler.flush()
    expected = "".join(f"{number}\n" for number in range(100)).encode()

    assert expected == pipe.read(len(expected))
    assert 0 == handler.lost


def test_whoever_logs_into_a_pipe_that_nobody_reads_goes_on_and_what_is_lost_is_counted(pipe: Pipe) -> None:
    handler = LinesHandler(pipe.stream, most_waiting=10)
    for _ in range(1000):
        handler.emit(line(LONG))
    lost = handler.lost
    kept = pipe.read((1000 - lost) * (len(LONG) + 1))

    assert 0 < lost < 1000
    assert {LONG.encode()} == set(kept.splitlines())


def test_lines_for_a_reader_that_is_gone_are_lost(pipe: Pipe) -> None:
    handler = LinesHandler(pipe.stream)
    pipe.leave()
    for _ in range(3):
        handler.emit(line("nobody hears this"))
        handler.flush()

    assert 3 == handler.lost


def test_lines_for_a_disk_that_is_full_are_lost() -> None:
    with Path("/dev/full").open("w") as full:
        handler = LinesHandler(full)
        handler.emit(line("no room"))
        handler.flush()

    assert 1 == handler.lost


def test_a_pipe_that_may_not_be_waited_for_gets_everything_all_the_same(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    handler = LinesHandler(pipe.stream)
    for _ in range(200):
        handler.emit(line(LONG))

    assert 200 * (len(LONG) + 1) == len(pipe.read(200 * (len(LONG) + 1)))
    handler.flush()
    assert 0 == handler.lost


def test_a_line_that_can_wait_is_written_with_those_that_come_soon_after_it(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "GATHER_SECONDS", 60.0)
    writes: list[bytes] = []
    write = os.write

    def seen(file: int, text: bytes) -> int:
        writes.append(bytes(text))
        return write(file, text)

    monkeypatch.setattr(os, "write", seen)
    handler = LinesHandler(pipe.stream)
    for text in (b"one\n", b"two\n", b"three\n"):
        handler.say(text, now=False)
    handler.flush()

    assert [b"one\ntwo\nthree\n"] == writes


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_trouble_does_not_wait(pipe: Pipe, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    monkeypatch.setattr(lines, "GATHER_SECONDS", 60.0)
    handler = LinesHandler(pipe.stream)
    handler.emit(line("one"))
    trouble = line("two")
    trouble.levelno = level
    handler.emit(trouble)

    assert b"one\ntwo\n" == pipe.read(8)


def test_much_does_not_wait_either(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "GATHER_SECONDS", 60.0)
    handler = LinesHandler(pipe.stream, most_waiting=10)
    for _ in range(6):
        handler.say(b"x\n", now=False)

    assert b"x\n" * 6 == pipe.read(12)


def test_what_cannot_be_said_in_utf_8_is_said_otherwise(pipe: Pipe) -> None:
    handler = LinesHandler(pipe.stream)
    handler.emit(line("a\udcffb"))
    handler.flush()

    assert b"a\\udcffb\n" == pipe.read(9)
