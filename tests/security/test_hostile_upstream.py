"""The upstream's answers are not trusted: garbage, lies about length, endless lines, silence, and what comes of each.

Before the first byte a client hears a clean refusal in its own dialect; after it, an error in the stream and an unclean
end. In every case one connection was made and is left, one line is in the ledger, and the next call is served.
"""

import asyncio
import json
import random
import re
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.vocabulary import Outcome, Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import MODEL, NATIVE_LINES, NDJSON, STREAMS, WHOLE, line, question, streamed
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import Told
from tests.fakes.upstream import (
    ABORT,
    CLOSE,
    HALF,
    LAST_CHUNK,
    Asked,
    Drip,
    End,
    Endless,
    RecordingUpstream,
    Step,
    chunk,
    head,
    recording,
    streaming,
    whole,
)

JSON = "Content-Type: application/json"
LINES = f"Content-Type: {NDJSON}"
CHUNKED = "Transfer-Encoding: chunked"
GOOD = WHOLE[Tongue.OLLAMA]
LENGTH = f"Content-Length: {len(GOOD)}"
KNOWN = re.compile(
    r"content-(type|length)|transfer-encoding|cache-control|connection|date|server|x-request-id|retry-after"
    r"|(x-)?ratelimit.*|x-llamagate-.*"
)
"""The fields that a client may ever see."""
SHAPES = {
    "/api/chat": (),
    "/v1/chat/completions": ("code", "message", "param", "type"),
    "/v1/responses": ("code", "message", "param", "type"),
    "/v1/messages": ("message", "type"),
}
"""Where a dialect is asked, and the members of the error; the native one is a sentence."""


@dataclass(frozen=True, slots=True)
class Came:
    """What became of a call whose answer was not to be trusted."""

    status: int
    reason: str | None
    clean: bool = True
    connections: int = 1
    left: bool = True
    """The gate has closed each of them; what it has understood to its end it may use again."""
    strange: tuple[str, ...] = ()
    """What a client saw that it should not."""


async def came_of(gate: Gate, upstream: RecordingUpstream, request: bytes, *, bodiless: bool = False) -> Came:
    """Ask, and look at all sides of it: the client's, the upstream's and the ledger's."""
    upstream.forget()
    told = await gate.ask(request, bodiless=bodiless)
    entry = await gate.entry()
    left = True
    try:
        async with asyncio.timeout(20):
            for connection in upstream.connections if entry.outcome is not Outcome.SERVED else ():
                await connection.closed.wait()
    except TimeoutError:
        left = False

    assert told.status == entry.status
    assert len(upstream.asked) <= 1
    return Came(
        told.status,
        entry.reason,
        told.clean,
        len(upstream.connections),
        left,
        strange_in(told, request, bodiless=bodiless),
    )


def strange_in(told: Told, request: bytes, *, bodiless: bool = False) -> tuple[str, ...]:
    names = [name for name in told.fields if KNOWN.fullmatch(name) is None]
    server = [] if told.fields["server"] == "llamagate" else ["server"]
    canary = ["CANARY"] if b"CANARY" in told.head + told.body else []
    path = request.split()[1].decode()
    said = told.status < 400 or bodiless or is_said_in_the_dialect_of(path, told)
    dialect = [] if said else ["dialect"]
    return (*names, *server, *canary, *dialect)


def is_said_in_the_dialect_of(path: str, told: Told) -> bool:
    said = json.loads(told.body)
    error = said["error"]
    members = () if isinstance(error, str) else tuple(sorted(error))
    kind = "error" if path == "/v1/messages" else None
    return (SHAPES.get(path, ()), kind, "application/json") == (members, said.get("type"), told.fields["content-type"])


async def serves_the_next(gate: Gate, upstream: RecordingUpstream) -> bool:
    upstream.says(whole(GOOD))
    told = await gate.ask(gate.post("/api/chat", question(stream=False)))
    return (200, GOOD, True, Outcome.SERVED) == (told.status, told.body, told.clean, (await gate.entry()).outcome)


def answer(*fields: str, status: str = "200 OK", body: bytes = GOOD) -> bytes:
    return head(JSON, *fields, status=status) + body


FAILED = "backend_failed"
NO_ANSWER: dict[str, tuple[Step, ...]] = {
    "blank lines": (Endless(b"\r\n" * 1000),),
    "blank lines before it": (b"\r\n\r\n" + answer(LENGTH),),
    "line ends without CR": (answer(LENGTH).replace(b"\r\n", b"\n"),),
    "103 again and again": (Drip(b"", 0.0), Endless(head("Link: </CANARY>", status="103 Early Hints"))),
    "a thousand of 103": (head(status="103 Early Hints") * 1000 + answer(LENGTH),),
    "another protocol that looks alike": (answer(LENGTH).replace(b"HTTP/1.1", b"RTSP/1.0", 1),),
    "nothing": (CLOSE,),
    "a reset": (ABORT,),
    "a half-close": (HALF,),
    "a blank line and an end": (b"\r\n", CLOSE),
    "half a status line": (b"HTTP/1.1 20", CLOSE),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
    "a head without its end": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", CLOSE),
    "garbage": (bytes(range(256)) * 4,),
    "a page without a head": (b"<html>CANARY</html>\r\n\r\n", CLOSE),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n",),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", CLOSE),
    "SMTP": (b"220 mail.example ESMTP CANARY\r\n",),
    "Redis": (b"-ERR unknown command 'POST'\r\n", CLOSE),
    "HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",),
    "another version": (b"HTTP/2.0 200 OK\r\n" + LENGTH.encode() + b"\r\n\r\n" + GOOD,),
    "version 0.9": (b"HTTP/0.9 200 OK\r\n" + LENGTH.encode() + b"\r\n\r\n" + GOOD,),
    "version 1.2": (b"HTTP/1.2 200 OK\r\n" + LENGTH.encode() + b"\r\n\r\n" + GOOD,),
    "ICY": (b"ICY 200 OK\r\n\r\n" + GOOD, CLOSE),
    "status 99": (answer(LENGTH, status="99 Low"),),
    "status 099": (answer(LENGTH, status="099 Low"),),
    "status 000": (answer(LENGTH, status="000 None"),),
    "status 600": (answer(LENGTH, status="600 High"),),
    "status 999": (answer(LENGTH, status="999 Odd"),),
    "status 1000": (answer(LENGTH, status="1000 OK"),),
    "status -1": (answer(LENGTH, status="-1 OK"),),
    "status abc": (answer(LENGTH, status="abc OK"),),
    "no status": (b"HTTP/1.1\r\n" + LENGTH.encode() + b"\r\n\r\n" + GOOD,),
    "101": (head("Upgrade: websocket", "Connection: Upgrade", status="101 Switching Protocols") + GOOD,),
    "101 with a length": (answer(LENGTH, status="101 Switching Protocols"),),
    "101 and then 200": (head(status="101 Switching Protocols") + answer(LENGTH),),
    "204": (head(status="204 No Content"),),
    "204 with a body": (answer(LENGTH, status="204 No Content"),),
    "204 in chunks": (head(JSON, CHUNKED, status="204 No Content"), chunk(GOOD), LAST_CHUNK),
    "205": (head("Content-Length: 0", status="205 Reset"),),
    "206": (answer(LENGTH, "Content-Range: bytes 0-1/2", status="206 Partial"),),
    "203 of somebody between": (answer(LENGTH, status="203 Changed"),),
    "length and chunks": (head(JSON, LENGTH, CHUNKED), chunk(GOOD), LAST_CHUNK),
    "chunks and length": (head(JSON, CHUNKED, LENGTH), chunk(GOOD), LAST_CHUNK),
    "two lengths": (answer(LENGTH, "Content-Length: 3"),),
    "two lengths alike": (answer(LENGTH, LENGTH),),
    "a list of lengths": (answer(f"{LENGTH}, {len(GOOD)}"),),
    "a length with a sign": (answer(LENGTH.replace(": ", ": +")),),
    "a length below zero": (answer("Content-Length: -1"),),
    "a length in hex": (answer("Content-Length: 0x10"),),
    "a length with a gap": (answer("Content-Length: 1 0"),),
    "an empty length": (answer("Content-Length:"),),
    "a length beyond all": (answer("Content-Length: 99999999999999999999"),),
    "gzip, chunked": (head(JSON, "Transfer-Encoding: gzip, chunked"), chunk(GOOD), LAST_CHUNK),
    "gzip and chunked": (head(JSON, "Transfer-Encoding: gzip", CHUNKED), chunk(GOOD), LAST_CHUNK),
    "chunked, chunked": (head(JSON, "Transfer-Encoding: chunked, chunked"), chunk(GOOD), LAST_CHUNK),
    "chunked twice": (head(JSON, CHUNKED, CHUNKED), chunk(GOOD), LAST_CHUNK),
    "chunked, identity": (head(JSON, "Transfer-Encoding: chunked, identity"), chunk(GOOD), LAST_CHUNK, CLOSE),
    "xchunked": (head(JSON, "Transfer-Encoding: xchunked"), chunk(GOOD), LAST_CHUNK, CLOSE),
    "an identity transfer": (answer("Transfer-Encoding: identity"), CLOSE),
    "chunks in 1.0": (answer(CHUNKED, body=chunk(GOOD)).replace(b"/1.1", b"/1.0", 1), LAST_CHUNK, CLOSE),
    "gzip, unasked": (answer(LENGTH, "Content-Encoding: gzip"),),
    "br, unasked": (answer(LENGTH, "Content-Encoding: br"),),
    "two codings": (answer(LENGTH, "Content-Encoding: identity", "Content-Encoding: zstd"),),
    "an unknown coding": (answer(LENGTH, "Content-Encoding: \xff"),),
    "NUL in a value": (answer(LENGTH, "X-A: a\0CANARY"),),
    "a control byte in a value": (answer(LENGTH, "X-A: a\x01CANARY"),),
    "DEL in a value": (answer(LENGTH, "X-A: a\x7fCANARY"),),
    "CR in a value": (answer(LENGTH, "X-A: a\rSet-Cookie: CANARY=1"),),
    "CR in the type": (answer(LENGTH).replace(b"json\r\n", b"json\rX: CANARY\r\n", 1),),
    "NUL in the reason": (answer(LENGTH, status="200 O\0K"),),
    "a control byte in the reason": (answer(LENGTH, status="200 O\x1bK"),),
    "CR in the reason": (answer(LENGTH, status="200 OK\rX: CANARY"),),
    "a name with a space": (answer(LENGTH, "X A: CANARY"),),
    "a name that is empty": (answer(LENGTH, ": CANARY"),),
    "a space before the colon": (answer(LENGTH.replace(":", " :"), CHUNKED),),
    "a name beyond ASCII": (answer(LENGTH, "X-Caf\xe9: CANARY"),),
    "no colon": (answer(LENGTH, "CANARY"),),
    "two types": (answer(LENGTH, "Content-Type: text/html"),),
    "a type that cannot be printed": (head("Content-Type: application/json; a=\xff", LENGTH) + GOOD,),
    "a page": (head("Content-Type: text/html", LENGTH) + GOOD,),
    "a script": (head("Content-Type: text/javascript", LENGTH) + GOOD,),
    "a form": (head("Content-Type: multipart/x-mixed-replace; boundary=CANARY", LENGTH) + GOOD,),
    "a header of 100 kB": (answer(LENGTH, f"X-Long: {'a' * 100_000}"),),
    "a name of 100 kB": (answer(LENGTH, f"{'a' * 100_000}: b"),),
    "a reason of 100 kB": (answer(LENGTH, status=f"200 {'a' * 100_000}"),),
    "10,000 headers": (answer(LENGTH, *(f"X-{number}: a" for number in range(10_000))),),
    "an endless header": (b"HTTP/1.1 200 OK\r\nX-Long: ", Endless(b"a" * 65536)),
    "an endless name": (b"HTTP/1.1 200 OK\r\n", Endless(b"a" * 65536)),
    "endless headers": (b"HTTP/1.1 200 OK\r\n", Endless(b"X-A: b\r\n" * 1000)),
    "an endless reason": (b"HTTP/1.1 200 ", Endless(b"a" * 65536)),
    "zeros without end": (Endless(bytes(65536)),),
    **{
        f"{status} {'to elsewhere' if to else 'to nowhere'}": (
            whole(b"", "text/html", *(("Location: http://127.0.0.1:1/CANARY",) if to else ()), status=f"{status} Go"),
        )
        for status in (300, 301, 302, 303, 304, 305, 307, 308, 399)
        for to in (True, False)
    },
    "304 with a body": (answer(LENGTH, status="304 Not Modified"),),
}


@pytest.mark.parametrize("path", SHAPES)
async def test_what_is_no_answer_is_a_bad_gateway(gate: Gate, upstream: RecordingUpstream, path: str) -> None:
    found: dict[str, object] = {}
    for what, script in NO_ANSWER.items():
        upstream.says(*script)
        found[what] = await came_of(gate, upstream, gate.post(path, question(stream=True, input="why?")))

    assert dict.fromkeys(NO_ANSWER, Came(502, FAILED)) == found
    assert await serves_the_next(gate, upstream)


BEFORE_THE_END: dict[str, tuple[Step, ...]] = {
    "nothing": (),
    "half a status line": (b"HTTP/1.1 2",),
    "half a head": (head(JSON)[:-2],),
    "a head that drips": (Drip(answer(LENGTH), 0.05),),
    "100 and nothing more": (head(status="100 Continue"),),
    "a head and nothing more": (head(JSON, LENGTH),),
    "a head of a stream and nothing more": (streaming(NDJSON),),
    "half a body": (head(JSON, LENGTH), GOOD[:10]),
    "half an object in chunks": (streaming("application/json"), chunk(GOOD[:10])),
    "half a size of a chunk": (streaming("application/json"), b"1"),
    "a body that has no end": (head(JSON), GOOD[:10]),
    "no last chunk": (streaming("application/json"), chunk(GOOD)),
    "a trailer that never ends": (streaming("application/json"), chunk(GOOD), b"0\r\n", Drip(b"X-A: b\r\n" * 99, 0.05)),
}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages"])
async def test_what_falls_silent_before_anything_is_shown_took_too_long(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str
) -> None:
    gate = await open_gate(first_byte_timeout=0.15, idle_timeout=0.15)
    found: dict[str, object] = {}
    for what, script in BEFORE_THE_END.items():
        upstream.says(*script)
        found[what] = await came_of(gate, upstream, gate.post(path, question(stream=True, input="why?")))

    assert dict.fromkeys(BEFORE_THE_END, Came(504, "backend_silent")) == found
    assert await serves_the_next(gate, upstream)


BROKE_OFF, TRUNCATED, SILENT = "backend_broke_off", "truncated", "backend_silent"
AFTER_A_PIECE: dict[str, tuple[tuple[Step, ...], str]] = {
    "an end": ((CLOSE,), BROKE_OFF),
    "a reset": ((ABORT,), BROKE_OFF),
    "a half-close": ((HALF,), BROKE_OFF),
    "half a chunk": ((b"40\r\nBecau", CLOSE), BROKE_OFF),
    "a chunk and no more": ((chunk(b": a\n\n"), CLOSE), BROKE_OFF),
    "half a size": ((b"4", CLOSE), BROKE_OFF),
    "a size of letters": ((b"zz\r\n",), BROKE_OFF),
    "a size below zero": ((b"-2\r\nhi\r\n",), BROKE_OFF),
    "a size with a sign": ((b"+2\r\nhi\r\n",), BROKE_OFF),
    "a size with 0x": ((b"0x2\r\nhi\r\n",), BROKE_OFF),
    "a size beyond all": ((b"fffffffffffffffff2\r\n",), BROKE_OFF),
    "no size": ((b"\r\nCANARY",), BROKE_OFF),
    "a line end in an extension": ((b"2;\nxx\r\nhi\r\n",), BROKE_OFF),
    "another end of a chunk": ((b"2\r\nhiXX",), BROKE_OFF),
    "garbage": ((bytes(range(255, 0, -1)),), BROKE_OFF),
    "another answer": ((whole(b"CANARY"),), BROKE_OFF),
    "a second head": ((head(LINES, CHUNKED), chunk(b"CANARY"), LAST_CHUNK), BROKE_OFF),
    "a polite end": ((LAST_CHUNK,), TRUNCATED),
    "no UTF-8 and a polite end": ((chunk(b"\xff\xfe\xc3\n\n"), LAST_CHUNK), TRUNCATED),
    "no JSON and a polite end": ((chunk(b"data: {]\n\n"), LAST_CHUNK), TRUNCATED),
    "silence": ((), SILENT),
    "half a size and silence": ((b"4",), SILENT),
    "an extension without end": ((b"4;", Endless(b"a" * 65536)), BROKE_OFF),
    "a trailer that drips": ((b"0\r\n", Drip(b"X-A: CANARY\r\n" * 9, 0.05)), SILENT),
}
LAST_WORDS = {
    Tongue.OLLAMA: rb'\{"error":"[^"]+"\}\n',
    Tongue.OPENAI: rb'data: \{"error":\{"message":"[^"]+".*"code":"%b"\}\}\n\n',
    Tongue.RESPONSES: rb'event: response.failed\ndata: \{.*"%b".*\}\n\n',
    Tongue.ANTHROPIC: rb'event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\}.*\}\n\n',
}
"""What a client is told in place of the rest."""


@pytest.mark.parametrize("tongue", LAST_WORDS)
async def test_what_breaks_in_the_middle_is_told_in_the_stream_and_ends_uncleanly(
    open_gate: OpenGate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    gate = await open_gate(idle_timeout=0.15)
    path, content_type, pieces = STREAMS[tongue]
    found: dict[str, object] = {}
    expected: dict[str, object] = {}
    for what, (tail, reason) in AFTER_A_PIECE.items():
        shown = asyncio.Event()
        upstream.says(streaming(content_type), chunk(pieces[0]), shown, *tail)
        upstream.forget()
        client = await gate.connect()
        await client.send(gate.post(path, question(stream=True, input="why?")))
        await client.until(pieces[0])
        shown.set()
        told = await client.told()
        last = rb"(.*\n)?" + LAST_WORDS[tongue].replace(b"%b", reason.encode())
        words = told.body.removeprefix(pieces[0])
        entry = await gate.entry()
        async with asyncio.timeout(20):
            await upstream.connections[0].closed.wait()
        found[what] = (
            (told.status, told.clean, entry.reason, entry.usage.exact),
            (told.body.startswith(pieces[0]), re.fullmatch(last, words, re.DOTALL) is not None or words),
            (len(upstream.connections), strange_in(told, gate.get(path))),
        )
        expected[what] = ((200, False, reason, False), (True, True), (1, ()))

    assert expected == found
    assert await serves_the_next(gate, upstream)


INJECTED = (
    "Set-Cookie: session=CANARY; Path=/",
    "Set-Cookie2: CANARY",
    "Server: CANARY/1.0",
    "X-Powered-By: CANARY",
    "Location: http://evil.example/CANARY",
    "Refresh: 0; url=http://evil.example/CANARY",
    "Access-Control-Allow-Origin: *",
    "Access-Control-Allow-Credentials: true",
    "X-Accel-Redirect: /CANARY",
    "X-Sendfile: /CANARY",
    'Alt-Svc: h2=":443"; CANARY',
    "WWW-Authenticate: Basic realm=CANARY",
    "Proxy-Authenticate: Basic realm=CANARY",
    "Strict-Transport-Security: max-age=1",
    "Content-Disposition: attachment; filename=CANARY",
    "Content-Security-Policy: CANARY",
    "Link: </CANARY>; rel=preload",
    'Clear-Site-Data: "*"',
    'ETag: "CANARY"',
    "Age: 1",
    "Via: 1.1 CANARY",
    "Keep-Alive: timeout=CANARY",
    "Upgrade: h2c",
    "Trailer: CANARY",
    "TE: CANARY",
    "X-Request-Id: CANARY",
    "X-Llamagate-Changed: CANARY",
    "RateLimit: CANARY",
    "Retry-After: 9999",
    "Content_Length: 1",
    "Transfer_Encoding: CANARY",
    "Connection: keep-alive, Content-Type, X-Request-Id",
    "Cache-Control: public, max-age=31536000",
    "X-A: caf\xe9 CANARY",
)
IN_CHUNKS = head(JSON, CHUNKED)
SOUND: dict[str, tuple[Step, ...]] = {
    "one that is sound": (answer(LENGTH),),
    "in chunks": (IN_CHUNKS, chunk(GOOD[:7]), chunk(GOOD[7:]), LAST_CHUNK),
    "chunks with extensions": (IN_CHUNKS, b'%x;a=CANARY;b="c"\r\n%b\r\n0;CANARY\r\n\r\n' % (len(GOOD), GOOD)),
    "a size with zeros before it": (IN_CHUNKS, b"000%X\r\n%b\r\n" % (len(GOOD), GOOD), LAST_CHUNK),
    "trailers": (IN_CHUNKS, chunk(GOOD), b"0\r\nSet-Cookie: CANARY\r\nServer: CANARY\r\n\r\n"),
    "one byte at a time": (Drip(answer(LENGTH), 0.0),),
    "100 before it": (head(status="100 Continue") + answer(LENGTH),),
    "102 before it": (head(status="102 Processing") + answer(LENGTH),),
    "103 before it": (head("Link: </CANARY>", "Set-Cookie: CANARY", status="103 Early Hints") + answer(LENGTH),),
    "no reason": (answer(LENGTH, status="200 "),),
    "not even a space": (answer(LENGTH, status="200"),),
    "a long reason": (answer(LENGTH, status="200 CANARY" * 100),),
    "small letters": (answer(LENGTH.lower()).replace(b"Content-Type", b"cONTENT-tYPE"),),
    "a length with zeros before it": (answer(LENGTH.replace(": ", ": 00")),),
    "a length within spaces": (answer(LENGTH.replace(": ", ": \t ") + " \t"),),
    "of 1.0": (answer(LENGTH).replace(b"/1.1", b"/1.0", 1),),
    "of 1.0, to the end": (head(JSON).replace(b"/1.1", b"/1.0", 1) + GOOD, CLOSE),
    "to the end": (head(JSON) + GOOD, CLOSE),
    "to a half-close": (head(JSON) + GOOD, HALF),
    "identity, said": (answer(LENGTH, "Content-Encoding: identity"),),
    "injected fields": (answer(LENGTH, *INJECTED),),
    "as many fields as may be": (answer(LENGTH, *("X-A: CANARY" for _ in range(120))),),
    "a long field": (answer(LENGTH, f"X-A: {'CANARY' * 1300}"),),
}


async def test_of_a_sound_answer_a_client_sees_what_is_on_the_list(gate: Gate, upstream: RecordingUpstream) -> None:
    found: dict[str, object] = {}
    for what, script in SOUND.items():
        upstream.says(*script)
        upstream.forget()
        told = await gate.ask(gate.post("/api/chat", question(stream=False)))
        entry = await gate.entry()
        found[what] = (
            (entry.outcome, told.status, told.body, told.clean),
            (told.fields["content-type"], told.fields.get("cache-control"), told.fields["x-request-id"] == entry.id),
            (len(upstream.connections), strange_in(told, gate.get("/api/chat"))),
        )

    sound = ((Outcome.SERVED, 200, GOOD, True), ("application/json", None, True), (1, ()))
    assert dict.fromkeys(SOUND, sound) == found


async def test_an_answer_before_the_question_is_taken_for_one_or_for_none(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    """Whether it comes before the question is sent is up to the network."""
    upstream.at_once = True
    for what, script in SOUND.items():
        upstream.says(*script)
        came = await came_of(gate, upstream, gate.post("/api/chat", question(stream=False)))

        assert came in (Came(200, None), Came(502, FAILED), Came(502, BROKE_OFF)), what


TOO_MUCH: dict[str, tuple[Step, ...]] = {
    "bytes after the end": (answer(LENGTH, body=GOOD + b"CANARY"),),
    "two answers": (answer(LENGTH) + whole(b"CANARY"),),
    "two answers in chunks": (IN_CHUNKS + chunk(GOOD) + LAST_CHUNK + streaming("application/json") + chunk(b"CANARY"),),
    "an answer and half of one": (answer(LENGTH) + b"HTTP/1.1 200 OK\r\nX: CANARY",),
    "chunks after the last": (IN_CHUNKS, chunk(GOOD), LAST_CHUNK, chunk(b"CANARY"), LAST_CHUNK),
    "answers without end": (answer(LENGTH), Endless(whole(b"CANARY"))),
    "a length in the trailer": (IN_CHUNKS, chunk(GOOD), b"0\r\nContent-Length: 9\r\n\r\nCANARY"),
}


async def test_what_comes_after_an_answer_is_nobodys(gate: Gate, upstream: RecordingUpstream) -> None:
    """Whether the rest comes with the answer or after it is up to the network: the call is served or refused."""
    for what, script in TOO_MUCH.items():
        upstream.says(*script)
        came = await came_of(gate, upstream, gate.post("/api/chat", question(stream=False)))

        assert came in (Came(200, None), Came(502, FAILED), Came(502, BROKE_OFF)), what
        assert await serves_the_next(gate, upstream), what


UNMETERED: dict[str, tuple[tuple[Step, ...], Came]] = {
    "sound": ((whole(b'{"version":"1"}'),), Came(200, None)),
    "of no type": ((whole(b"ok", ""),), Came(200, None)),
    "a page": ((whole(b"<html>", "text/html"),), Came(502, FAILED)),
    "to the end": ((head(JSON) + b"{}", CLOSE), Came(502, FAILED)),
    "short": ((head(JSON, "Content-Length: 9") + b"{}", CLOSE), Came(502, BROKE_OFF)),
    "without a last chunk": ((IN_CHUNKS, chunk(b"{}"), CLOSE), Came(502, BROKE_OFF)),
    "malformed": ((IN_CHUNKS, chunk(b"{}"), b"zz\r\n"), Came(502, BROKE_OFF)),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("end", [CLOSE, ABORT])
async def test_what_may_be_asked_twice_is_asked_once(
    open_gate: OpenGate, upstream: RecordingUpstream, method: str, end: End
) -> None:
    gate = await open_gate(plans={"default": {"grants": ["health", "read", "manage"]}})
    upstream.says(end)
    path, body = ("/api/delete", {"model": MODEL}) if method == "DELETE" else ("/api/version", None)
    asked = gate.request(method, path) if body is None else gate.post(path, body, method=method)
    came = await came_of(gate, upstream, asked, bodiless=method == "HEAD")

    assert Came(502, FAILED) == came


async def test_an_answer_that_nobody_measures_has_to_prove_its_end(gate: Gate, upstream: RecordingUpstream) -> None:
    found: dict[str, object] = {}
    for what, (script, _) in UNMETERED.items():
        upstream.says(*script)
        found[what] = await came_of(gate, upstream, gate.get("/api/version"))

    assert found.pop("malformed") in (Came(502, BROKE_OFF), Came(502, FAILED)), "it comes with its head or after"
    assert {what: came for what, (_, came) in UNMETERED.items() if what != "malformed"} == found


@pytest.mark.parametrize(
    "script",
    [
        (head("Content-Type: text/plain", "Content-Length: 17"),),
        (head("Content-Type: text/plain", "Content-Length: 17") + b"CANARY",),
        (head("Content-Type: text/plain", "Content-Length: 17"), b"CANARY"),
        (head("Content-Type: text/plain"), b"CANARY"),
        (head("Content-Type: text/plain", CHUNKED), chunk(b"CANARY"), LAST_CHUNK),
    ],
)
async def test_no_body_ever_comes_after_head(gate: Gate, upstream: RecordingUpstream, script: tuple[Step, ...]) -> None:
    upstream.says(*script)
    came = await came_of(gate, upstream, gate.request("HEAD", "/"), bodiless=True)

    assert came.status in (200, 502)
    assert came == Came(came.status, None if came.status == 200 else FAILED)


def refusal(body: bytes, *fields: str, status: str = "404 Not Found") -> bytes:
    return head(JSON, *fields, status=status) + body


SORRY = b'{"error":"model \'x\' not found"}'
IN_FULL = f"Content-Length: {len(SORRY)}"
REFUSALS: dict[str, tuple[tuple[Step, ...], Came]] = {
    "sound": ((refusal(SORRY, IN_FULL),), Came(404, "backend_refused")),
    "challenging": ((refusal(SORRY, IN_FULL, "WWW-Authenticate: Basic CANARY"),), Came(404, "backend_refused")),
    "to the end": ((refusal(SORRY), CLOSE), Came(404, "backend_refused")),
    "short": ((refusal(SORRY, "Content-Length: 999"), CLOSE), Came(404, "backend_refused")),
    "malformed": ((refusal(b"", CHUNKED), b"zz\r\n"), Came(404, "backend_refused")),
    "malformed later": ((refusal(chunk(SORRY), CHUNKED), b"zz\r\n"), Came(404, "backend_refused")),
    "silent": ((refusal(b"", "Content-Length: 9"),), Came(404, "backend_refused")),
    "dripping": ((refusal(b"", CHUNKED), Drip(chunk(b"CANARY") * 9, 0.05)), Came(404, "backend_refused")),
    "without end": ((refusal(b"", CHUNKED), Endless(chunk(b"CANARY" * 9999))), Came(404, "backend_refused")),
    "a page": ((whole(b"<html>CANARY", "text/html", status="404 No"),), Came(404, "backend_refused")),
    "no JSON": ((whole(b"[" * 60_000, status="400 No"),), Came(400, "backend_refused")),
    "no UTF-8": ((whole(b'{"error":"\xff\xfe"}', status="400 No"),), Came(400, "backend_refused")),
    "a path": ((whole(b'{"error":"open /CANARY/x: no"}', status="404 No"),), Came(404, "backend_refused")),
    "gzip": ((refusal(SORRY, IN_FULL, "Content-Encoding: gzip"),), Came(502, FAILED)),
    "two lengths": ((refusal(SORRY, IN_FULL, IN_FULL),), Came(502, FAILED)),
    "control bytes": ((refusal(SORRY, IN_FULL, "X: \x01CANARY"),), Came(502, FAILED)),
}


async def test_a_refusal_is_trusted_no_more_than_an_answer(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    gate = await open_gate(connect_timeout=0.3)
    found: dict[str, object] = {}
    for what, (script, _) in REFUSALS.items():
        upstream.says(*script)
        found[what] = await came_of(gate, upstream, gate.post("/v1/chat/completions", question()))

    for what in ("malformed", "malformed later"):
        assert found.pop(what) in (Came(404, "backend_refused"), Came(502, FAILED)), "it comes with its head or after"
    assert {what: came for what, (_, came) in REFUSALS.items() if "malformed" not in what} == found
    assert await serves_the_next(gate, upstream)


async def test_a_malformed_list_is_noticed_at_once(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    upstream.version = streaming("application/json")
    upstream.after_a_look = b"zz\r\n"
    async with asyncio.timeout(4):  # Less than the patience with a backend that says nothing.
        gate = await open_gate()

    assert gate.standing.upstream_version is None


@pytest.mark.parametrize("tongue", [Tongue.OLLAMA, Tongue.OPENAI, Tongue.ANTHROPIC])
async def test_a_line_without_an_end_does_not_fill_the_memory(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    path, content_type, _ = STREAMS[tongue]
    begin = b'{"message":{"content":"' if content_type == NDJSON else b'data: {"a":"'
    upstream.says(head(f"Content-Type: {content_type}"), begin, Endless(b"a" * 65536))
    client = await gate.connect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await client.send(gate.post(path, question(stream=True, input="why?")))
        read = 0
        while read < 48 * 2**20:
            await client.until(b"a")
            read += len(client.received)
            client.received.clear()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    client.leave()
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()

    assert Outcome.CLIENT_LEFT == (await gate.entry()).outcome
    assert peak - before < 80 * 2**20
    assert await serves_the_next(gate, upstream)


async def test_an_object_without_an_end_is_held_no_further_than_its_bound(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    upstream.says(head(JSON), Endless(b" " * 65536))
    client = await gate.connect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await client.send(gate.post("/api/chat", question(stream=False)))
        await client.until(b"\r\n   ")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    client.leave()

    assert Outcome.CLIENT_LEFT == (await gate.entry()).outcome
    assert peak - before < 256 * 2**20


def still_connected_to(port: int) -> int:
    """How many sockets there are whose other end is there and which a process holds, see proc(5)."""
    rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[9] != "0" for row in rows)


async def test_a_backend_that_takes_nothing_is_left_with_what_it_was_to_take(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(first_byte_timeout=0.3)
    port = urlsplit(upstream.url).port or 0
    upstream.deaf = True
    told = await gate.ask(gate.post("/api/chat", question(format="a" * 12 * 2**20)))
    entry = await gate.entry()

    async def left() -> bool | None:
        return still_connected_to(port) == 0 or None

    assert await eventually(left, 20, "the gate has closed its end, though the other one takes nothing")
    assert (504, SILENT) == (told.status, entry.reason)
    assert (1, 0) == (len(upstream.connections), len(upstream.asked))
    upstream.deaf = False
    assert await serves_the_next(gate, upstream)


CANARY = re.compile(rb"canary-[0-9]{3}")
ENDS: tuple[tuple[Step, ...], ...] = (
    (LAST_CHUNK,),
    (CLOSE,),
    (ABORT,),
    (b"zz\r\n",),
    (whole(b"x"),),
    (LAST_CHUNK, Endless(b"HTTP/1.1 200 OK\r\n\r\n")),
)


async def test_nothing_of_one_clients_stream_comes_into_anothers(gate: Gate, upstream: RecordingUpstream) -> None:
    def says(asked: Asked) -> Iterable[Step]:
        (canary,) = set(CANARY.findall(asked.body))
        number = int(canary[-3:])
        lines = [chunk(line(message={"role": "assistant", "content": f"{canary.decode()} {n}"})) for n in range(20)]
        last = chunk(line(done=True, prompt_eval_count=26, eval_count=number))
        return (streaming(NDJSON, f"Set-Cookie: {canary.decode()}"), *lines, last, *ENDS[number % len(ENDS)])

    async def ask(number: int) -> Told:
        said = [{"role": "user", "content": f"canary-{number:03}"}]
        return await gate.ask(gate.post("/api/chat", question(messages=said)))

    upstream.answers = says
    told = await asyncio.gather(*(ask(number) for number in range(50)))
    entries = [await gate.entry() for _ in range(50)]
    heard = [set(CANARY.findall(one.head + one.body)) for one in told]

    assert all(found <= {f"canary-{number:03}".encode()} for number, found in enumerate(heard))
    assert {200, 502} >= {one.status for one in told}
    assert 50 == len(upstream.connections) == len({entry.id for entry in entries})
    assert sorted(one.fields["x-request-id"] for one in told) == sorted(entry.id for entry in entries)


@pytest.mark.parametrize("seed", range(3))
async def test_no_mutated_answer_makes_the_gate_fail(
    open_gate: OpenGate, upstream: RecordingUpstream, seed: int
) -> None:
    gate = await open_gate(idle_timeout=0.5, first_byte_timeout=0.5)
    dice = random.Random(seed)
    sound = b"".join(step for step in streamed(NDJSON, NATIVE_LINES) if isinstance(step, bytes)), answer(LENGTH)
    odd = (b"\r", b"\n", b"\0", b":", b" ", b"\xff", b"0", b"9", b";", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n", b"")
    for _ in range(60):
        said = bytearray(dice.choice(sound))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(said))
            said[at : at + dice.randint(0, 3)] = dice.choice(odd)
        cut = dice.randrange(len(said))
        upstream.says(bytes(said[:cut]), bytes(said[cut:]), CLOSE)
        came = await came_of(gate, upstream, gate.post("/api/chat", question()))

        assert came.status in (200, 502, 504) or came.reason == "backend_refused", bytes(said)
        assert (1, True) == (came.connections, came.left), bytes(said)
    assert await serves_the_next(gate, upstream)


async def test_an_upstream_that_goes_and_comes_back_is_asked_again(open_gate: OpenGate) -> None:
    async with recording() as first:
        gate = await open_gate(upstream=first.url)
        port = urlsplit(first.url).port or 0
        first.says(whole(GOOD))
        before = await gate.ask(gate.post("/api/chat", question(stream=False)))
    down = await gate.ask(gate.post("/v1/messages", question()))
    async with recording(port) as second:
        second.says(whole(GOOD))
        after = await gate.ask(gate.post("/api/chat", question(stream=False)))

    assert [200, 503, 200] == [before.status, down.status, after.status]
    assert "5" == down.fields["retry-after"]
    assert [None, "backend_down", None] == [(await gate.entry()).reason for _ in range(3)]


async def test_an_upstream_that_is_killed_under_twenty_streams_ends_each_of_them_once(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    killed = asyncio.Event()
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), killed, ABORT)
    clients = [await gate.connect() for _ in range(20)]
    for client in clients:
        await client.send(gate.post("/api/chat", question()))
    for client in clients:
        await client.until(NATIVE_LINES[0])
    killed.set()
    told = [await client.told() for client in clients]
    entries = [await gate.entry() for _ in clients]

    assert {(200, False)} == {(one.status, one.clean) for one in told}
    assert 1 == len({one.body for one in told})
    assert {(BROKE_OFF, False, 1)} == {(one.reason, one.usage.exact, one.usage.completion_tokens) for one in entries}
    assert 20 == len(upstream.asked) == len(upstream.connections)
    assert await serves_the_next(gate, upstream)
