"""An Ollama that costs next to nothing: fixed answers, as soon as they are asked for, with counts that can be metered.

Run as ``python -m bench.upstream PORT``.
"""

import asyncio
import json
import re
import sys
from typing import Any

EVENTS = 100
PAUSE_SECONDS = 0.001
"""Between two events, so that each is a packet of its own and a proxy is woken for each, as by a model."""
PROMPT_TOKENS = 120
MODEL = "bench"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SAID = "It has been answered as it was asked. " * 5
_CHAT = {"id": "chatcmpl-1", "created": 1767225600, "model": MODEL, "system_fingerprint": "fp_ollama"}
_USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": EVENTS, "total_tokens": PROMPT_TOKENS + EVENTS}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": _SAID}, "finish_reason": "stop"}
    return _json({**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _json({**_CHAT, "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def _line(content: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return (
        _json({"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False} | more) + b"\n"
    )


WHOLE = _whole()
EVENT = _event({"role": "assistant", "content": " word"})
LINE = _line(" word")
EVENTS_END = b"data: [DONE]\n\n"
LINES_END = _line(
    "", done=True, done_reason="stop", total_duration=10**8, prompt_eval_count=PROMPT_TOKENS, eval_count=EVENTS
)
_COUNTS = {**_CHAT, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
_EVENTS_COUNTED = b"data: " + _json(_COUNTS) + b"\n\n"


def _answer(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


_UNARY = _answer(b"application/json", WHOLE)
_VERSION = _answer(b"application/json", b'{"version":"0.0.0"}')
_NAME = f"{MODEL}:latest"
_LISTED = {"name": _NAME, "model": _NAME, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64}
_TAGS = _answer(b"application/json", _json({"models": [_LISTED]}))  # The gate serves what is listed, under that name.
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answerer(asyncio.Protocol):
    """One connection; a request is read up to its Content-Length and answered by what its body asks for."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport  # asyncio sets TCP_NODELAY itself.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        length = int(told[1]) if (told := _LENGTH.search(head)) else 0
        if not found or len(body) < length:
            return
        self._held = b""
        assert self._transport is not None
        if head.startswith(b"GET"):
            self._transport.write(_TAGS if head.startswith(b"GET /api/tags ") else _VERSION)
        elif b'"stream":true' not in body:
            self._transport.write(_UNARY)
        else:
            pieces = _events(body) if b"/v1/" in head.partition(b"\r\n")[0] else _lines()
            self._streaming = asyncio.create_task(self._stream(self._transport, *pieces))

    async def _stream(self, transport: asyncio.Transport, kind: bytes, event: bytes, end: bytes) -> None:
        transport.write(_STREAM_HEAD % kind)
        event = _chunk(event)
        for _ in range(EVENTS):
            transport.write(event)
            await asyncio.sleep(PAUSE_SECONDS)
        transport.write(_chunk(end) + b"0\r\n\r\n")


def _events(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Like Ollama, counts only for those who ask for them."""
    counts = _EVENTS_COUNTED if b'"include_usage":true' in body else b""
    return b"text/event-stream", EVENT, _event({}, "stop") + counts + EVENTS_END


def _lines() -> tuple[bytes, bytes, bytes]:
    return b"application/x-ndjson", LINE, LINES_END


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
