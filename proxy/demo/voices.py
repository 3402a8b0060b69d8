"""One answer in the shapes of each API, as bytes that are ready to be sent."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from proxy.demo import anthropic, native, openai, responses
from proxy.demo.native import Json
from proxy.demo.said import Said

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


def as_line(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def as_event(value: Json, name: str | None = None) -> bytes:
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + as_line(value) + b"\n"


def _named(events: Iterable[Json]) -> bytes:
    return b"".join(as_event(event, event["type"]) for event in events)


class Voice(Protocol):
    """Says one answer: either whole, or by its opening, pieces and closing."""

    @property
    def content_type(self) -> str: ...
    def whole(self, said: Said) -> Json: ...
    def opening(self) -> bytes: ...
    def piece(self, text: str) -> bytes: ...
    def closing(self, said: Said) -> bytes:
        """What follows the last word. Calls are told here, as they are never told in parts."""
        ...

    def broken(self, message: str) -> bytes:
        """What Ollama says when it fails after the status line has gone; mostly nothing."""
        ...


class Native:
    content_type = LINES

    def __init__(self, model: str, now: Callable[[], datetime], *, chat: bool) -> None:
        self._model = model
        self._now = now
        self._chat = chat

    def whole(self, said: Said) -> Json:
        return native.last(self._model, self._now(), said, chat=self._chat)

    def opening(self) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:
        return as_line(native.piece(self._model, self._now(), text, chat=self._chat))

    def closing(self, said: Said) -> bytes:
        calls = [native.calling(self._model, self._now(), said.calls)] if said.calls else []
        last = native.last(self._model, self._now(), said, chat=self._chat, streamed=True)
        return b"".join(map(as_line, [*calls, last]))

    def broken(self, message: str) -> bytes:
        return as_line(native.error(message))


class OpenAI:
    """``/v1/chat/completions`` and ``/v1/completions``."""

    content_type = EVENTS

    def __init__(self, form: openai.Form, *, counts: bool) -> None:
        self._form = form
        self._counts = counts

    def whole(self, said: Said) -> Json:
        return self._form.whole(said)

    def opening(self) -> bytes:
        return b"".join(map(as_event, self._form.opening()))

    def piece(self, text: str) -> bytes:
        return as_event(self._form.piece(text))

    def closing(self, said: Said) -> bytes:
        # In one: Ollama's last events share a packet, and whoever reads them must be able to part them.
        bill = [self._form.bill(said.usage)] if self._counts else []
        return b"".join(map(as_event, [*self._form.closing(said), *bill])) + openai.DONE

    def broken(self, message: str) -> bytes:
        return as_event({**self._form.piece(""), "model": ""})  # The message is lost, and no [DONE] follows.


class Anthropic:
    content_type = EVENTS

    def __init__(self, model: str, estimate: int) -> None:
        self._model = model
        self._estimate = estimate
        self._speaks = False

    def whole(self, said: Said) -> Json:
        return anthropic.whole(self._model, said)

    def opening(self) -> bytes:
        return _named(anthropic.opening(self._model, self._estimate))

    def piece(self, text: str) -> bytes:
        first = [] if self._speaks else anthropic.beginning()
        self._speaks = True
        return _named([*first, anthropic.piece(text)])

    def closing(self, said: Said) -> bytes:
        return _named(anthropic.closing(said))

    def broken(self, message: str) -> bytes:
        return b""


class Responses:
    content_type = EVENTS

    def __init__(self, form: responses.Form) -> None:
        self._form = form
        self._number = 0
        self._speaks = False

    def whole(self, said: Said) -> Json:
        return self._form.whole(said)

    def opening(self) -> bytes:
        return self._numbered(self._form.opening())

    def piece(self, text: str) -> bytes:
        first = [] if self._speaks else self._form.beginning()
        self._speaks = True
        return self._numbered([*first, self._form.piece(text)])

    def closing(self, said: Said) -> bytes:
        return self._numbered(self._form.closing(said))

    def broken(self, message: str) -> bytes:
        return b""

    def _numbered(self, events: Iterable[Json]) -> bytes:
        counted = []
        for event in events:
            counted.append({**event, "sequence_number": self._number})
            self._number += 1
        return _named(counted)
