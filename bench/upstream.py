"""An Ollama that costs next to nothing: fixed answers, as soon as they are asked for, with counts that can be metered.

What a body says as its ``user`` decides, which every proxy passes on: ``KIND.EVENTS.MILLISECONDS`` is what a stream
is, how many events it has, and how long after one the next comes. ``plain`` is what there is without it; a ``stamped``
one has in each event when it was sent, and a ``silent`` one says nothing after the first.

Run as ``python -m bench.upstream PORT``.
"""

import asyncio
import json
import re
import sys
import time
from functools import partial
from typing import Any, cast

import uvloop

EVENTS = 100
PAUSE_MILLISECONDS = 1
"""Between two events, so that each is a packet of its own and a proxy is woken for each, as by a model."""
PROMPT_TOKENS = 120
MODEL = "bench"
PLAIN, STAMPED, SILENT = "plain", "stamped", "silent"
MOST_EVENTS = 100_000

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')
_USER = re.compile(rb'"user": *"(\w+)\.(\d{1,9})\.(\d{1,9})"')
_COUNTED = re.compile(rb'"include_usage": *true')
_CREATED = 1767225600
_SAID = "It has been answered as it was asked. " * 5
_CHAT = {"id": "chatcmpl-1", "created": _CREATED, "model": MODEL, "system_fingerprint": "fp_ollama"}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _usage(events: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": events, "total_tokens": PROMPT_TOKENS + events}


def _whole() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": _SAID}, "finish_reason": "stop"}
    return _json({**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _usage(EVENTS)})


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _json({**_CHAT, "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def _line(content: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return (
        _json({"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False} | more) + b"\n"
    )


SAID = _json(_SAID)[1:-1]
WHOLE = _whole()
WORD = " word"
EVENT = _event({"role": "assistant", "content": WORD})
LINE = _line(WORD)
EVENTS_END = b"data: [DONE]\n\n"


def lines_end(events: int) -> bytes:
    """The last line of so many in Ollama's own tongue."""
    counts = {"prompt_eval_count": PROMPT_TOKENS, "eval_count": events}
    return _line("", done=True, done_reason="stop", total_duration=10**8, **counts)


def _events_end(events: int, *, counted: bool) -> bytes:
    """Like Ollama, counts only for those who ask for them."""
    counts = {**_CHAT, "object": "chat.completion.chunk", "choices": [], "usage": _usage(events)}
    return _event({}, "stop") + (b"data: " + _json(counts) + b"\n\n" if counted else b"") + EVENTS_END


def _answer(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


_UNARY = _answer(b"application/json", WHOLE)
_VERSION = _answer(b"application/json", b'{"version":"0.0.0"}')
_NAME = f"{MODEL}:latest"
_LISTED = {"name": _NAME, "model": _NAME, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64}


def listed() -> bytes:
    """The models that there are; the gate serves what is listed, under that name."""
    return _json({"models": [_LISTED]})


_TAGS = _answer(b"application/json", listed())
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT_CHUNK, _LINE_CHUNK = _chunk(EVENT), _chunk(LINE)


def _stamped() -> bytes:
    """An event that says when it was sent, by a clock that all processes of a machine share on Linux and macOS."""
    return _chunk(_event({"role": "assistant", "content": f"{time.monotonic_ns():020d}"}))


class Answerer(asyncio.Protocol):
    """One connection; a request is read up to its Content-Length and answered by what its body asks for."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._body_at, self._whole_at = 0, 0
        self._transport: asyncio.Transport | None = None
        self._next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: those of uvloop are none of asyncio's, though they do the same. It sets TCP_NODELAY itself.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._body_at:
            if (end := self._held.find(b"\r\n\r\n")) < 0:
                return
            self._body_at = end + 4
            told = _LENGTH.search(self._held, 0, end)
            self._whole_at = self._body_at + (int(told[1]) if told else 0)
        if len(self._held) < self._whole_at:
            return
        head, body = bytes(self._held[: self._body_at]), bytes(self._held[self._body_at :])
        self._held.clear()
        self._body_at = 0
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"GET"):
            self._transport.write(_TAGS if head.startswith(b"GET /api/tags ") else _VERSION)
        elif not _STREAM.search(body):
            self._transport.write(_UNARY)
        else:
            self._stream(body, in_events=b"/chat/completions" in head.partition(b"\r\n")[0])

    def _stream(self, body: bytes, *, in_events: bool) -> None:
        assert self._transport is not None
        told = _USER.search(body)
        kind = told[1].decode() if told else PLAIN
        events, pause = (min(MOST_EVENTS, int(told[2])), int(told[3])) if told else (EVENTS, PAUSE_MILLISECONDS)
        if in_events:
            first, end = _EVENT_CHUNK, _events_end(events, counted=_COUNTED.search(body) is not None)
        else:
            first, end = _LINE_CHUNK, lines_end(events)
        self._transport.write(_STREAM_HEAD % (b"text/event-stream" if in_events else b"application/x-ndjson"))
        if kind == SILENT:
            self._transport.write(first)
            return
        make = _stamped if kind == STAMPED and in_events else partial(bytes, first)
        self._send(make, events, pause / 1000, _chunk(end) + b"0\r\n\r\n")

    def _send(self, make: Any, left: int, pause: float, end: bytes) -> None:
        assert self._transport is not None
        if left:
            self._transport.write(make())
            later = asyncio.get_running_loop().call_later(pause, self._send, make, left - 1, pause, end)
            self._next = later
        else:
            self._next = None
            self._transport.write(end)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
