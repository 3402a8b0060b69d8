import pytest

from proxy.backends.heads import passed_on, understood
from proxy.errors import BackendFailed
from proxy.policy.endpoints import find
from tests.fakes.answers import NDJSON, SSE

CHAT = find("POST", "/api/chat")[0]
VERSION = find("GET", "/api/version")[0]
HEALTH = find("HEAD", "/")[0]
JSON = (b"Content-Type", b"application/json; charset=utf-8")
Field = tuple[bytes, bytes]


@pytest.mark.parametrize(
    ("fields", "length", "in_chunks"),
    [
        ([(b"Content-Length", b"12")], 12, False),
        ([(b"CONTENT-LENGTH", b" 0012\t")], 12, False),
        ([(b"Transfer-Encoding", b"Chunked")], None, True),
        ([(b"Content-Encoding", b"identity"), (b"Content_Length", b"x")], None, False),
        ([], None, False),
    ],
)
def test_the_length_is_told_in_one_way(fields: list[Field], length: int | None, in_chunks: bool) -> None:
    head = understood((1, 1), b"OK", fields)

    assert (length, in_chunks) == (head.length, head.in_chunks)
    assert (length is None and not in_chunks) == head.ends_with_the_connection


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"2"), (b"Content-Length", b"2")],
        [(b"Content-Length", b"2"), (b"content-length", b"3")],
        [(b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"2, 2")],
        [(b"Content-Length", b"+2")],
        [(b"Content-Length", b"1_0")],
        [(b"Content-Length", b"0x2")],
        [(b"Content-Length", b"\xd9\xa2")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"9" * 19)],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"identity")],
        [(b"Transfer-Encoding", b"\x0bchunked")],
        [(b"Transfer-Encoding", b"")],
        [(b"Content-Encoding", b"gzip")],
        [(b"Content-Encoding", b"identity, gzip")],
        [(b"Content-Encoding", b"")],
        [(b"X-A", b"a\r\nSet-Cookie: b")],
        [(b"X-A", b"a\x00")],
        [(b"X-A", b"\x7f")],
        [(b"X A", b"a")],
        [(b"X-A ", b"a")],
        [(b"", b"a")],
        [(b"X-\xc3\xa9", b"a")],
    ],
)
def test_a_head_with_two_meanings_or_none_is_no_answer(fields: list[Field]) -> None:
    with pytest.raises(BackendFailed):
        understood((1, 1), b"OK", fields)


@pytest.mark.parametrize(("version", "reason"), [((0, 9), b""), ((2, 0), b""), ((1, 2), b""), ((1, 1), b"O\rK")])
def test_another_protocol_is_no_answer(version: tuple[int, int], reason: bytes) -> None:
    with pytest.raises(BackendFailed):
        understood(version, reason, [])


def test_chunks_are_unknown_to_the_older_protocol() -> None:
    with pytest.raises(BackendFailed):
        understood((1, 0), b"OK", [(b"Transfer-Encoding", b"chunked")])


def test_only_what_is_on_the_list_goes_on() -> None:
    fields = [JSON, (b"Content-Length", b"007"), (b"Set-Cookie", b"a=b"), (b"X-A", b"caf\xe9"), (b"Server", b"x")]
    told = passed_on(understood((1, 1), b"OK", fields), CHAT)

    assert {"content-type": "application/json; charset=utf-8", "content-length": "7"} == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([b"no-cache"], "no-cache"),
        ([b"No-Store, private"], "no-store, private"),
        ([b"no-store", b"no-transform"], "no-store, no-transform"),
        ([b"public, max-age=60"], None),
        ([b"no-cache, s-maxage=60"], None),
        ([b"no-store\xff"], None),
        ([b""], None),
    ],
)
def test_no_cache_is_told_to_keep_an_answer(said: list[bytes], told: str | None) -> None:
    head = understood((1, 1), b"OK", [JSON, *((b"Cache-Control", one) for one in said)])

    assert told == passed_on(head, CHAT).get("cache-control")


@pytest.mark.parametrize(
    "kind", ["application/json", NDJSON, SSE, "Text/Plain; charset=utf-8", "application/octet-stream"]
)
def test_the_kinds_that_ollama_answers_go_on(kind: str) -> None:
    head = understood((1, 1), b"OK", [(b"Content-Type", kind.encode())])

    assert kind == passed_on(head, CHAT)["content-type"]


@pytest.mark.parametrize(
    "kinds", [[b"text/html"], [b"image/svg+xml"], [b""], [b"text/plain\xff"], [b"text/plain", b"text/plain"]]
)
def test_any_other_kind_is_no_answer(kinds: list[bytes]) -> None:
    head = understood((1, 1), b"OK", [(b"Content-Type", kind) for kind in kinds])

    with pytest.raises(BackendFailed):
        passed_on(head, CHAT)


def test_what_ends_with_the_connection_goes_on_only_where_its_last_words_prove_it_whole() -> None:
    head = understood((1, 1), b"OK", [JSON])

    assert {"content-type": "application/json; charset=utf-8"} == passed_on(head, CHAT) == passed_on(head, HEALTH)
    with pytest.raises(BackendFailed):
        passed_on(head, VERSION)
