import re

import pytest

from proxy.web.written import Frame, Written

FIELDS = {"content-type": "text/plain", "Server": "llamagate"}


def frame(fields: dict[str, str] = FIELDS, **how: bool) -> Frame:
    return Frame(200, fields, **{"is_1_1": True, "keeps_alive": True, "is_bodiless": False, **how})


def told(one: Frame) -> dict[str, str]:
    line, *fields = one.head.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert line in ("HTTP/1.1 200 OK", "HTTP/1.0 200 OK")
    return dict(field.split(": ", 1) for field in fields)


def test_an_answer_whose_length_nobody_knows_comes_in_chunks() -> None:
    one = frame()

    assert "chunked" == told(one)["Transfer-Encoding"]
    assert (b"2\r\nhi\r\n", b"", b"0\r\n\r\n") == (one.piece(b"hi"), one.piece(b""), one.end())
    assert one.keeps_alive
    assert not one.has_length


def test_an_answer_with_a_length_has_exactly_that() -> None:
    one = frame({**FIELDS, "content-length": "4"})

    assert ("4", False) == (told(one)["content-length"], "Transfer-Encoding" in told(one))
    assert (b"hi", b"yo", b"") == (one.piece(b"hi"), one.piece(b"yo"), one.end())
    with pytest.raises(ValueError, match="longer"):
        one.piece(b"!")


def test_less_than_was_promised_is_no_end() -> None:
    one = frame({"content-length": "4"})
    one.piece(b"hi")

    with pytest.raises(ValueError, match="shorter"):
        one.end()


def test_http_1_0_has_no_chunks_and_ends_with_the_connection_where_there_is_no_length() -> None:
    one, sized = frame(is_1_1=False), frame({"content-length": "2"}, is_1_1=False)

    assert (False, False, b"hi", b"") == (one.is_chunked, one.keeps_alive, one.piece(b"hi"), one.end())
    assert "Connection" not in told(one)
    assert (True, "keep-alive") == (sized.keeps_alive, told(sized)["Connection"])


def test_a_connection_that_ends_is_told_so() -> None:
    assert "close" == told(frame(keeps_alive=False))["Connection"]
    assert "Connection" not in told(frame())


def test_an_answer_to_head_has_no_body_whatever_its_length() -> None:
    one, sized = frame(is_bodiless=True), frame({"content-length": "4"}, is_bodiless=True)

    assert (b"", b"", True, False) == (one.piece(b"hi"), one.end(), one.keeps_alive, one.is_chunked)
    assert ("4", b"", b"") == (told(sized)["content-length"], sized.piece(b"hi"), sized.end())


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\n", "\r"])
def test_a_field_that_would_be_two_is_never_sent(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        frame({"X-Llamagate-Changed": value})


def test_every_answer_has_its_date() -> None:
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", told(frame())["Date"])


@pytest.mark.parametrize("keeps_alive", [True, False])
def test_aiohttp_learns_whether_the_connection_is_still_good(keeps_alive: bool) -> None:
    assert keeps_alive == Written(keeps_alive=keeps_alive).keep_alive
