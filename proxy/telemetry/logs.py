"""Log lines: JSON on stdout, or pretty on a terminal. Never a prompt, an answer or a credential.

An event is a stable name and its facts are fields; what a caller sent stands in a field or nowhere, so that nothing of
it can pass for a line of its own.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from proxy.ledger.facts import facts
from proxy.telemetry.lines import LinesHandler
from proxy.vocabulary import Entry, Outcome

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
    """Send every log line of the process, ours and the libraries', to the stream."""
    before: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception_without_text,
        _short,
    ]
    rendered: list[structlog.typing.Processor] = (
        [_printable, structlog.dev.ConsoleRenderer(colors=True)] if pretty else [structlog.processors.JSONRenderer()]
    )
    handler = _handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # It tells of every connection.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # It tells of every statement, with what is to be kept.
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )


def _handler(stream: TextIO) -> logging.Handler:
    try:
        return LinesHandler(stream)
    except OSError:  # It is in memory, and never full.
        return logging.StreamHandler(stream)


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


class CallLog:
    """One line per call."""

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("proxy.calls")

    def recorded(self, entry: Entry) -> None:
        self._log.log(LEVELS[entry.outcome], "call_ended", **_told(facts(entry)))


def _told(all_facts: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is absent: a line is read by people too."""
    return {name: value for name, value in all_facts.items() if value is not None}
