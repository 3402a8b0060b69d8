"""Bodies by size, coding, kind, and pace, and those that the client is asked for (RFC 9110 §10.1.1)."""

from proxy.vocabulary import Tongue
from tests.security.vectors.case import (
    CANARY,
    CHAT,
    CHAT_CALL,
    GONE,
    HOST,
    INVITED,
    MARK,
    MAX_BODY,
    NO_KEY,
    NO_ROUTE,
    POST,
    SERVED,
    Case,
    Sent,
    answered_no,
    call_refused,
    get,
    grouped,
    post,
    served,
    text_of,
    turned_away,
)

OPENAI, ANTHROPIC = Tongue.OPENAI, Tongue.ANTHROPIC
WANTED = b"Expect: 100-continue"
COMPLETIONS = b"POST /v1/chat/completions HTTP/1.1"
MESSAGES = b"POST /v1/messages HTTP/1.1"
NOT_JSON = call_refused(400, "invalid_request")
TOO_LARGE = call_refused(413, "body_too_large")
NO_CODING = call_refused(415, "unsupported_encoding")
TOO_SLOW = call_refused(408, "body_too_slow")

NO_OBJECTS = {
    "blanks": b" \t\r\n ",
    "a list": b"[]",
    "null": b"null",
    "a word": b'"ZQCANARY"',
    "no JSON": b"model=llama3.2:1b&ZQCANARY",
    "an object that never ends": CHAT[:-1],
    "something after it": CHAT + b"ZQCANARY",
    "two objects": CHAT + CHAT,
    "a byte order mark": b"\xef\xbb\xbf" + CHAT,
    "UTF-16": CHAT.decode().encode("utf-16"),
    "UTF-32": CHAT.decode().encode("utf-32"),
    "bytes that are no UTF-8": CHAT.replace(CANARY, b"\xff\xfe"),
    "a NUL before": b"\0" + CHAT,
    "NaN": CHAT[:-1] + b',"options":{"temperature":NaN}}',
    "infinity": CHAT[:-1] + b',"options":{"temperature":Infinity}}',
    "5000 digits": CHAT[:-1] + b',"options":{"seed":' + b"9" * 5000 + b"}}",
    "a thousand lists in each other": CHAT[:-1] + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "30000 lists that never end": b'{"model":' + b"[" * 30_000,
    "a model twice": CHAT[:-1] + b',"model":"mistral"}',
    "a model twice in other letters": CHAT[:-1] + b',"Model":"mistral"}',
    "a long s in a name": CHAT[:-1] + b',"\xc5\xbftream":true}',
    "a model that is a number": CHAT.replace(b'"llama3.2:1b"', b"5"),
    "stream that is a word": CHAT.replace(b"false", b'"true"'),
    "stream that is a number": CHAT.replace(b"false", b"1"),
    "a trailing comma": CHAT[:-1] + b",}",
    "a comment": CHAT[:-1] + b"/* ZQCANARY */}",
    "single quotation marks": CHAT.replace(b'"', b"'"),
}
CODINGS = "gzip|deflate|br|compress|x-gzip|zstd|GZIP|gzip, gzip|identity, gzip|ZQCANARY|gzip;q=1|*".split("|")

CASES: tuple[Case, ...] = grouped(
    "bodies",
    [
        *(answered_no(name, post(body), NOT_JSON) for name, body in NO_OBJECTS.items()),
        *(
            answered_no(name, post(body), call_refused(404, "model_not_found"))
            for name, body in (
                ("a model that is null", CHAT.replace(b'"llama3.2:1b"', b"null")),
                ("no model", CHAT.replace(b'"model"', b'"modell"')),
                ("a model that nobody has", CHAT.replace(b'"llama3.2:1b"', b'"ZQCANARY"')),
                ("an empty model", CHAT.replace(b'"llama3.2:1b"', b'""')),
                ("a model by its path", CHAT.replace(b'"llama3.2:1b"', b'"../../ZQCANARY"')),
            )
        ),
        served("as large as it may be", post(CHAT + b" " * (MAX_BODY - len(CHAT))), CHAT_CALL),
        answered_no("a byte too large", post(CHAT + b" " * (MAX_BODY - len(CHAT) + 1)), TOO_LARGE),
        answered_no(
            "far too large, and none of it sent",
            get(b"Content-Length: 5000000", line=POST),
            TOO_LARGE,
            stays_open=False,
        ),
        answered_no(
            "as large as a number can be", get(b"Content-Length: " + b"9" * 16, line=POST), TOO_LARGE, stays_open=False
        ),
        *(answered_no(f"coding {one}", post(CHAT, b"Content-Encoding: " + one.encode()), NO_CODING) for one in CODINGS),
        served("coding identity", post(CHAT, b"Content-Encoding: identity"), CHAT_CALL),
        served("no name for the kind", post(CHAT), CHAT_CALL),
        *(
            served(f"kind {one}", post(CHAT, b"Content-Type: " + one.encode()), CHAT_CALL)
            for one in ("application/json", "application/json; charset=utf-8")
        ),
        # Who waits to be asked for a body is asked once it is known, and for what will be read.
        answered_no(
            "waits and nobody knows it",
            text_of((POST, HOST, MARK, b"Content-Length: 5000000", WANTED)),
            NO_KEY,
            stays_open=False,
        ),
        answered_no(
            "waits with too large a body",
            get(b"Content-Length: 5000000", WANTED, line=POST),
            TOO_LARGE,
            stays_open=False,
        ),
        answered_no(
            "waits where there is no route",
            get(b"Content-Length: 9", WANTED, line=b"POST /api/nothing HTTP/1.1"),
            NO_ROUTE,
            stays_open=False,
        ),
        answered_no(
            "waits with a coding",
            get(b"Content-Length: 9", WANTED, b"Content-Encoding: gzip", line=POST),
            NO_CODING,
            stays_open=False,
        ),
        Case("waits and is asked", post(CHAT, WANTED), (INVITED, SERVED), (CHAT_CALL,), stays_open=True),
        Case("waits in capitals", post(CHAT, WANTED.upper()), (INVITED, SERVED), (CHAT_CALL,), stays_open=True),
        Case(
            "waits in HTTP/1.0",
            post(CHAT, WANTED, line=b"POST /api/chat HTTP/1.0"),
            (SERVED,),
            (CHAT_CALL,),
        ),
        served("waits without a body", get(WANTED)),
        *(
            turned_away(f"expects {one}", post(CHAT, b"Expect: " + one.encode()), 417, "expect")
            for one in ("200-ok", "100-continue, 200-ok", "100", "ZQCANARY", "", "100-continue;q=1")
        ),
        # The shape of a refusal is that of the route.
        *(
            answered_no(name, raw, said)
            for name, raw, said in (
                ("no JSON for OpenAI", post(CANARY, line=COMPLETIONS), call_refused(400, "invalid_request", OPENAI)),
                ("no JSON for Anthropic", post(CANARY, line=MESSAGES), call_refused(400, "invalid_request", ANTHROPIC)),
            )
        ),
        answered_no(
            "too large for OpenAI",
            get(b"Content-Length: 5000000", line=COMPLETIONS),
            call_refused(413, "body_too_large", OPENAI),
            stays_open=False,
        ),
        answered_no(
            "too large for Anthropic",
            get(b"Content-Length: 5000000", line=MESSAGES),
            call_refused(413, "body_too_large", ANTHROPIC),
            stays_open=False,
        ),
        answered_no(
            "a coding twice over for OpenAI",
            post(CANARY, b"Content-Encoding: zstd, zstd", line=COMPLETIONS),
            call_refused(415, "unsupported_encoding", OPENAI),
        ),
        # A client that leaves amid its request is told nothing, and nobody is asked for it.
        Case("leaves amid the first line", b"GET /" + CANARY, leaves=True),
        Case("leaves amid a field", get()[:-4], leaves=True),
        Case("leaves before the last line feed", get()[:-1], leaves=True),
        Case("leaves amid a body", get(b"Content-Length: 100", line=POST) + CANARY, (GONE,), leaves=True),
        Case(
            "leaves amid a chunk",
            get(b"Transfer-Encoding: chunked", line=POST) + b"64\r\n" + CANARY,
            (GONE,),
            leaves=True,
        ),
        Case(
            "leaves amid a chunk's size",
            get(b"Transfer-Encoding: chunked", line=POST) + b"2\r\nhi\r\n6",
            (GONE,),
            leaves=True,
        ),
        Case(
            "leaves before the last chunk",
            get(b"Transfer-Encoding: chunked", line=POST) + b"%x\r\n%b\r\n" % (len(CHAT), CHAT),
            (GONE,),
            leaves=True,
        ),
        Case(
            "leaves before the last line of the chunks",
            get(b"Transfer-Encoding: chunked", line=POST) + b"%x\r\n%b\r\n0\r\n" % (len(CHAT), CHAT),
            (GONE,),
            leaves=True,
        ),
        # And one that says no more is not waited for.
        Case("stops amid the first line", b"GET /" + CANARY, counted=("head_too_slow",)),
        Case("stops before the empty line", get()[:-2], counted=("head_too_slow",)),
        Case("says nothing but a name", CANARY, counted=("head_too_slow",)),
        Case(
            "stops after one byte of a body", get(b"Content-Length: 100", line=POST) + b"{", (TOO_SLOW,), lingers=True
        ),
        Case(
            "stops before the last chunk",
            get(b"Transfer-Encoding: chunked", line=POST) + b'2\r\n{"\r\n',
            (TOO_SLOW,),
            lingers=True,
        ),
        Case(
            "stops before all of the body",
            get(b"Content-Length: %d" % (len(CHAT) + 1), line=POST) + CHAT,
            (TOO_SLOW,),
            lingers=True,
        ),
        Case(
            "a second request that stops",
            get() + b"GET /" + CANARY,
            (SERVED,),
            (Sent("GET /api/version"),),
            counted=("head_too_slow",),
        ),
    ],
)
