import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.redis_url import SHAPES, form, is_open_to_all, redis_address
from proxy.vocabulary import RedisAddress


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (RedisAddress((("h", 6379),)), "redis://h"),
        (RedisAddress((("h", 1),), number=2), "redis://h:1/2"),
        (RedisAddress((("::1", 6379),)), "redis://[::1]/"),
        (RedisAddress((("::1", 7),)), "redis://[::1]:7"),
        (RedisAddress((("2001:db8::1", 7000),), number=3), "redis://[2001:db8::1]:7000/3/"),
        (RedisAddress((("h", 6379),), "gate", "a:b"), "redis://gate:a:b@h"),
        (
            RedisAddress((("h", 6379),), "gate@home", "s:e/c@r#e?t%25+"),
            "redis://gate%40home:s%3Ae%2Fc%40r%23e%3Ft%2525+@h",
        ),
        (RedisAddress((("h", 6379),), "gate", "p@ss/:?", tls=True), "rediss://gate:p%40ss%2f:%3F@h/0"),
        (RedisAddress((("h", 6379),), password="hush"), "redis://:hush@h"),
        (RedisAddress((("a", 26379), ("b", 1)), service="main"), "redis+sentinel://a,b:1/main"),
        (
            RedisAddress((("a", 26379),), "u", "p", tls=True, number=3, service="main"),
            "rediss+sentinel://u:p@a:26379/main/3",
        ),
        (RedisAddress((("a", 6379), ("b", 1)), cluster=True), "redis+cluster://a,b:1"),
        (RedisAddress((("a", 6379), ("::1", 2)), cluster=True), "redis+cluster://a,[::1]:2/"),
        (RedisAddress((("a", 6379),), "u", "p", tls=True, cluster=True), "rediss+cluster://u:p@a"),
        (RedisAddress(socket="/run/redis.sock"), "unix:///run/redis.sock"),
        (RedisAddress(socket="/run/my redis@.sock"), "unix:///run/my%20redis%40.sock"),
        (RedisAddress((("h", 6379),), tls=True, authorities="/ca.pem"), "rediss://h?ssl_ca_certs=/ca.pem"),
        (
            RedisAddress((("h", 1),), "u", "p", tls=True, authorities="/my ca&.pem", number=2),
            "rediss://u:p@h:1/2?ssl_ca_certs=%2Fmy%20ca%26.pem",
        ),
        (
            RedisAddress((("a", 6379),), tls=True, authorities="/ca.pem", cluster=True),
            "rediss+cluster://a/?ssl_ca_certs=/ca.pem",
        ),
        (
            RedisAddress((("a", 26379),), password="p", service="main", sentinel_password="w@t/ch=+"),
            "redis+sentinel://:p@a/main?sentinel_password=w%40t/ch=+",
        ),
        (
            RedisAddress(
                (("a", 26379),),
                tls=True,
                authorities="/ca.pem",
                service="main",
                sentinel_user="watch",
                sentinel_password="hush",
            ),
            "rediss+sentinel://a/main?sentinel_password=hush&ssl_ca_certs=/ca.pem&sentinel_username=watch",
        ),
    ],
)
def test_a_redis_is_found_by_its_url(address: RedisAddress, url: str) -> None:
    assert address == redis_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "h:6379",
        "http://h",
        "REDIS://h",
        "redis+unix:///x",
        "redis:/h",
        "redis://",
        "redis:///0",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://::1",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/0/1",
        "redis://a,b",
        "redis://h?",
        "redis://h?db=1",
        "redis://h?ssl_ca_certs=/ca.pem",
        "redis://h?sentinel_password=hush",
        "rediss://h?ssl_ca_certs",
        "rediss://h?ssl_ca_certs=",
        "rediss://h?ssl_ca_certs=ca.pem",
        "rediss://h?ssl_ca_certs=/",
        "rediss://h?ssl_ca_certs=/ca%00.pem",
        "rediss://h?ssl_ca_certs=/a.pem&ssl_ca_certs=/a.pem",
        "rediss://h?ssl_ca_certs=/a.pem&",
        "rediss://h?ssl_ca_certs=/a.pem?",
        "rediss://h?ssl_ca_certs=/a.pem#x",
        "rediss://h?ssl_cert_reqs=none",
        "rediss://h?sentinel_password=hush",
        "redis+sentinel://h/main?ssl_ca_certs=/ca.pem",
        "redis+sentinel://h/main?sentinel_username=watch",
        "redis+sentinel://h/main?sentinel_username=watch&sentinel_password=",
        "redis+sentinel://h/main?sentinel_password=hu%sh",
        "redis+other://h",
        "redis://h#x",
        "redis://h\n",
        "redis:// h",
        "redis://hush@h",
        "redis://u:@h",
        "redis://:hu@sh@h",
        "redis://:hu/sh@h",
        "redis://:12/3@h",
        "redis://:hu%sh@h",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/main/x",
        "redis+sentinel://h/main/0/1",
        "redis+sentinel://h,/main",
        "redis+cluster://h/0",
        "redis+cluster://h,",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "unix://:hush@/run/redis.sock",
        "unix:///run/hush@redis.sock",
        "unix:///run/%00",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_what_is_no_redis_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ValueError, match=r"should begin with one of redis://|should be of the form"):
        redis_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://:sesame@h",
        "sesame",
        "redis://:sesame@",
        "redis://:sesame@h:port",
        "redis://:sesame@h/name",
        "redis://:ses#ame@h",
        "redis://:ses?ame@h",
        "rediss://h?ssl_ca_certs=sesame",
        "redis+sentinel://h/main?sentinel_password=sesame&sesame",
        "redis+sentinel://h?sentinel_password=sesame",
        "unix://sesame.sock",
    ],
)
def test_what_is_no_redis_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="should") as refused:
        redis_address(url)

    assert "sesame" not in "".join(traceback.format_exception(refused.value))


@given(st.sampled_from(list(SHAPES)), st.text())
def test_whatever_is_written_is_an_address_or_refused_with_a_hint(scheme: str, rest: str) -> None:
    try:
        said = repr(redis_address(f"{scheme}://{rest}"))
    except ValueError as error:
        said = str(error)

    assert said.startswith((f"should be of the form {form(scheme)}, with", "RedisAddress(hosts="))


def test_the_hint_tells_what_may_follow() -> None:
    assert "redis://[user:password@]host[:port][/number]" == form("redis")
    assert form("rediss").endswith("[/number][?ssl_ca_certs=/path/of/the.pem]")
    assert form("rediss+cluster").endswith(",host[:port][?ssl_ca_certs=/path/of/the.pem]")
    assert form("redis+sentinel").endswith("[?sentinel_username=user&sentinel_password=password]")
    assert "unix:///path/of/the.sock" == form("unix")


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://:short@h", "redis://u:change-me-please@h", "redis://localhost.lan", "redis://0.0.0.0"]
)
def test_a_redis_that_others_can_reach_is_open_to_all(url: str) -> None:
    assert is_open_to_all(redis_address(url))


def test_one_host_that_others_can_reach_is_enough() -> None:
    assert is_open_to_all(redis_address("redis+cluster://127.0.0.1,h"))
    assert is_open_to_all(redis_address("redis+sentinel://127.0.0.1,h/main"))
    assert is_open_to_all(redis_address("redis+sentinel://h/main?sentinel_password=0123456789abcdef"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://:pw@localhost",
        "redis://[::1]",
        "rediss://h",
        "rediss://gate:password@h",
        "redis://:0123456789abcdef@h",
        "unix:///run/redis.sock",
    ],
)
def test_a_redis_behind_tls_or_a_password_or_on_this_machine_is_not_open_to_all(url: str) -> None:
    assert not is_open_to_all(redis_address(url))


def test_a_password_is_not_in_the_repr() -> None:
    assert "hush" not in repr(redis_address("redis+sentinel://u:hush@h/main?sentinel_password=hush"))
