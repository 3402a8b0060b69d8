import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from proxy.ledger.facts import Fact, facts
from proxy.telemetry import logs
from proxy.vocabulary import Entry, Outcome, Usage

ENTRY = Entry(
    id="req_1",
    at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    endpoint="/api/chat",
    outcome=Outcome.SERVED,
    status=200,
    user="alice",
    model="llama3.2:1b",
    usage=Usage(7, 3, load_seconds=0.5),
    total_seconds=1.5,
)
NASTY = 'a\nb\r\nc\x1b[2Jd\u2028e\u2029f\x85g\x0bh\x00i\udcffj\u202ek"l\\m{n}%s'


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards everything is as it was."""
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    before = root.handlers[:], root.level, alembic.level
    try:
        yield io.StringIO()
    finally:
        root.handlers[:], root.level, alembic.level = before
        structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    text = out.getvalue()

    assert text == "" or text.endswith("\n")
    assert len(text.splitlines()) == text.count("\n")  # Whatever anybody takes for the end of a line.
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_a_call_is_one_line_with_the_facts_that_are_known(out: io.StringIO) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    logs.CallLog().recorded(ENTRY)
    (line,) = lines(out)
    known = {name: value for name, value in facts(ENTRY).items() if value is not None}

    assert {**known, "event": "call_ended", "level": "info"} == {
        name: value for name, value in line.items() if name not in ("timestamp", "logger")
    }
    assert "reason" not in line
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.SERVED, "info"),
        (Outcome.REFUSED, "info"),
        (Outcome.CLIENT_LEFT, "info"),
        (Outcome.CLIENT_STALLED, "warning"),
        (Outcome.BACKEND_FAILED, "warning"),
        (Outcome.TRUNCATED, "warning"),
        (Outcome.GATE_FAILED, "error"),
    ],
)
def test_how_loud_a_call_is_depends_on_whose_fault_it_was(out: io.StringIO, outcome: Outcome, level: str) -> None:
    logs.configure(pretty=False, level="debug", stream=out)
    logs.CallLog().recorded(replace(ENTRY, outcome=outcome))

    assert [(level, outcome.value)] == [(line["level"], line["outcome"]) for line in lines(out)]


def test_every_outcome_has_a_level() -> None:
    assert set(Outcome) == set(logs.LEVELS)


@pytest.mark.parametrize(("level", "told"), [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_not_told(out: io.StringIO, level: str, told: int) -> None:
    logs.configure(pretty=False, level=level, stream=out)
    for outcome in (Outcome.SERVED, Outcome.TRUNCATED, Outcome.GATE_FAILED):
        logs.CallLog().recorded(replace(ENTRY, outcome=outcome))

    assert told == len(lines(out))


def test_nothing_is_made_of_what_is_not_told(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Entry] = []

    def seen(entry: Entry) -> dict[str, Fact]:
        made.append(entry)
        return facts(entry)

    monkeypatch.setattr(logs, "facts", seen)
    logs.configure(pretty=False, level="warning", stream=out)
    for outcome in (Outcome.SERVED, Outcome.TRUNCATED):
        logs.CallLog().recorded(replace(ENTRY, outcome=outcome))

    assert [Outcome.TRUNCATED] == [entry.outcome for entry in made]


@pytest.mark.parametrize("letter", ["x", "é"])
@pytest.mark.parametrize("length", [10, logs.LONGEST_FIELD - 10, logs.LONGEST_FIELD, logs.LONGEST_FIELD + 1])
def test_our_own_lines_say_when_they_are_and_cut_what_is_too_long(out: io.StringIO, letter: str, length: int) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    logs.CallLog().recorded(replace(ENTRY, peer=letter * length))
    (line,) = lines(out)
    short = logs.LONGEST_FIELD

    assert (letter * length if length <= short else letter * short + "…") == line["peer"]
    assert line["timestamp"].endswith("Z")
    assert ["id", "event", "level", "timestamp"] == [*list(line)[:1], *list(line)[-3:]]


def test_a_call_is_told_in_the_same_words_on_its_way_through_a_descriptor(tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with (tmp_path / "log").open("w") as file:
        try:
            logs.configure(pretty=False, level="info", stream=file)
            logs.CallLog().recorded(replace(ENTRY, model=NASTY))
            logging.getLogger().handlers[0].flush()
        finally:
            logging.getLogger().handlers[:] = before[0]
            logging.getLogger().setLevel(before[1])
            structlog.reset_defaults()
    (line,) = (tmp_path / "log").read_bytes().splitlines()

    assert (NASTY, "call_ended") == (json.loads(line)["model"], json.loads(line)["event"])


def test_what_a_caller_wrote_stays_in_its_field(out: io.StringIO) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    logs.CallLog().recorded(replace(ENTRY, model=NASTY, user=NASTY, peer=NASTY))
    (line,) = lines(out)

    assert [NASTY] * 3 == [line["model"], line["user"], line["peer"]]
    assert out.getvalue().isascii()


@pytest.mark.parametrize(
    "say",
    [
        lambda log: log.error(NASTY),
        lambda log: log.error("%s happened", NASTY),
        lambda log: log.error("happened", extra={"error": NASTY}),
        lambda log: log.error("happened", extra={"error": NASTY.encode("utf-8", "surrogateescape")}),
        lambda log: log.error("happened", extra={"error": object()}),
    ],
)
def test_what_a_library_says_is_one_line_too(out: io.StringIO, say: Callable[[logging.Logger], None]) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    say(logging.getLogger("some.library"))

    assert ["error"] == [line["level"] for line in lines(out)]


@pytest.mark.parametrize("pretty", [False, True])
def test_the_text_of_an_exception_is_not_told_but_its_kind_and_place_are(out: io.StringIO, pretty: bool) -> None:
    logs.configure(pretty=pretty, level="info", stream=out)
    try:
        try:
            raise KeyError("canary-cause")
        except KeyError as cause:
            raise ValueError("canary-text") from cause
    except ValueError:
        logging.getLogger("some.library").exception("call_failed")
        structlog.stdlib.get_logger("ours").exception("call_failed")

    assert "canary" not in out.getvalue()
    assert 2 == out.getvalue().count("ValueError")
    assert 2 == out.getvalue().count(__name__)
    assert 2 == out.getvalue().count("\n")


def test_an_exception_is_told_by_kind_and_place(out: io.StringIO) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    try:
        raise ValueError("canary")
    except ValueError as error:
        raised_at = error.__traceback__.tb_lineno if error.__traceback__ else 0
        logging.getLogger("some.library").exception("call_failed")
    (line,) = lines(out)

    assert ("call_failed", "ValueError", f"{__name__}:{raised_at}") == (line["event"], line["raised"], line["where"])


@pytest.mark.parametrize(
    ("length", "kept"), [(logs.LONGEST_FIELD, logs.LONGEST_FIELD), (logs.LONGEST_FIELD + 1, logs.LONGEST_FIELD + 1)]
)
def test_a_long_field_is_cut_and_says_so(out: io.StringIO, length: int, kept: int) -> None:
    logs.configure(pretty=False, level="info", stream=out)
    logging.getLogger("some.library").error("x" * length, extra={"error": "y" * length})
    (line,) = lines(out)

    assert (kept, kept) == (len(line["event"]), len(line["error"]))
    assert (length > logs.LONGEST_FIELD) == line["error"].endswith("…")


def test_a_terminal_is_told_the_same_on_one_line_and_nothing_can_paint_on_it(out: io.StringIO) -> None:
    logs.configure(pretty=True, level="info", stream=out)
    logs.CallLog().recorded(replace(ENTRY, model=NASTY))
    logging.getLogger("some.library").error(NASTY)

    assert 2 == len(out.getvalue().splitlines())
    assert "\x1b[2J" not in out.getvalue()
    assert "call_ended" in out.getvalue()
