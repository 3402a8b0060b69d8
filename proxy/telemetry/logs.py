"""Log lines: JSON on stdout, or pretty on a terminal. Never a prompt, an answer or a credential.

An event is a stable name and its facts are fields; what a caller sent stands in a field or nowhere, so that nothing of
it can pass for a line of its own.
"""

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from proxy.late import without
from proxy.ledger.facts import facts
from proxy.telemetry.lines import LinesHandler
from proxy.vocabulary import Entry, Outcome

with without("rich"):  # It would only serve to show tracebacks, and those hold what nobody may read.
    import structlog

LONGEST_FIELD = 1000
LEVELS = {
    Outcome.SERVED: logging.INFO,
    Outcome.REFUSED: logging.INFO,
    Outcome.CLIENT_LEFT: logging.INFO,
    Outcome.CLIENT_STALLED: logging.WARNING,
    Outcome.BACKEND_FAILED: logging.WARNING,
    Outcome.TRUNCATED: logging.WARNING,
    Outcome.GATE_FAILED: logging.ERROR,
    Outcome.LOST: logging.ERROR,
}

Event = MutableMapping[str, Any]


def configure(*, pretty: bool, level: str, stream: TextIO = sys.stdout) -> None:
    """Send every log line of the process, ours and the libraries', to the stream.

    The libraries' come as records of the standard library. Ours do not: to make one and to take it apart again costs
    more than all that is done here.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    pretty_ones: list[structlog.typing.Processor] = [_printable, structlog.dev.ConsoleRenderer(colors=True)]
    handler = _handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                timestamp,
                _exception_without_text,
                _short,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(pretty_ones if pretty else [structlog.processors.JSONRenderer()]),
            ],
        )
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # It tells of every connection.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # It tells of every statement, with what is to be kept.
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    said = _Said(handler)
    structlog.configure(
        processors=[
            _spread,
            structlog.processors.add_log_level,
            _exception_without_text,
            *([timestamp, _short, *pretty_ones] if pretty else [_json]),
        ],
        logger_factory=lambda *_: said,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )


class _Memory(logging.StreamHandler[TextIO]):
    """To a stream that is in memory, and never full."""

    def say(self, line: bytes, *, now: bool) -> None:  # As ``LinesHandler`` has it.
        self.stream.write(line.decode())


def _handler(stream: TextIO) -> LinesHandler | _Memory:
    try:
        return LinesHandler(stream)
    except OSError:
        return _Memory(stream)


class _Said:
    """Takes our own lines, once they are rendered."""

    def __init__(self, handler: LinesHandler | _Memory) -> None:
        self._handler = handler

    def info(self, line: str) -> None:
        self._handler.say(line.encode("utf-8", "backslashreplace") + b"\n", now=False)

    def error(self, line: str) -> None:
        self._handler.say(line.encode("utf-8", "backslashreplace") + b"\n", now=True)

    debug = info
    warning = critical = error


_encode = msgspec.json.Encoder(enc_hook=repr).encode
_dumps = structlog.processors.JSONRenderer()


def _json(logger: Any, method: str, event: Event) -> str:
    """In ASCII: what is none is written as the standard library does, so that nothing of it passes for a line's end."""
    event["timestamp"] = now = datetime.now(UTC)
    try:
        line = _encode(event).decode("ascii")
        if len(line) <= LONGEST_FIELD:
            return line  # None of its fields can be longer.
    except UnicodeError:
        pass
    event["timestamp"] = now.isoformat().replace("+00:00", "Z")
    return str(_dumps(logger, method, _short(logger, method, event)))


def lost_lines() -> int:
    """How many lines of this process nobody will read, for they could not be written."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, LinesHandler))


def _exception_without_text(_logger: object, _method: str, event: Event) -> Event:
    """The kind of an exception and where it was raised. Its text may quote a prompt, a key or a URL with a password."""
    raised = event.pop("exc_info", None)
    if raised is True:  # What `log.exception` says of the one at hand.
        raised = sys.exc_info()
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["raised"] = type(error).__qualname__
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        if place is not None:
            event["where"] = f"{place.tb_frame.f_globals.get('__name__')}:{place.tb_lineno}"
    return event


def _short(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST_FIELD:
            event[name] = value[:LONGEST_FIELD] + "…"
    return event


def _printable(_logger: object, _method: str, event: Event) -> Event:
    """For a terminal, which takes more than letters: JSON escapes what is none by itself."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value)
    return event


def _spread(_logger: object, _method: str, event: Event) -> Event:
    """An entry as its facts, without what is absent: a line is read by people too.

    Here, so that nothing is made of what will not be told, and only once.
    """
    entry = event.pop("entry", None)
    if not isinstance(entry, Entry):
        return event
    told: Event = {name: value for name, value in facts(entry).items() if value is not None}
    told.update(event)
    return told


class CallLog:
    """One line per call."""

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("proxy.calls")

    def recorded(self, entry: Entry) -> None:
        self._log.log(LEVELS[entry.outcome], "call_ended", entry=entry)
