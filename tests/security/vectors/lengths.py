"""How long a body is: Content-Length and Transfer-Encoding, apart and together (RFC 9112 §6)."""

from tests.security.vectors.case import (
    CANARY,
    CHAT,
    CHAT_CALL,
    NEXT,
    POST,
    SERVED,
    VERSION,
    Case,
    answered_no,
    bytes_refused,
    call_refused,
    get,
    grouped,
    post,
    served,
    turned_away,
)

SMUGGLED = b"0\r\n\r\n" + NEXT
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT)
LENGTH = b"Content-Length: %d" % len(CHAT)

NO_LENGTHS = {
    "two numbers": b"2, 2",
    "two numbers that differ": b"2, 3",
    "a plus": b"+2",
    "a minus": b"-1",
    "hexadecimal": b"0x2",
    "an underscore": b"1_0",
    "a blank within": b"2 2",
    "empty": b"",
    "only blanks": b" \t ",
    "a leading zero": b"02",
    "several zeros": b"000",
    "a fraction": b"2.0",
    "an exponent": b"2e1",
    "a letter": b"2a",
    "letters": b"ZQCANARY",
    "quotation marks": b'"2"',
    "a semicolon": b"2;a=b",
    "a comma at the end": b"2,",
    "a comma before": b",2",
    "17 digits": b"1" * 17,
    "20 digits": b"9" * 20,
    "2 to the 64 and 2": b"18446744073709551618",
    "2 to the 32 and 2, with zeros": b"0004294967298",
    "Arabic digits": b"\xd9\xa2",
    "fullwidth digits": b"\xef\xbc\x92",
    "superscript in Latin-1": b"\xb2",
    "a no-break space": b"\xa02",
}
CODINGS = {
    "xchunked": b"xchunked",
    "chunkedx": b"chunkedx",
    "in quotation marks": b'"chunked"',
    "a comma at the end": b"chunked,",
    "a comma before": b", chunked",
    "identity": b"identity",
    "identity, chunked": b"identity, chunked",
    "chunked, identity": b"chunked, identity",
    "gzip": b"gzip",
    "gzip, chunked": b"gzip, chunked",
    "chunked, gzip": b"chunked, gzip",
    "chunked, chunked": b"chunked, chunked",
    "a parameter": b"chunked;q=1",
    "a blank within": b"chun ked",
    "empty": b"",
    "a no-break space": b"\xa0chunked",
    "a long s": b"chunked\xc5\xbf",
    "the Kelvin sign": b"chun\xe2\x84\xaaed",
    "letters": b"ZQCANARY",
    "null": b"null",
}
BOTH = {
    "length first": (b"Content-Length: 6", CHUNKED),
    "coding first": (CHUNKED, b"Content-Length: 6"),
    "length of the chunks": (CHUNKED, b"Content-Length: 5"),
    "length of nothing": (CHUNKED, b"Content-Length: 0"),
    "length that is none": (CHUNKED, b"Content-Length: x"),
    "coding that is none": (b"Transfer-Encoding: x", b"Content-Length: 5"),
    "identity": (b"Transfer-Encoding: identity", b"Content-Length: 5"),
}
TWICE = {
    "equal lengths": (b"Content-Length: 5", b"Content-Length: 5"),
    "lengths that differ": (b"Content-Length: 5", b"Content-Length: 6"),
    "lengths in other letters": (b"Content-Length: 5", b"CONTENT-LENGTH: 5"),
    "lengths far apart": (b"Content-Length: 5", b"X-A: 1", b"Content-Length: 0"),
    "codings": (CHUNKED, CHUNKED),
    "codings that differ": (CHUNKED, b"Transfer-Encoding: identity"),
    "codings in other letters": (CHUNKED, b"TRANSFER-ENCODING: chunked"),
}
DISGUISED = {
    "a space before the colon of the coding": b"Transfer-Encoding : chunked",
    "a space before the name of the coding": b" Transfer-Encoding: chunked",
    "the coding folded": b"Transfer-Encoding:\r\n chunked",
    "a vertical tab before the coding": b"Transfer-Encoding:\x0bchunked",
    "a form feed before the coding": b"Transfer-Encoding:\x0cchunked",
    "a NUL after the coding": b"Transfer-Encoding: chunked\0",
    "a vertical tab before the length": b"Content-Length: \x0b5",
    "a space before the colon of the length": b"Content-Length : 5",
    "an underscore in the coding": b"Transfer_Encoding: chunked",
    "an underscore in the length": b"Content_Length: 99",
}


def _chunked(*fields: bytes, line: bytes = POST) -> bytes:
    return get(*fields, line=line) + CHUNKS


CASES: tuple[Case, ...] = grouped(
    "lengths",
    [
        *(
            turned_away(f"length: {name}", get(b"Content-Length: " + one, line=POST) + b"hi", 400, "content_length")
            for name, one in NO_LENGTHS.items()
        ),
        *(
            turned_away(f"GET with length: {name}", get(b"Content-Length: " + NO_LENGTHS[name]), 400, "content_length")
            for name in ("a plus", "a minus", "empty", "20 digits")
        ),
        *(
            turned_away(
                f"coding: {name}", get(b"Transfer-Encoding: " + one, line=POST) + SMUGGLED, 400, "transfer_encoding"
            )
            for name, one in CODINGS.items()
        ),
        *(
            turned_away(f"both: {name}", get(*fields, line=POST) + SMUGGLED, 400, "two_lengths")
            for name, fields in BOTH.items()
        ),
        *(
            turned_away(f"twice: {name}", get(*fields, line=POST) + SMUGGLED, 400, "field_twice")
            for name, fields in TWICE.items()
        ),
        *(
            turned_away(f"disguised: {name}", get(LENGTH, one, line=POST) + CHAT, 400, "field")
            for name, one in DISGUISED.items()
        ),
        turned_away("chunks in HTTP/1.0", _chunked(CHUNKED, line=b"POST /api/chat HTTP/1.0"), 400, "transfer_encoding"),
        turned_away(
            "chunks and a length in HTTP/1.0",
            _chunked(CHUNKED, LENGTH, line=b"POST /api/chat HTTP/1.0"),
            400,
            "two_lengths",
        ),
        turned_away("a POST without either", get(line=POST), 411, "no_length"),
        turned_away("a POST without either in HTTP/1.0", get(line=b"POST /api/chat HTTP/1.0") + CHAT, 411, "no_length"),
        turned_away("a POST without either, and a body", get(line=POST) + CHAT, 411, "no_length"),
        *(
            turned_away(f"chunks with {one}", _chunked(CHUNKED, line=one.encode() + VERSION[3:]), 400, "body_unasked")
            for one in "GET HEAD DELETE TRACE".split()
        ),
        turned_away(
            "a body with TRACE", get(b"Content-Length: 8", line=b"TRACE / HTTP/1.1") + CANARY, 400, "body_unasked"
        ),
        served("a length", post(CHAT), CHAT_CALL),
        served(
            "a length with blanks around it",
            get(LENGTH.replace(b": ", b": \t  ") + b" \t", line=POST) + CHAT,
            CHAT_CALL,
        ),
        served("a length in capitals", get(LENGTH.upper(), line=POST) + CHAT, CHAT_CALL),
        served("chunks", _chunked(CHUNKED), CHAT_CALL),
        served("chunks in mixed letters", _chunked(b"Transfer-Encoding: ChUnKeD"), CHAT_CALL),
        served("chunks with a tab before", _chunked(b"Transfer-Encoding:\tchunked"), CHAT_CALL),
        served(
            "a length that Connection names", get(LENGTH, b"Connection: Content-Length", line=POST) + CHAT, CHAT_CALL
        ),
        served("a GET with a length of nothing", get(b"Content-Length: 0")),
        served("a length that comes last", get(b"X-A: 1", b"X-B: 2", LENGTH, line=POST) + CHAT, CHAT_CALL),
        answered_no("a length of nothing", get(b"Content-Length: 0", line=POST), call_refused(400, "invalid_request")),
        Case(
            "a good length, and no request after it",
            post(CHAT) + b"\0" + NEXT,
            (SERVED, bytes_refused(400, "request_line")),
            (CHAT_CALL,),
        ),
        Case(
            "a length shorter than the body",
            get(b"Content-Length: %d" % (len(CHAT) - 3), line=POST) + CHAT + NEXT,
            (call_refused(400, "invalid_request"), bytes_refused(400, "request_line")),
        ),
    ],
)
