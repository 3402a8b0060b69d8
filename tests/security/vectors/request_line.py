"""The first line: methods, targets, versions, and other protocols in its place (RFC 9112 §3)."""

from tests.security.vectors.case import (
    AUTH,
    CANARY,
    MARK,
    NO_ROUTE,
    Case,
    answered_no,
    bytes_refused,
    call_refused,
    get,
    grouped,
    served,
    text_of,
    turned_away,
)

LONGEST_LINE = 8190

SHAPES = {
    "two spaces after the method": b"GET  /api/version HTTP/1.1",
    "two spaces before the version": b"GET /api/version  HTTP/1.1",
    "a space at the end": b"GET /api/version HTTP/1.1 ",
    "a space at the beginning": b" GET /api/version HTTP/1.1",
    "a tab after the method": b"GET\t/api/version HTTP/1.1",
    "a tab before the version": b"GET /api/version\tHTTP/1.1",
    "a tab at the beginning": b"\tGET /api/version HTTP/1.1",
    "a vertical tab after the method": b"GET\x0b/api/version HTTP/1.1",
    "a form feed before the version": b"GET /api/version\x0cHTTP/1.1",
    "nothing but a method": b"GET",
    "no version, as in HTTP 0.9": b"GET /api/version",
    "a space in the target": b"GET /api/version x HTTP/1.1",
    "a space in the version": b"GET /api/version HTTP /1.1",
    "no method": b"/api/version HTTP/1.1",
    "the method in small letters": b"get /api/version HTTP/1.1",
    "the method in mixed letters": b"Get /api/version HTTP/1.1",
    "a space in the method": b"GE T /api/version HTTP/1.1",
    "a hyphen in the method": b"G-T /api/version HTTP/1.1",
    "a digit in the method": b"GET1 /api/version HTTP/1.1",
    "a colon after the method": b"GET: /api/version HTTP/1.1",
    "a NUL in the method": b"G\0ET /api/version HTTP/1.1",
    "a method of 17 letters": b"ZQCANARYZQCANARYZ /api/version HTTP/1.1",
    "an empty line before": b"\r\nGET /api/version HTTP/1.1",
    "two empty lines before": b"\r\n\r\nGET /api/version HTTP/1.1",
    "a bare line feed before": b"\nGET /api/version HTTP/1.1",
    "a NUL before": b"\0GET /api/version HTTP/1.1",
    "a byte order mark before": b"\xef\xbb\xbfGET /api/version HTTP/1.1",
    "a field in its place": b"X-Mark: ZQCANARY",
    "an answer in its place": b"HTTP/1.1 200 OK ZQCANARY",
}
TARGETS = {
    "absolute": b"http://evil.example/api/tags",
    "absolute with a user": b"http://u:p@evil.example/v1/chat/completions",
    "absolute by TLS": b"https://evil.example/api/tags",
    "absolute without an authority": b"http:/api/tags",
    "an authority": b"gate.example:443",
    "an asterisk": b"*",
    "without a slash": b"api/version",
    "only a query": b"?x=1",
    "only a fragment": b"#x",
    "with a fragment": b"/api/version#ZQCANARY",
    "with a fragment that climbs": b"/v1/chat/completions#/../../../api/pull",
    "a backslash": b"/api\\pull",
    "a backslash at the beginning": b"\\api\\pull",
    "a quotation mark": b'/api/"version',
    "a less-than sign": b"/api/<script>ZQCANARY",
    "a greater-than sign": b"/api/>version",
    "braces": b"/v1/models/{model}",
    "a bar": b"/api/version|x",
    "a circumflex": b"/api/version^",
    "a grave accent": b"/api/`id`",
    "Latin-1": b"/api/\xe9",
    "UTF-8": b"/v1/\xef\xbc\x8e\xef\xbc\x8e/api/pull",
    "a byte of ones": b"/\xff",
    "a NUL": b"/api/version\0",
    "a control byte": b"/api/\x01version",
    "a delete": b"/api/\x7fversion",
}
VERSIONS = """
HTTP/0.9 HTTP/1.2 HTTP/1.9 HTTP/2 HTTP/2.0 HTTP/3.0 HTTP/1 HTTP/11 HTTP/1.10 HTTP/01.1 HTTP/1.1.1 HTTP/1,1 HTTP/+1.1
http/1.1 Http/1.1 HTTPS/1.1 HTTP1.1 ICY/1.1 1.1 ZQCANARY
""".split()
UNKNOWN_METHODS = "CONNECT TRACK QUERY PROPFIND MKCOL LINK PURGE POSTX BREW PRI ZQCANARY".split()
PROTOCOLS = {
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "target"),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", "request_line"),
    "the PROXY protocol 1": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "request_line"),
    "the PROXY protocol 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\1\1\1\2\2\2\2\0\1\0\2", "request_line"),
    "SSH": (b"SSH-2.0-ZQCANARY\r\n", "request_line"),
    "SMTP": (b"EHLO ZQCANARY\r\n", "request_line"),
    "SOCKS 4": (b"\x04\x01\0\x50\x7f\0\0\1ZQCANARY\0", "request_line"),
    "SOCKS 5": (b"\x05\x02\0\x02", "request_line"),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", "request_line"),
    "PostgreSQL": (b"\0\0\0\x08\x04\xd2\x16\x2f", "request_line"),
    "remote desktop": (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0", "request_line"),
    "RTSP": (b"OPTIONS rtsp://gate.example/ RTSP/1.0\r\n", "target"),
    "SIP": (b"INVITE sip:ZQCANARY@gate.example SIP/2.0\r\n", "target"),
    "zeros": (bytes(64), "request_line"),
    "ones": (b"\xff" * 64, "request_line"),
}


def _of_length(count: int) -> bytes:
    start, end = b"GET /" + CANARY, b" HTTP/1.1"
    return start + b"a" * (count - len(start) - len(end)) + end


CASES: tuple[Case, ...] = grouped(
    "request line",
    [
        *(turned_away(name, get(line=line), 400, "request_line") for name, line in SHAPES.items()),
        *(
            turned_away(f"target {name}", get(line=b"GET %b HTTP/1.1" % one), 400, "target")
            for name, one in TARGETS.items()
        ),
        turned_away("no target", get(line=b"GET  HTTP/1.1"), 400, "target"),
        turned_away("OPTIONS of an asterisk", get(line=b"OPTIONS * HTTP/1.1"), 400, "target"),
        *(
            turned_away(f"version {one}", get(line=b"GET /api/version " + one.encode()), 505, "version")
            for one in VERSIONS
        ),
        turned_away("an empty version", get(line=b"GET /api/version "), 505, "version"),
        *(
            turned_away(f"method {one}", get(line=one.encode() + b" /api/version HTTP/1.1"), 501, "method")
            for one in UNKNOWN_METHODS
        ),
        turned_away("CONNECT to an authority", get(line=b"CONNECT evil.example:443 HTTP/1.1"), 501, "method"),
        turned_away("a method of 9 KB", get(line=b"G" * 9000 + b" / HTTP/1.1"), 414, "target_too_long"),
        turned_away("a target of 9 KB", get(line=b"GET /%b HTTP/1.1" % (b"a" * 9000)), 414, "target_too_long"),
        turned_away("a byte too long", get(line=_of_length(LONGEST_LINE + 1)), 414, "target_too_long"),
        answered_no("as long as it may be", get(line=_of_length(LONGEST_LINE)), NO_ROUTE),
        turned_away("a return within", get(line=b"GET /api/version\r HTTP/1.1"), 400, "line_end"),
        turned_away("a line feed within", get(line=b"GET /api/version\n HTTP/1.1"), 400, "line_end"),
        turned_away("a second return at the end", get(line=b"GET /api/version HTTP/1.1\r"), 400, "line_end"),
        *(
            Case(name, raw + MARK + b"\r\n\r\n", (bytes_refused(400, reason),))
            for name, (raw, reason) in PROTOCOLS.items()
        ),
        served("HTTP/1.0", get(line=b"GET /api/version HTTP/1.0"), stays_open=False),
        served("HTTP/1.0 without Host", text_of((b"GET /api/version HTTP/1.0", AUTH, MARK)), stays_open=False),
        served("HTTP/1.0 kept open", get(b"Connection: keep-alive", line=b"GET /api/version HTTP/1.0")),
        served("HTTP/1.1 closed", get(b"Connection: close"), stays_open=False),
        turned_away("HTTP/1.1 without Host", text_of((b"GET /api/version HTTP/1.1", AUTH, MARK)), 400, "host"),
        *(
            answered_no(
                f"method {one} where it is wrong",
                get(b"Content-Length: 0", line=one.encode() + b" /api/version HTTP/1.1"),
                call_refused(405, "wrong_method"),
            )
            for one in "POST PUT PATCH DELETE OPTIONS TRACE".split()
        ),
    ],
)
