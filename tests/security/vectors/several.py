"""Several requests on one connection, and bodies where none is asked for: each answer has its own request."""

from tests.security.vectors.case import (
    AUTH,
    CANARY,
    CHAT,
    CHAT_CALL,
    HEALTHY,
    HOST,
    MARK,
    NEXT,
    NO_KEY,
    NO_ROUTE,
    SERVED,
    VERSION,
    VERSION_SENT,
    Case,
    Said,
    Sent,
    bytes_refused,
    call_refused,
    get,
    grouped,
    post,
    text_of,
)

NOBODY = text_of((VERSION, HOST, MARK))
WRONG_KEY = text_of((VERSION, HOST, b"Authorization: Bearer " + CANARY, MARK))
HEAD_ROOT = get(line=b"HEAD / HTTP/1.1")
HEAD_SENT = Sent("HEAD /")
HEADED = Said(200, is_bodiless=True)
PROBE = text_of((b"GET /healthz HTTP/1.1", HOST, MARK))
MALFORMED = call_refused(401, "invalid_api_key.malformed")
SMUGGLED = NEXT


CASES: tuple[Case, ...] = grouped(
    "several",
    [
        Case("good, bad and good", get() + WRONG_KEY + get(), (SERVED, MALFORMED, SERVED), (VERSION_SENT,) * 2, True),
        Case("good, nobody and good", get() + NOBODY + get(), (SERVED, NO_KEY, SERVED), (VERSION_SENT,) * 2, True),
        Case("nobody first", NOBODY + get(), (NO_KEY, SERVED), (VERSION_SENT,), True),
        Case("ten", get() * 10, (SERVED,) * 10, (VERSION_SENT,) * 10, True),
        Case("forty", get() * 40, (SERVED,) * 40, (VERSION_SENT,) * 40, True),
        Case("the last closes", get() + get(b"Connection: close") + NEXT, (SERVED,) * 2, (VERSION_SENT,) * 2),
        Case(
            "the last is of HTTP/1.0",
            get() + get(line=b"GET /api/version HTTP/1.0") + NEXT,
            (SERVED,) * 2,
            (VERSION_SENT,) * 2,
        ),
        Case(
            "an empty line between",
            get() + b"\r\n" + get(),
            (SERVED, bytes_refused(400, "request_line")),
            (VERSION_SENT,),
        ),
        Case(
            "a line feed between", get() + b"\n" + get(), (SERVED, bytes_refused(400, "request_line")), (VERSION_SENT,)
        ),
        Case("zeros after", get() + bytes(9) + NEXT, (SERVED, bytes_refused(400, "request_line")), (VERSION_SENT,)),
        Case(
            "a wrong head after two",
            get() * 2 + get(b"X A: 1") + NEXT,
            (SERVED, SERVED, bytes_refused(400, "field")),
            (VERSION_SENT,) * 2,
        ),
        Case(
            "a wrong chunk after one",
            get() + get(b"Transfer-Encoding: chunked", line=b"POST /api/chat HTTP/1.1") + b"x" + CANARY + NEXT * 2,
            (SERVED, call_refused(400, "invalid_request")),
            (VERSION_SENT,),
            counted=("chunk",),
        ),
        Case("a body and a request", post(CHAT) + get(), (SERVED, SERVED), (CHAT_CALL, VERSION_SENT), True),
        Case("two bodies", post(CHAT) * 2, (SERVED, SERVED), (CHAT_CALL,) * 2, True),
        Case("HEAD and a request", HEAD_ROOT + get(), (HEADED, SERVED), (HEAD_SENT, VERSION_SENT), True),
        Case("HEAD three times", HEAD_ROOT * 3, (HEADED,) * 3, (HEAD_SENT,) * 3, True),
        Case(
            "HEAD where it is wrong, and a request",
            get(line=b"HEAD /api/ps HTTP/1.1") + get(),
            (call_refused(405, "wrong_method", is_bodiless=True), SERVED),
            (VERSION_SENT,),
            True,
        ),
        Case("probes and a request", PROBE + get() + PROBE, (HEALTHY, SERVED, HEALTHY), (VERSION_SENT,), True),
        Case("probes in a row", PROBE * 5, (HEALTHY,) * 5, (), True),
        Case(
            "no route, and a request",
            get(line=b"GET /api/nothing HTTP/1.1") + get(),
            (NO_ROUTE, SERVED),
            (VERSION_SENT,),
            True,
        ),
        Case(
            "a GET whose body is a request",
            get(b"Content-Length: %d" % len(SMUGGLED.replace(b"@KEY@", b""))) + SMUGGLED.replace(b"@KEY@", b""),
            (SERVED,),
            (VERSION_SENT,),
            True,
        ),
        Case(
            "a POST of no length whose body is a request",
            get(b"Content-Length: 0", line=b"POST /api/chat HTTP/1.1") + get(),
            (call_refused(400, "invalid_request"), SERVED),
            (VERSION_SENT,),
            True,
        ),
        Case(
            "nobody's body is a request",
            text_of((b"POST /api/chat HTTP/1.1", HOST, MARK, b"Content-Length: 400")) + NOBODY,
            (NO_KEY,),
            lingers=True,
        ),
        Case(
            "a body of no route is a request",
            get(b"Content-Length: 400", line=b"POST /api/nothing HTTP/1.1") + NOBODY,
            (NO_ROUTE,),
            lingers=True,
        ),
        Case(
            "a probe with a body",
            text_of((b"GET /healthz HTTP/1.1", HOST, MARK, b"Content-Length: 400")) + NOBODY,
            (HEALTHY,),
            lingers=True,
        ),
        Case(
            "a name of its own for each",
            get(line=b"GET /k/@KEY@/api/version HTTP/1.1").replace(AUTH + b"\r\n", b"") + NOBODY,
            (SERVED, NO_KEY),
            (VERSION_SENT,),
            True,
        ),
    ],
)
