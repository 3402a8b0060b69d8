"""Whether one request keeps everybody else waiting: heavy ones, and a light one asked again and again beside them."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import psutil

from tests.fakes.answers import MODEL
from tests.security.fuzz.standing import Standing

MOST_SECONDS: Final = 0.05
ATTEMPTS: Final = 3
"""So often the same request has to do it: what happens once is the machine's doing."""
PATIENCE_SECONDS: Final = 20.0
NAP_SECONDS: Final = 0.002
LIGHT: Final = b"GET /healthz HTTP/1.1\r\nHost: gate.example\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stall:
    """What one request did to the others."""

    name: str
    seconds: tuple[float, ...]
    """How long a light request took at the most, in each attempt."""
    work: tuple[float, ...]
    """Seconds that the gate's process was at work meanwhile."""
    queued: tuple[float, ...]
    """How much longer somebody who only sleeps took for it than he meant to, because no processor was free."""

    @property
    def is_one(self) -> bool:
        """A wait without as much work, or for a processor, is the machine's doing too."""
        waits = zip(self.seconds, self.work, self.queued, strict=True)
        return all(min(wait - queued, work) > MOST_SECONDS for wait, work, queued in waits)


@dataclass(slots=True)
class Pulse:
    """How long light requests took, and when."""

    times: list[tuple[float, float]] = field(default_factory=list)
    naps: list[tuple[float, float]] = field(default_factory=list)

    def worst(self, since: float, until: float) -> float:
        return _longest(self.times, since, until)

    def overslept(self, since: float, until: float) -> float:
        return max(0.0, _longest(self.naps, since, until) - NAP_SECONDS)


def _longest(spans: list[tuple[float, float]], since: float, until: float) -> float:
    return max((end - begin for begin, end in list(spans) if begin < until and end > since), default=0.0)


@contextmanager
def beating(standing: Standing) -> Iterator[Pulse]:
    """Light requests, one after the other, for as long as the block lasts."""
    pulse, over = Pulse(), threading.Event()

    def beat() -> None:
        while not over.is_set():
            with suppress(OSError), _connected(standing) as connection:
                while not over.is_set():
                    begin = time.monotonic()
                    connection.sendall(LIGHT)
                    if not connection.recv(4096):
                        break
                    pulse.times.append((begin, time.monotonic()))

    def doze() -> None:
        while not over.is_set():
            begin = time.monotonic()
            time.sleep(NAP_SECONDS)
            pulse.naps.append((begin, time.monotonic()))

    threads = [threading.Thread(target=beat), threading.Thread(target=doze)]
    for thread in threads:
        thread.start()
    try:
        yield pulse
    finally:
        over.set()
        for thread in threads:
            thread.join()


def measured(standing: Standing, name: str, request: bytes) -> Stall:
    """What it does in so many attempts, or until one does nothing."""
    process = psutil.Process(standing.gate.running.process.pid)
    seconds, work, queued = [], [], []
    with beating(standing) as pulse:
        for _ in range(ATTEMPTS):
            before, since = _worked(process), time.monotonic()
            answered(standing, request)
            until = time.monotonic()
            time.sleep(0.01)  # The light request that waited through its end comes back.
            seconds.append(pulse.worst(since, until))
            work.append(_worked(process) - before)
            queued.append(pulse.overslept(since, until))
            if seconds[-1] <= MOST_SECONDS:
                break
    return Stall(name, tuple(seconds), tuple(work), tuple(queued))


def answered(standing: Standing, request: bytes) -> bytes:
    """All that is answered until the connection ends; the request must ask for that. Raises TimeoutError."""
    told = bytearray()
    with suppress(ConnectionError), _connected(standing) as connection:
        sender = threading.Thread(target=_sent, args=(connection, request))
        sender.start()
        while piece := connection.recv(65536):
            told += piece
        sender.join()
    return bytes(told)


def _sent(connection: socket.socket, request: bytes) -> None:
    with suppress(OSError):
        connection.sendall(request)


def _connected(standing: Standing) -> socket.socket:
    there = urlsplit(standing.url)
    connection = socket.create_connection((there.hostname, there.port), PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _worked(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def post(path: str, body: bytes, *fields: str) -> bytes:
    """A request with a body of a length, after which the connection ends."""
    return _head(f"POST {path} HTTP/1.1", *fields, f"Content-Length: {len(body)}", "Connection: close") + body


def _head(line: str, *fields: str) -> bytes:
    return "".join(f"{one}\r\n" for one in (line, "Host: gate.example", *fields, "")).encode("latin-1")


def heavy(key: str, size: int) -> Mapping[str, bytes]:
    """Requests that cost as much as they can; ``size`` is that of their bodies in bytes."""
    bearer = f"Authorization: Bearer {key}"
    start = f'{{"model":"{MODEL}","messages":['.encode()

    def chat(filling: bytes, rest: bytes = b"]}", path: str = "/api/chat") -> bytes:
        room = size - len(start) - len(rest)
        return post(path, start + (filling * (room // len(filling) + 1)).rstrip(b",")[:room] + rest, bearer)

    def listed(one: bytes, path: str = "/api/chat", name: bytes = b"messages") -> bytes:
        count = (size - 100) // (len(one) + 1)
        return post(path, b'{"model":"%b","%b":[%b]}' % (MODEL.encode(), name, b",".join([one] * count)), bearer)

    def members(shape: str) -> bytes:
        made = {shape.format(number): 1 for number in range(size // (len(shape.format(10**6)) + 4))}
        return post("/api/chat", json.dumps({"model": MODEL, **made}, separators=(",", ":")).encode(), bearer)

    text = b'{"role":"user","content":"%b"}'
    chunks = b"1\r\n \r\n" * (size // 6)
    chunked = ("Transfer-Encoding: chunked", "Connection: close")
    return {
        "one long text": listed(text % (b"a" * (size - 200))),
        "escapes": listed(text % (b"\\u00e9" * ((size - 200) // 6))),
        "nothing but backslashes": listed(text % (b"\\\\" * ((size - 200) // 2))),
        "many messages": listed(text % b"why?"),
        "many empty lists": listed(b"[]"),
        "many numbers": listed(b"1", "/api/generate", b"context"),
        "long numbers": listed(b"9" * 4000, "/api/generate", b"context"),
        "many fractions": listed(b"1.5e-300", "/api/generate", b"context"),
        "many inputs": listed(b'"a"', "/v1/embeddings", b"input"),
        "many tools": listed(b'{"type":"function","function":{"name":"f"}}', "/v1/chat/completions", b"tools"),
        "many members": members("a{}"),
        "many members of other letters": members("\u017f{}"),
        "many images": listed(b'{"role":"user","images":["aGVsbG8="]}'),
        "a large image": listed(b'{"role":"user","images":["%b"]}' % (b"QUJD" * ((size - 200) // 4))),
        "an unended text": chat(b'"', b""),
        "unended lists": chat(b"[", b""),
        "blanks": post("/api/chat", b" " * size, bearer),
        "broken in the last byte": listed(text % b"why?")[:-1] + b"]",
        "a form of one file": _form([b'name="file"; filename="a"'], b"R" * (size - 300), bearer),
        "a form of many boundaries": _form([b'name="file"; filename="a"'], b"\r\n--y" * (size // 5), bearer),
        "chunks of one byte": _head("POST /api/chat HTTP/1.1", bearer, *chunked) + chunks + b"0\r\n\r\n",
        "a stranger's long text": post("/api/chat", b"x" * size),
        "a long credential": _head(
            "GET /api/tags HTTP/1.1", f"Authorization: Bearer {'a' * 8000}", "Connection: close"
        ),
        "a long token": _head(
            "GET /api/tags HTTP/1.1", f"Authorization: Bearer {'e' * 4000}.{'e' * 4000}.e", "Connection: close"
        ),
        "a long password": _head("GET / HTTP/1.1", f"Authorization: Basic {'QUJD' * 2000}", "Connection: close"),
        "a long path": _head(f"GET /v1/models/{'%41' * 2500} HTTP/1.1", bearer, "Connection: close"),
        "a long query": _head(f"GET /v1/usage?{'since=1&' * 1000} HTTP/1.1", bearer, "Connection: close"),
        "many connection options": _head("GET /api/tags HTTP/1.1", bearer, "Connection: close" + ",a" * 4000),
        "a long list of hops": _head(
            "GET /api/tags HTTP/1.1", bearer, f"X-Forwarded-For: {'1.1.1.1,' * 1000}", "Connection: close"
        ),
        "usage of ten thousand years": _head(
            "GET /v1/usage?since=1970-01-01&by=model,outcome,endpoint HTTP/1.1", bearer, "Connection: close"
        ),
    }


def _form(heads: list[bytes], data: bytes, *fields: str) -> bytes:
    body = b"".join(b"--x\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head, data) for head in heads)
    return post("/v1/audio/transcriptions", body + b"--x--", *fields, "Content-Type: multipart/form-data; boundary=x")
