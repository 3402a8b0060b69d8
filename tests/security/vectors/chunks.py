"""Bodies in chunks (RFC 9112 §7.1): sizes, ends, extensions and trailers."""

from tests.security.vectors.case import (
    CANARY,
    CHAT,
    CHAT_CALL,
    MAX_BODY,
    NEXT,
    POST,
    Case,
    Said,
    call_refused,
    get,
    grouped,
    served,
)

SIZE = b"%x" % len(CHAT)
LAST = b"0\r\n\r\n"
WRONG = {
    "a size in hexadecimal notation": b"0x2\r\nhi\r\n" + LAST,
    "a plus before the size": b"+2\r\nhi\r\n" + LAST,
    "a minus before the size": b"-2\r\nhi\r\n" + LAST,
    "a blank before the size": b" 2\r\nhi\r\n" + LAST,
    "a blank after the size": b"2 \r\nhi\r\n" + LAST,
    "a tab after the size": b"2\t\r\nhi\r\n" + LAST,
    "an underscore in the size": b"1_0\r\n0123456789abcdef\r\n" + LAST,
    "no size": b"\r\nhi\r\n" + LAST,
    "a size in other letters": b"g\r\nhi\r\n" + LAST,
    "a size that overflows": b"fffffffffffffffff2\r\nhi\r\n" + LAST,
    "a size of nine digits": b"000000002\r\nhi\r\n" + LAST,
    "a size of 64 bits": b"ffffffffffffffff\r\nhi\r\n" + LAST,
    "a size of letters": b"ZQCANARY\r\nhi\r\n" + LAST,
    "Arabic digits": b"\xd9\xa2\r\nhi\r\n" + LAST,
    "line feeds alone": b"2\nhi\n0\n\n",
    "a line feed alone after the size": b"2\nhi\r\n" + LAST,
    "a return alone after the size": b"2\rhi\r\n" + LAST,
    "two returns after the size": b"2\r\r\nhi\r\n" + LAST,
    "a line feed alone after the data": b"2\r\nhi\n" + LAST,
    "nothing after the data": b"2\r\nhi" + LAST,
    "more data than the size": b"2\r\nhi!\r\n" + LAST,
    "less data than the size": b"3\r\nhi\r\n" + LAST,
    "an extension": b"2;a=b\r\nhi\r\n" + LAST,
    "an extension without a name": b"2;\r\nhi\r\n" + LAST,
    "an extension with a line feed": b"2;\nxx\r\nhi\r\n" + LAST,
    "an extension with a return": b"2;\rxx\r\nhi\r\n" + LAST,
    "an extension in quotation marks": b'2;a="\r\nhi\r\n' + LAST,
    "an extension of 8 KB": b"2;" + b"a" * 8192 + b"\r\nhi\r\n" + LAST,
    "an extension after the last size": b"2\r\nhi\r\n0;a=b\r\n\r\n",
    "a NUL after the size": b"2\0\r\nhi\r\n" + LAST,
    "a JSON body with no chunks": CHAT,
}
TRAILERS = {
    "a credential": b"Authorization: Bearer ZQCANARY",
    "a length": b"Content-Length: 9",
    "a coding": b"Transfer-Encoding: chunked",
    "a field of the client's": b"X-A: ZQCANARY",
    "no field": b"ZQCANARY",
    "a request": b"GET /api/tags HTTP/1.1",
    "five thousand": b"\r\n".join([b"X-A: 1"] * 5000),
    "a blank": b" ",
    "a line feed alone": b"\n",
}
GOOD = {
    "capitals in the size": b"%X\r\n%b\r\n" % (len(CHAT), CHAT) + LAST,
    "zeros before the size": b"%08x\r\n%b\r\n" % (len(CHAT), CHAT) + LAST,
    "several zeros for the last": SIZE + b"\r\n" + CHAT + b"\r\n000\r\n\r\n",
    "a byte in each": b"".join(b"1\r\n%c\r\n" % one for one in CHAT) + LAST,
    "two": b"1\r\n{\r\n%x\r\n%b\r\n" % (len(CHAT) - 1, CHAT[1:]) + LAST,
}
BROKEN = call_refused(400, "invalid_request")


def _raw(body: bytes) -> bytes:
    return get(b"Transfer-Encoding: chunked", line=POST) + body


def _refused(name: str, body: bytes, counted: str, said: Said = BROKEN) -> Case:
    """A call has begun by then: it ends with a refusal of its own, and the connection with it."""
    return Case(name, _raw(body) + NEXT, (said,), counted=(counted,))


CASES: tuple[Case, ...] = grouped(
    "chunks",
    [
        *(_refused(name, body, "chunk") for name, body in WRONG.items()),
        *(
            _refused(f"trailer: {name}", SIZE + b"\r\n" + CHAT + b"\r\n0\r\n" + line + b"\r\n\r\n", "trailer")
            for name, line in TRAILERS.items()
        ),
        *(
            _refused(f"after nothing, a trailer: {name}", b"0\r\n" + line + b"\r\n\r\n", "trailer")
            for name, line in list(TRAILERS.items())[:3]
        ),
        *(served(name, _raw(body), CHAT_CALL) for name, body in GOOD.items()),
        _refused(
            "too many bytes",
            b"".join(b"1000\r\n%b\r\n" % (b"a" * 4096) for _ in range(MAX_BODY // 4096)) + b"2\r\nhi\r\n" + LAST,
            "body_too_large",
            call_refused(413, "body_too_large"),
        ),
        _refused(
            "one chunk larger than any body",
            b"ffffffff\r\n" + CANARY * (MAX_BODY // 4),
            "body_too_large",
            call_refused(413, "body_too_large"),
        ),
        _refused("too many small ones", b"1\r\na\r\n" * 20_000 + LAST, "chunks_too_small"),
        Case("no bytes at all", _raw(LAST), (call_refused(400, "invalid_request"),), stays_open=True),
    ],
)
