import pytest
from multidict import CIMultiDict

from proxy.web import cors

PAGE, OTHER = "https://chat.example", "https://evil.example"
ORIGINS = (PAGE, "http://localhost:3000")
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", PREFLIGHT, True),
        ("OPTIONS", {"origin": "null", "access-control-request-method": "DELETE"}, True),
        ("OPTIONS", {"Origin": PAGE}, False),
        ("OPTIONS", {"Access-Control-Request-Method": "POST"}, False),
        ("POST", PREFLIGHT, False),
        ("GET", {}, False),
    ],
)
def test_a_preflight_is_told_from_other_requests(method: str, headers: dict[str, str], expected: bool) -> None:
    assert expected is cors.is_preflight(method, CIMultiDict(headers))


@pytest.mark.parametrize(
    ("origin", "origins", "expected"),
    [
        (PAGE, ORIGINS, True),
        (OTHER, ORIGINS, False),
        (PAGE, (), False),
        (None, ORIGINS, False),
        (None, ("*",), False),
        (OTHER, ("*",), True),
        ("null", ("*",), True),
        ("null", ORIGINS, False),
        (f"{PAGE}:443", ORIGINS, False),
        (f"{PAGE}.evil.example", ORIGINS, False),
        ("http://chat.example", ORIGINS, False),
        ("", ORIGINS, False),
        ("*", ORIGINS, False),
    ],
)
def test_an_origin_is_allowed_to_the_letter_and_by_default_none_is(
    origin: str | None, origins: tuple[str, ...], expected: bool
) -> None:
    assert expected is cors.allows(origin, origins)
    assert expected is ("Access-Control-Allow-Origin" in cors.on_answers(origin, origins))
    assert expected is bool(cors.on_preflight({"Origin": origin} if origin is not None else {}, origins))


def test_an_allowed_page_may_read_the_answer_and_our_own_header_fields() -> None:
    told = cors.on_answers(PAGE, ORIGINS)

    assert (PAGE, "Origin") == (told["Access-Control-Allow-Origin"], told["Vary"])
    assert {
        "X-Request-Id", "X-Llamagate-Changed", "X-Llamagate-Prompt-Cut", "X-Llamagate-Prompt-Logged",
        "Retry-After", "Retry-After-Ms",
        "RateLimit", "RateLimit-Policy",
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
    } == set(told["Access-Control-Expose-Headers"].split(", "))  # fmt: skip


def test_any_page_is_named_and_never_a_star() -> None:
    assert OTHER == cors.on_answers(OTHER, ("*",))["Access-Control-Allow-Origin"]


@pytest.mark.parametrize("origins", [(), ORIGINS, ("*",)])
@pytest.mark.parametrize("origin", [PAGE, OTHER])
def test_no_cookie_is_ever_allowed(origin: str, origins: tuple[str, ...]) -> None:
    told = {**cors.on_answers(origin, origins), **cors.on_preflight({**PREFLIGHT, "Origin": origin}, origins)}

    assert "Access-Control-Allow-Credentials" not in told


@pytest.mark.parametrize(
    ("origin", "origins", "told"),
    [(OTHER, ORIGINS, {"Vary": "Origin"}), (None, ORIGINS, {"Vary": "Origin"}), (PAGE, (), {}), (None, (), {})],
)
def test_a_cache_is_told_where_the_answer_would_differ(
    origin: str | None, origins: tuple[str, ...], told: dict[str, str]
) -> None:
    assert told == cors.on_answers(origin, origins)


def test_a_preflight_is_told_what_the_page_may_do() -> None:
    asked = "authorization,content-type,x-stainless-os"

    assert {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": "600",
        "Vary": "Origin, Access-Control-Request-Headers",
    } == cors.on_preflight({**PREFLIGHT, "Access-Control-Request-Headers": asked}, ORIGINS)


def headers_allowed(asked: str) -> str:
    return cors.on_preflight({**PREFLIGHT, "Access-Control-Request-Headers": asked}, ORIGINS)[
        "Access-Control-Allow-Headers"
    ]


@pytest.mark.parametrize(
    "asked",
    [
        "authorization",
        "Authorization, Content-Type",
        "x-api-key,x_custom , anthropic-version",
        "x-1",
    ],
)
def test_a_list_of_header_names_is_said_again(asked: str) -> None:
    assert asked == headers_allowed(asked)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        ",",
        "x-a,",
        "x-a,,x-b",
        "*",
        "x a",
        "x:a",
        "x-a\r\nSet-Cookie: a=b",
        "x-a\x00",
        "x-a\n",
        "x-a,\tx-b",
        "x-a\nx-b",
        "x-k\u00e4se",
        "\u0660",
        "x" * 1025,
        "(x)",
        '"x"',
    ],
)
def test_what_is_no_list_of_header_names_is_not_said_again(asked: str) -> None:
    assert "authorization, content-type" == headers_allowed(asked)


def test_without_its_list_of_header_names_a_page_may_say_who_asks() -> None:
    assert "authorization, content-type" == cors.on_preflight(PREFLIGHT, ORIGINS)["Access-Control-Allow-Headers"]
