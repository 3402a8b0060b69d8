"""Header fields: their signs, names, ends and sizes (RFC 9110 §5, RFC 9112 §5), and those that go nowhere."""

from tests.security.vectors.case import (
    AUTH,
    CANARY,
    HOST,
    KEY,
    KEY_BYTES,
    MARK,
    NEXT,
    VERSION,
    Case,
    bytes_refused,
    get,
    grouped,
    served,
    text_of,
    turned_away,
)

CONTROLS = [one for one in (*range(0x20), 0x7F) if one not in (0x09, 0x0A, 0x0D)]
NO_TOKEN = b'(),/;<=>?@[\\]{}"_ \t'
LONGEST_LINE, MOST_FIELDS, LARGEST_HEAD = 8190, 64, 32 * 1024

SHAPES = {
    "a space before the colon": b"X-A : ZQCANARY",
    "a tab before the colon": b"X-A\t: ZQCANARY",
    "a space before the name": b" X-A: ZQCANARY",
    "no name": b": ZQCANARY",
    "no colon": b"ZQCANARY",
    "only a space": b" ",
    "folded with a space": b"X-A: 1\r\n ZQCANARY",
    "folded with a tab": b"X-A: 1\r\n\tZQCANARY",
    "folded to nothing": b"X-A: 1\r\n \r\nX-B: ZQCANARY",
    "a name in Latin-1": b"X-\xe9: ZQCANARY",
    "a name in UTF-8": b"X-\xe2\x84\xaa: ZQCANARY",
    "a control byte in the name": b"X-\x01: ZQCANARY",
    "a NUL in the name": b"X-\0: ZQCANARY",
    "an emoji for a name": b"\xf0\x9f\x90\x91: ZQCANARY",
    "a request in its place": b"GET /api/tags HTTP/1.1",
}
TWINS = (
    "Transfer_Encoding: chunked|Content_Length: 99|X_Forwarded_For: 1.2.3.4|X_Api_Key: ZQCANARY|_: 1|Host_: a".split(
        "|"
    )
)
ENDS = {
    "a line feed alone after a field": get(b"X-A: 1\nX-B: 2"),
    "a return alone after a field": get(b"X-A: 1\rX-B: 2"),
    "two returns before the line feed": get(b"X-A: 1\r"),
    "a return within a value": get(b"X-A: 1\r2"),
    "a line feed before a return": get(b"X-A: 1\n\rX-B: 2"),
    "line feeds alone everywhere": get().replace(b"\r\n", b"\n"),
    "returns alone everywhere": get().replace(b"\r\n", b"\r") + b"\r\n\r\n",
    "a line feed alone at the end": get()[:-2] + b"\n",
    "a fold that smuggles a request": get(b"X-A: 1\n\nGET /api/tags HTTP/1.1\nHost: a"),
}
"""What no line may end with."""

GO_NOWHERE = (
    """
Accept: ZQCANARY|Accept-Language: ZQCANARY|Cookie: session=ZQCANARY|Origin: https://ZQCANARY.example
Referer: https://evil.example/ZQCANARY|User-Agent: ZQCANARY|From: ZQCANARY|Via: 1.1 ZQCANARY|Max-Forwards: 0
X-Forwarded-For: 127.0.0.1|X-Forwarded-For: unknown, , 1.2.3.4:99999|X-Forwarded-Host: ZQCANARY
X-Forwarded-Proto: https|X-Forwarded-Uri: /healthz?ZQCANARY|X-Real-IP: 127.0.0.1|X-Client-IP: 127.0.0.1
CF-Connecting-IP: 127.0.0.1|True-Client-IP: 127.0.0.1|Forwarded: for="[::1]";host=ZQCANARY
X-Original-URL: /api/delete|X-Rewrite-URL: /api/delete|X-HTTP-Method-Override: DELETE|X-Method-Override: DELETE
X-Request-Id: ZQCANARY%0d%0aSet-Cookie:x|traceparent: 00-ZQCANARY-01|OpenAI-Organization: ZQCANARY
anthropic-version: ZQCANARY|Proxy-Authorization: Basic ZQCANARY|Proxy-Connection: keep-alive|Proxy: http://evil.example
TE: trailers|Trailer: ZQCANARY|Keep-Alive: timeout=9999|Range: bytes=0-1|If-None-Match: "ZQCANARY"
If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT|Accept-Encoding: gzip, br|Sec-Fetch-Site: cross-site
Access-Control-Request-Method: DELETE|X-Accel-Redirect: /ZQCANARY|Content-Language: ZQCANARY|Content-MD5: ZQCANARY
Content-Type: text/html; ZQCANARY|Date: ZQCANARY|Early-Data: 1|Priority: u=0|DNT: 1
""".strip()
    .replace("\n", "|")
    .split("|")
)
"""Nothing of them reaches the upstream, and none changes the answer."""

NAMED = """
close-me,Authorization|Authorization, X-Forwarded-For, Content-Type, X-Request-Id|Content-Length|Host|keep-alive, TE
""".strip().split("|")
"""What a client says is for this hop alone (RFC 9110 §7.6.1)."""


def _head_of(size: int) -> bytes:
    """Of exactly so many bytes."""
    fields = [b"X-%d: " % number + b"a" * 4000 for number in range(7)]
    missing = size - len(get(*fields, b"X-Z: ")) - (KEY_BYTES - len(KEY))
    return get(*fields, b"X-Z: " + b"z" * missing)


CASES: tuple[Case, ...] = grouped(
    "fields",
    [
        *(turned_away(f"byte {one:#04x} in a value", get(b"X-A: a%cb" % one), 400, "field") for one in CONTROLS),
        *(turned_away(f"{chr(one)!r} in a name", get(b"X%cA: ZQCANARY" % one), 400, "field") for one in NO_TOKEN),
        *(turned_away(name, get(line), 400, "field") for name, line in SHAPES.items()),
        *(turned_away(f"underscore: {one}", get(one.encode()), 400, "field") for one in TWINS),
        *(turned_away(name, raw, 400, "line_end") for name, raw in ENDS.items()),
        turned_away("the first field begins with a space", text_of((VERSION, b" " + HOST, AUTH, MARK)), 400, "field"),
        turned_away("a control byte in the credential", get().replace(b"@KEY@", b"@KEY@\x01"), 400, "field"),
        turned_away("one field too many", get(*[b"X-A: 1"] * (MOST_FIELDS - 2)), 431, "fields_too_large"),
        turned_away("129 fields", get(*[b"X-A: 1"] * 126), 431, "fields_too_large"),
        turned_away("a field a byte too long", get(b"X-A: " + b"a" * (LONGEST_LINE - 4)), 431, "fields_too_large"),
        turned_away("a name of 9 KB", get(b"X" * 9000 + b": 1"), 431, "fields_too_large"),
        turned_away("a head a byte too large", _head_of(LARGEST_HEAD + 1), 431, "fields_too_large"),
        Case(
            "a hundred fields of 8 KB",
            get(*[b"X-A: " + b"a" * 8000] * 100) + NEXT,
            (bytes_refused(431, "fields_too_large"),),
        ),
        served("as many as there may be", get(*[b"X-A: 1"] * (MOST_FIELDS - 3))),
        served("a field as long as it may be", get(b"X-A: " + b"a" * (LONGEST_LINE - 5))),
        served("a head as large as it may be", _head_of(LARGEST_HEAD)),
        served("Latin-1 in a value", get(b"X-A: \xe9\xff" + CANARY)),
        served("UTF-8 in a value", get(b"X-A: \xe2\x80\xa8" + CANARY)),
        served("an empty value", get(b"X-A:")),
        served("blanks around a value", get(b"X-A: \t  1 \t ")),
        served("a tab within a value", get(b"X-A: 1\t2")),
        served("no blank before a value", get(b"X-A:1")),
        served("a name with all signs of a token", get(b"!#$%&'*+-.^`|~09AZaz: 1")),
        served("a field twice that goes nowhere", get(b"X-A: 1", b"X-A: 2")),
        *(served(f"goes nowhere: {one}", get(one.encode())) for one in GO_NOWHERE),
        *(served(f"Connection: {one}", get(b"Connection: " + one.encode())) for one in NAMED),
        *(
            turned_away(f"{name} twice", get(*[line.encode()] * 2), 400, "field_twice")
            for name, line in (
                ("Content-Type", "Content-Type: application/json"),
                ("Content-Encoding", "Content-Encoding: identity"),
                ("Expect", "Expect: 100-continue"),
                ("Host", "Host: gate.example"),
            )
        ),
    ],
)
