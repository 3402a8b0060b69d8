import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.web.framing import (
    FREE_CHUNKING,
    LARGEST_HEAD,
    LONGEST_LINE,
    MOST_FIELDS,
    Framing,
    NotHttp,
    Reason,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: gate.example\r\n\r\n"
BOUND = 1000
AUTH = b"Authorization: Bearer sk\r\n"


def head(*fields: str | bytes, line: str = "POST /api/chat HTTP/1.1", host: str = "gate.example") -> bytes:
    lines = [line.encode("latin-1"), *([f"Host: {host}".encode("latin-1")] if host else [])]
    lines += [field.encode("latin-1") if isinstance(field, str) else field for field in fields]
    return b"".join(one + b"\r\n" for one in (*lines, b""))


def outcome(pieces: list[bytes], bound: int = BOUND, most_requests: int = 1000) -> tuple[bytes, Reason | None]:
    """What goes on, and why no more does."""
    framing = Framing(lambda target: bound, most_requests)
    passed = bytearray()
    for piece in pieces:
        try:
            passed += framing.feed(piece)
        except NotHttp as refusal:
            assert b"" == framing.feed(b"more")
            return bytes(passed) + refusal.passed, refusal.why
    return bytes(passed), None


def why(data: bytes) -> Reason | None:
    return outcome([data])[1]


GOOD = {
    "a get": GET,
    "two": GET + GET,
    "HTTP/1.0 without a host": b"GET / HTTP/1.0\r\n\r\n",
    "a body of a length": head("Content-Length: 5") + b"hello" + GET,
    "a body of nothing": head("Content-Length: 0") + GET,
    "chunks": head("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0a\r\n0123456789\r\n0\r\n\r\n" + GET,
    "chunks in other letters": head("tRANSFER-eNCODING:\tChUnKeD ") + b"A\r\n0123456789\r\n000\r\n\r\n" + GET,
    "a body on a get": head("Content-Length: 47", line="GET / HTTP/1.1") + GET + GET,
    "a body on a delete": head("Content-Length: 2", line="DELETE /api/delete HTTP/1.1") + b"{}",
    "an expectation": head("Content-Length: 2", "Expect: 100-Continue") + b"{}",
    "an IPv6 host": head("Content-Length: 0", host="[::1]:11435"),
    "an IPv4 host": head("Content-Length: 0", host="127.0.0.1:0"),
    "a host with a dot at its end": head("Content-Length: 0", host="localhost.:65535"),
    "a host of a container": head("Content-Length: 0", host="the_gate"),
    "connection twice": head("Content-Length: 0", "Connection: keep-alive", "Connection: X-Nominated"),
    "a bad byte in a credential": head("Content-Length: 0", b"Authorization: Bearer \xff", b"X-Api-Key:\xa0"),
    "no value": head("Content-Length: 0", "Authorization:"),
    "every sign of a target": head("Content-Length: 0", line="POST /!$%&'()*+,-./09:;=?@AZ[]_az~ HTTP/1.1"),
    "the longest line": head("Content-Length: 0", "X: " + "a" * (LONGEST_LINE - 3)),
    "the most fields": head("Content-Length: 0", *["X: 1"] * (MOST_FIELDS - 2)),
    "the largest head": (large := head("Content-Length: 0", *["X: " + "a" * 8000] * 4, "Y: "))[:-4]
    + b"b" * (LARGEST_HEAD - len(large))
    + b"\r\n\r\n",
    "the largest body": head(f"Content-Length: {BOUND}") + b"x" * BOUND,
}


@pytest.mark.parametrize("what", GOOD)
def test_what_has_one_meaning_goes_on_as_it_came(what: str) -> None:
    assert (GOOD[what], None) == outcome([GOOD[what]])


CLOSING = {
    "close": head("Content-Length: 2", "Connection: close") + b"hi",
    "close among others": head("Connection: keep-alive, CLOSE", line="GET / HTTP/1.1"),
    "HTTP/1.0": head(line="GET / HTTP/1.0"),
}


@pytest.mark.parametrize("what", CLOSING)
def test_nothing_goes_on_after_the_last_request(what: str) -> None:
    assert (CLOSING[what], None) == outcome([CLOSING[what] + GET + b"\0", GET])


def test_http_1_0_may_go_on_where_it_says_so() -> None:
    asked = head("Connection: Keep-Alive", line="GET / HTTP/1.0")

    assert (asked + asked, None) == outcome([asked + asked])


def test_after_the_most_requests_nothing_goes_on() -> None:
    assert (GET * 3, None) == outcome([GET * 5, GET], most_requests=3)


def in_chunks(*chunks: bytes) -> bytes:
    return head("Transfer-Encoding: chunked") + b"".join(chunks)


BAD: dict[str, tuple[Reason, bytes]] = {
    # threats 1 to 4
    "length and chunks": (Reason.TWO_LENGTHS, head("Content-Length: 6", "Transfer-Encoding: chunked")),
    "chunks and length": (Reason.TWO_LENGTHS, head("Transfer-Encoding: chunked", "Content-Length: 6")),
    "two lengths": (Reason.FIELD_TWICE, head("Content-Length: 2", "Content-Length: 3")),
    "one length twice": (Reason.FIELD_TWICE, head("Content-Length: 2", "content-length: 2")),
    **{
        f"length {length!r}": (Reason.LENGTH, head(f"Content-Length: {length}"))
        for length in ("2, 2", "+2", "-1", "0x2", "1_0", "2 2", "", "9" * 17, "\xd9\xa2", "02", "2.0", "2;")
    },
    **{
        f"coding {coding!r}": (Reason.CODING, head(f"Transfer-Encoding: {coding}"))
        for coding in (
            *("xchunked", '"chunked"', "chunked,", ",chunked", "chunked, identity", "identity", "identity, chunked"),
            *("gzip, chunked", "gzip", "", "chunked;q=1", "chunked chunked", "\xa0chunked"),
        )
    },
    "two codings": (Reason.FIELD_TWICE, head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
    "a blank before the colon": (Reason.FIELD, head("Transfer-Encoding : chunked")),
    "a blank before the name": (Reason.FIELD, head(" Transfer-Encoding: chunked")),
    "a vertical tab": (Reason.FIELD, head("Transfer-Encoding:\x0bchunked")),
    "a fold": (Reason.FIELD, head("Transfer-Encoding:", " chunked")),
    "chunks in HTTP/1.0": (Reason.CODING, head("Transfer-Encoding: chunked", line="POST / HTTP/1.0")),
    # threats 5 and 6
    **{
        f"{name} with an underscore": (Reason.FIELD, head("Content-Length: 0", f"{name}: 1"))
        for name in ("Transfer_Encoding", "Content_Length", "X_Forwarded_For", "X_Api_Key", "_", "X-A_")
    },
    "a folded field": (Reason.FIELD, head("X: 1", "\t2")),
    "bare line feeds": (Reason.LINE_END, b"GET / HTTP/1.1\nHost: a\n\n"),
    "one bare line feed": (Reason.LINE_END, head("X: 1\nY: 2", "Content-Length: 0")),
    "one bare carriage return": (Reason.LINE_END, head("X: 1\rY: 2", "Content-Length: 0")),
    "two carriage returns": (Reason.LINE_END, b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    "a carriage return at the end": (Reason.LINE_END, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    **{
        f"byte {byte:#x} in a value": (Reason.FIELD, head(f"X: a{chr(byte)}b", "Content-Length: 0"))
        for byte in (0, 1, 8, 11, 12, 14, 27, 31, 127)
    },
    **{
        f"{sign!r} in a name": (Reason.FIELD, head(f"X{sign}: 1", "Content-Length: 0"))
        for sign in '"(),/;<=>?@[\\]{} \t\xe9\0'
    },
    "no name": (Reason.FIELD, head(": 1")),
    "no colon": (Reason.FIELD, head("CANARY")),
    # threat 7 to 9
    **{
        f"size {size!r}": (Reason.CHUNK, in_chunks(size + b"\r\nhi\r\n0\r\n\r\n"))
        for size in (b"", b"0x2", b"+2", b"-2", b" 2", b"2 ", b"f" * 17, b"000000002", b"2;", b"2;a=b", b"g", b"\t2")
    },
    "chunks of bare line feeds": (Reason.CHUNK, in_chunks(b"2\nhi\n0\n\n     ")),
    "a chunk that is longer than it says": (Reason.CHUNK, in_chunks(b"2\r\nhix\r\n0\r\n\r\n")),
    "a chunk that ends with a line feed": (Reason.CHUNK, in_chunks(b"2\r\nhi\n0\r\n\r\n")),
    "a chunk that ends with a carriage return": (Reason.CHUNK, in_chunks(b"2\r\nhi\r0\r\n\r\n")),
    "an extension with a line feed": (Reason.CHUNK, in_chunks(b"2;\nxx\r\nhi\r\n0\r\n\r\n")),
    "an endless extension": (Reason.CHUNK, in_chunks(b"1;" + b"a" * 100_000)),
    "a trailer": (Reason.TRAILER, in_chunks(b"0\r\nAuthorization: Bearer admin\r\n\r\n")),
    "a length in the trailer": (Reason.TRAILER, in_chunks(b"2\r\nhi\r\n0\r\nContent-Length: 9\r\n\r\n")),
    "an end of a line feed": (Reason.TRAILER, in_chunks(b"0\r\n\n")),
    # threat 11
    "a post without a length": (Reason.NO_LENGTH, head()),
    "a get in chunks": (Reason.BODY, head("Transfer-Encoding: chunked", line="GET / HTTP/1.1")),
    "a delete in chunks": (Reason.BODY, head("Transfer-Encoding: chunked", line="DELETE / HTTP/1.1")),
    "a trace with a body": (Reason.BODY, head("Content-Length: 1", line="TRACE / HTTP/1.1")),
    # threats 14, 20 and 21
    **{
        f"line {line!r}": (Reason.REQUEST_LINE, head(line=line))
        for line in (
            *(
                "GET  / HTTP/1.1",
                "GET\t/ HTTP/1.1",
                "GET /",
                "GET",
                "GET / HTTP/1.1 ",
                "get / HTTP/1.1",
                "GeT / HTTP/1.1",
            ),
            *("P OST / HTTP/1.1", "A" * 17 + " / HTTP/1.1", "GET / x HTTP/1.1", "\xd6 / HTTP/1.1", "G\xd6 / HTTP/1.1"),
            *("1 / HTTP/1.1", "GE-T / HTTP/1.1", "CANARY"),
        )
    },
    **{
        f"target {target!r}": (Reason.TARGET, head(line=f"GET {target} HTTP/1.1"))
        for target in (
            *("http://evil.example/api/tags", "http:/api", "https://u:p@e/", "*", "evil.example:443", "v1/models"),
            *(
                "/v1/models#/x",
                "/api\\pull",
                '/"',
                "/<",
                "/>",
                "/{",
                "/}",
                "/|",
                "/^",
                "/`",
                "/\x7f",
                "/\xff",
                "/\0",
                "",
            ),
        )
    },
    "a tunnel": (Reason.METHOD, head(line="CONNECT evil.example:443 HTTP/1.1")),
    "a tunnel to a path": (Reason.METHOD, head(line="CONNECT / HTTP/1.1")),
    "an unknown method": (Reason.METHOD, head(line="PROPFIND / HTTP/1.1")),
    **{
        f"version {version!r}": (Reason.VERSION, head(line=f"GET / {version}"))
        for version in (
            *("HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "http/1.1", "HTTPS/1.1", "HTTP/1", "", "HTTP/01.1"),
            *("HTTP/1.10", "HTTP/1,1"),
        )
    },
    "the preface of HTTP/2": (Reason.TARGET, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "empty lines first": (Reason.REQUEST_LINE, b"\r\n\r\n" + GET),
    "an empty line between": (Reason.REQUEST_LINE, GET + b"\r\n" + GET),
    "TLS": (Reason.REQUEST_LINE, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "a preamble": (Reason.REQUEST_LINE, b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET),
    "a long target": (Reason.TARGET_TOO_LONG, head(line="GET /" + "a" * 9000 + " HTTP/1.1")),
    # threat 15
    **{
        f"expecting {what!r}": (Reason.EXPECT, head("Content-Length: 2", f"Expect: {what}"))
        for what in ("200-ok", "", "100-continue, 200-ok", "100 continue", "100-continue;")
    },
    "expecting twice": (
        Reason.FIELD_TWICE,
        head("Content-Length: 2", "Expect: 100-continue", "Expect: 100-continue"),
    ),
    # threat 17
    "an upgrade": (Reason.UPGRADE, head("Content-Length: 2", "Connection: Upgrade", "Upgrade: websocket")),
    "an upgrade alone": (Reason.UPGRADE, head("Content-Length: 0", "Upgrade: HTTP/2.0")),
    "an upgrade to one of two": (Reason.UPGRADE, head("Connection: upgrade", "Upgrade: h2c, websocket")),
    "two upgrades": (Reason.UPGRADE, head("Connection: upgrade", "Upgrade: h2c", "Upgrade: h2c")),
    "an upgrade in a list": (Reason.UPGRADE, head("Content-Length: 0", "Connection: close, upgrade")),
    # threat 18
    "a long field": (Reason.FIELDS_TOO_LARGE, head("Content-Length: 0", "X: " + "a" * (LONGEST_LINE - 2))),
    "a long name": (Reason.FIELDS_TOO_LARGE, head("Content-Length: 0", "a" * 8191 + ": 1")),
    "many fields": (Reason.FIELDS_TOO_LARGE, head("Content-Length: 0", *["X: 1"] * (MOST_FIELDS - 1))),
    "a large head": (Reason.FIELDS_TOO_LARGE, head("Content-Length: 0", *["X: " + "a" * 8000] * 5)),
    "a head of one byte too many": (
        Reason.FIELDS_TOO_LARGE,
        GOOD["the largest head"].replace(b"X: a", b"X: aa", 1),
    ),
    "an endless head": (Reason.FIELDS_TOO_LARGE, b"GET / HTTP/1.1\r\nX: " + b"a" * LARGEST_HEAD),
    # threat 25
    **{
        f"host {host!r}": (Reason.HOST, head("Content-Length: 0", "Host: " + host, host=""))
        for host in (
            *("a/../b?c#d@e", "a b", "", "a:99999", "a:65536", "\xff", "a@b", "a:", "a:1:2", "[::1", "::1", "[::g]"),
            *("[1.2.3.4]", "[]", "a,b", "a:-1", "a:000080", "[::1]x", "%61", "a" * 254, ":80", "a\tb", "a..b"),
        )
    },
    "no host": (Reason.HOST, head("Content-Length: 0", host="")),
    "a bad host in HTTP/1.0": (Reason.HOST, head("Content-Length: 0", host="a b", line="POST / HTTP/1.0")),
    "two hosts": (Reason.FIELD_TWICE, head("Content-Length: 0", "Host: gate.example")),
    "two types": (Reason.FIELD_TWICE, head("Content-Length: 0", "Content-Type: a/b", "Content-type: a/b")),
    "two codings of content": (
        Reason.FIELD_TWICE,
        head("Content-Length: 0", "Content-Encoding: zstd", "Content-Encoding: zstd"),
    ),
    # threat 8
    "a body past the bound": (Reason.BODY_TOO_LARGE, head("Content-Length: 5000") + b"x" * 5000),
    "chunks past the bound": (Reason.BODY_TOO_LARGE, in_chunks(b"fff\r\n" + b"x" * 4095)),
    "many chunks past the bound": (Reason.BODY_TOO_LARGE, in_chunks((b"64\r\n" + b"x" * 100 + b"\r\n") * 20)),
}


@pytest.mark.parametrize("what", BAD)
def test_what_could_be_read_two_ways_is_refused(what: str) -> None:
    reason, data = BAD[what]

    assert reason == why(data)
    assert reason == why(GET + data), "also where another request comes before"


def test_what_came_before_a_refusal_goes_on() -> None:
    started = head("Transfer-Encoding: chunked") + b"2\r\nhi\r\n"

    assert (GET, Reason.REQUEST_LINE) == outcome([GET + b"\r\n"])
    assert (GET + started, Reason.CHUNK) == outcome([GET + started + b"x\r\n"])


H2C = head(
    "Connection: Upgrade, HTTP2-Settings, close",
    "User-Agent: Java-http-client/21",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    "Upgrade: h2c",
    "Content-Length: 2",
)


def test_the_wish_for_http_2_is_taken_out_and_all_else_goes_on() -> None:
    kept = head("User-Agent: Java-http-client/21", "Content-Length: 2", "Connection: close")
    going_on = H2C.replace(b", close", b"")

    assert (kept + b"hi", None) == outcome([H2C + b"hi" + GET])
    assert (kept.replace(b"Connection: close\r\n", b"") + b"hi" + GET, None) == outcome([going_on + b"hi" + GET])
    for cut in range(len(going_on)):
        assert outcome([going_on + b"hi" + GET]) == outcome([going_on[:cut], going_on[cut:] + b"hi", GET])


def test_a_body_goes_on_up_to_one_byte_beyond_its_bound() -> None:
    long = head("Content-Length: 5000")

    assert (long + b"x" * (BOUND + 1), Reason.BODY_TOO_LARGE) == outcome([long, b"x" * 5000])


def test_the_bound_is_asked_for_by_target() -> None:
    asked = []

    def bound(target: bytes) -> int:
        asked.append(target)
        return 4

    framing = Framing(bound, 10)

    assert head("Content-Length: 4") + b"good" == framing.feed(head("Content-Length: 4") + b"good")
    assert [b"/api/chat"] == asked


def test_a_body_in_nothing_but_small_chunks_is_refused_long_before_its_bound() -> None:
    flood = in_chunks() + b"1\r\nx\r\n" * 100_000
    passed, reason = outcome([flood], bound=10**9)

    assert Reason.CHUNKS_TOO_SMALL == reason
    assert len(passed) < 2 * FREE_CHUNKING


def test_small_chunks_among_large_ones_go_on() -> None:
    body = (b"1\r\nx\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n") * 5000
    data = in_chunks(body, b"0\r\n\r\n")

    assert (data, None) == outcome([data], bound=10**9)


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_has_a_status_and_words_of_its_own(reason: Reason) -> None:
    refusal = NotHttp(reason)

    assert refusal.status in (400, 411, 413, 414, 417, 431, 501, 505)
    assert refusal.message.endswith(".")
    assert ("body_too_large" if reason is Reason.BODY_TOO_LARGE else "invalid_request") == refusal.code


def test_no_refusal_repeats_what_came() -> None:
    for _, data in BAD.values():
        with pytest.raises(NotHttp) as raised:
            Framing(lambda target: BOUND, 10).feed(data.replace(b"X", b"CANARY"))

        assert "CANARY" not in str(raised.value) + repr(raised.value)


STREAMS = [
    *GOOD.values(),
    *(data for _, data in BAD.values()),
    *CLOSING.values(),
    in_chunks(b"5\r\nhello\r\n0\r\n\r\n") + GET + head("Content-Length: 3") + b"abc" + b"bad",
]


@settings(max_examples=400)
@given(st.sampled_from(STREAMS), st.sampled_from(STREAMS), st.data())
def test_however_it_is_cut_the_same_goes_on(first: bytes, second: bytes, data: st.DataObject) -> None:
    stream = first + second
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert outcome([stream]) == outcome(pieces)


@pytest.mark.parametrize("stream", [one for one in STREAMS if len(one) < 400])
def test_byte_by_byte_the_same_goes_on(stream: bytes) -> None:
    assert outcome([stream]) == outcome([bytes([byte]) for byte in stream])


def changed(chance: random.Random) -> Iterator[bytes]:
    """Good streams with a few bytes changed, left out or put in."""
    signs = b'\r\n\t :;,/0123456789abcdefXx_\0\x7f\xff"#GETHOSTP.-+'
    for _ in range(3000):
        stream = bytearray(chance.choice([one for one in GOOD.values() if len(one) < 400]))
        for _ in range(chance.randint(1, 3)):
            place, sign = chance.randrange(len(stream)), chance.choice(signs)
            stream[place : place + chance.randint(0, 1)] = bytes([sign] * chance.randint(0, 2))
        yield bytes(stream)


def test_what_goes_on_is_always_a_beginning_of_what_came() -> None:
    chance = random.Random(20261126)
    for stream in changed(chance):
        cut = chance.randrange(len(stream))
        passed, reason = outcome([stream])

        assert stream.startswith(passed)
        assert (passed, reason) == outcome([stream[:cut], stream[cut:]])
