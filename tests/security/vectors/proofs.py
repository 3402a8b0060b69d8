"""Credentials: where they stand, how they are written, and more than one of them (RFC 6750, RFC 7617)."""

import base64

from tests.security.vectors.case import (
    AUTH,
    CANARY,
    HOST,
    MARK,
    NO_ROUTE,
    VERSION,
    Case,
    answered_no,
    call_refused,
    get,
    grouped,
    served,
    text_of,
)

OTHER = b"sk-lg_000000000000_" + b"0" * 43 + b"_000000"
SHAPES = {
    "empty": b"",
    "only the scheme": b"Bearer",
    "the scheme and a blank": b"Bearer ",
    "two blanks": b"Bearer  @KEY@",
    "a tab": b"Bearer\t@KEY@",
    "two keys": b"Bearer @KEY@, Bearer @KEY@",
    "two keys with a comma": b"Bearer @KEY@,@KEY@",
    "a semicolon": b"Bearer @KEY@;",
    "quotation marks": b'Bearer "@KEY@"',
    "a no-break space in Latin-1": b"Bearer\xa0@KEY@",
    "a no-break space in UTF-8": b"Bearer\xc2\xa0@KEY@",
    "a zero-width space": b"Bearer @KEY@\xe2\x80\x8b",
    "a look-alike letter": b"Bearer s\xd0\xba-lg_ZQCANARY",
    "a byte of ones": b"Bearer \xff",
    "half of a character": b"Bearer \xed\xa0\x80",
    "8 KB": b"Bearer " + b"a" * 8100,
    "no scheme": b"@KEY@",
    "another scheme": b"Token @KEY@",
    "Digest": b'Digest username="ZQCANARY"',
    "Negotiate": b"Negotiate ZQCANARY",
    "the key and more": b"Bearer @KEY@0",
    "the key and its end again": b"Bearer @KEY@@KEY@",
    "an equals sign": b"Bearer=@KEY@",
    "a wrong checksum": b"Bearer " + OTHER,
    "SQL": b"Bearer ' OR '1'='1",
    "a pattern": b"Bearer sk-lg_%",
    "a shell's words": b"Bearer $(id)",
    "a hash": b"Bearer " + b"0123456789abcdef" * 4,
    "a token in three parts": b"Bearer e30.e30.ZQCANARY",
    "a token without a signature": b"Bearer eyJhbGciOiJub25lIn0.e30.",
    "dots": b"Bearer ..",
    "Basic that is no base64": b"Basic ZQCANARY!",
    "Basic without a colon": b"Basic " + base64.b64encode(CANARY),
    "Basic with a wrong password": b"Basic " + base64.b64encode(b"alice:" + CANARY),
    "Basic with bytes of ones": b"Basic " + base64.b64encode(b"\xff:\xff"),
    "Basic that is empty": b"Basic ",
    "two signatures": b"AAAA:AAAA:AAAA",
}
PLACES = {
    "in the query": b"GET /api/version?api_key=@KEY@ HTTP/1.1",
    "in the query as a token": b"GET /api/version?access_token=@KEY@ HTTP/1.1",
    "in the path after the route": b"GET /api/version/@KEY@ HTTP/1.1",
}
ELSEWHERE = {
    "in a cookie": b"Cookie: token=@KEY@",
    "for a proxy": b"Proxy-Authorization: Bearer @KEY@",
    "under a name like it": b"Authorization2: Bearer @KEY@",
    "in api-key": b"api-key: @KEY@",
    "in X-Auth-Token": b"X-Auth-Token: @KEY@",
    "in X-Forwarded-Authorization": b"X-Forwarded-Authorization: Bearer @KEY@",
    "as a user of somebody else": b"X-Forwarded-User: root",
    "as Remote-User": b"Remote-User: root",
    "as a certificate of somebody else": b"X-SSL-Client-Cert: ZQCANARY",
    "as a health checker": b"User-Agent: kube-probe/1.30",
    "as another path": b"X-Forwarded-Uri: /healthz",
    "as another URL": b"X-Original-URL: /healthz",
}
TWO = {
    "the same twice": (AUTH, AUTH),
    "Authorization and x-api-key": (AUTH, b"x-api-key: @KEY@"),
    "x-api-key twice": (b"x-api-key: @KEY@", b"X-Api-Key: @KEY@"),
    "a good one and a wrong one": (AUTH, b"Authorization: Bearer " + CANARY),
    "a good one and an empty one": (AUTH, b"Authorization:"),
    "a good one and a placeholder": (AUTH, b"x-api-key: dummy"),
    "Bearer and Basic": (AUTH, b"Authorization: Basic " + base64.b64encode(b"a:" + CANARY)),
    "a good one and a byte of ones": (AUTH, b"x-api-key: \xff"),
}
WRONG_PATHS = {
    "empty": b"/k//api/version",
    "wrong": b"/k/ZQCANARY/api/version",
    "percent-encoded": b"/k/%73k-lg_ZQCANARY/api/version",
    "climbing": b"/k/../api/version",
    "with nothing after it": b"/k/ZQCANARY",
    "alone": b"/k/",
}

CASES: tuple[Case, ...] = grouped(
    "proofs",
    [
        *(
            answered_no(
                f"{name}",
                text_of((VERSION, HOST, MARK, b"Authorization: " + one)),
                call_refused(401, "invalid_api_key"),
            )
            for name, one in SHAPES.items()
        ),
        *(
            answered_no(name, text_of((line, HOST, MARK)), call_refused(401, "invalid_api_key"))
            for name, line in PLACES.items()
        ),
        *(
            answered_no(name, text_of((VERSION, HOST, MARK, line)), call_refused(401, "invalid_api_key"))
            for name, line in ELSEWHERE.items()
        ),
        *(
            answered_no(f"two: {name}", text_of((VERSION, HOST, MARK, *lines)), call_refused(400, "two_credentials"))
            for name, lines in TWO.items()
        ),
        *(
            answered_no(
                f"in the path: {name}",
                text_of((b"GET %b HTTP/1.1" % one, HOST, MARK)),
                call_refused(401, "invalid_api_key"),
            )
            for name, one in WRONG_PATHS.items()
        ),
        answered_no("in the path twice", text_of((b"GET /k/@KEY@/k/@KEY@/api/version HTTP/1.1", HOST, MARK)), NO_ROUTE),
        answered_no(
            "in the path and in a field",
            get(line=b"GET /k/@KEY@/api/version HTTP/1.1"),
            call_refused(400, "two_credentials"),
        ),
        *(
            served(f"good: {name}", text_of((line, HOST, MARK, *fields)))
            for name, line, fields in (
                ("small letters in the scheme", VERSION, (b"authorization: bearer @KEY@",)),
                ("capitals in the scheme", VERSION, (b"AUTHORIZATION: BEARER @KEY@",)),
                ("x-api-key", VERSION, (b"X-API-Key: @KEY@",)),
                ("in the path", b"GET /k/@KEY@/api/version HTTP/1.1", ()),
                (
                    "in the path beside a placeholder",
                    b"GET /k/@KEY@/api/version HTTP/1.1",
                    (b"Authorization: Bearer ollama",),
                ),
                ("beside another in the query", b"GET /api/version?api_key=" + CANARY + b" HTTP/1.1", (AUTH,)),
                ("beside another in a cookie", VERSION, (AUTH, b"Cookie: token=" + CANARY)),
            )
        ),
    ],
)
