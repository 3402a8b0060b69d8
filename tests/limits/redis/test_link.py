import asyncio
import random
import time
import traceback
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.config.redis_url import redis_address
from proxy.limits import StoreFailed
from proxy.limits.redis.link import Link, Script, is_wrong_type
from tests.fakes.eventually import eventually
from tests.fakes.redis import NewRedis, RedisNodes, RedisSentinels, RedisServer
from tests.fakes.redis_proxy import NewAuthority, OpenProxy, Weather

PATIENT_SECONDS = 10.0
"""For what must not fail on a machine that is busy with other things."""

ECHO = Script("return ARGV[1]")
APPEND = Script("redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]")
COUNT = Script("return tostring(redis.call('INCR', KEYS[1]))")
FILL = Script("redis.call('SET', KEYS[1], string.rep('x', 100000)) return ''")
NUMBER = Script("return 1")

OpenLink = Callable[..., Link]


@pytest.fixture
async def open_link() -> AsyncIterator[OpenLink]:
    """To a URL; patient where no timeout is given."""
    opened: list[Link] = []

    def new(url: str, timeout: float = PATIENT_SECONDS) -> Link:
        opened.append(Link.to(redis_address(url), timeout=timeout))
        return opened[-1]

    yield new
    for link in opened:
        await link.close()


async def echo(link: Link, text: str, key: str = "key") -> str:
    return (await link.run(ECHO, [key], [text])).decode()


async def failure(link: Link, script: Script = ECHO, key: str = "key") -> StoreFailed:
    with pytest.raises(StoreFailed) as caught:
        await link.run(script, [key], ["text"])
    assert caught.value.__cause__ is not None
    return caught.value


async def works_again(link: Link, seconds: float = 20.0) -> None:
    async def look() -> bool | None:
        try:
            return await echo(link, "text") == "text"
        except StoreFailed:
            return None

    await eventually(look, seconds, "an answer of Redis")


async def test_the_answer_of_a_script_is_its_one_string(open_link: OpenLink, redis_server: RedisServer) -> None:
    link = open_link(redis_server.url)
    script = Script("return KEYS[1] .. KEYS[2] .. ARGV[1] .. ARGV[2]")

    assert "abü7".encode() == await link.run(script, ["a", "b"], ["ü", 7])


async def test_who_is_connected_can_be_seen_in_redis(open_link: OpenLink, redis_server: RedisServer) -> None:
    await echo(open_link(f"{redis_server.url}/3"), "text")

    assert {("llamagate", "3")} <= {(client["name"], client["db"]) for client in redis_server.say("CLIENT LIST")}


async def test_what_is_asked_in_one_tick_travels_together(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url)
    texts = [str(number) for number in range(100)]

    assert texts == await asyncio.gather(*(echo(link, text) for text in texts))
    assert [100] == proxy.told("EVALSHA")
    assert 1 == proxy.connections


async def test_what_is_asked_during_a_flight_goes_with_the_next(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url)
    await echo(link, "text")
    proxy.heard.clear()
    proxy.weather.delay = lambda: 0.05
    first = asyncio.create_task(echo(link, "first"))
    await proxy.hears("EVALSHA")
    later = []
    for number in range(10):
        later.append(asyncio.create_task(echo(link, str(number))))
        await asyncio.sleep(0)  # Each in a tick of its own.

    assert ["first", *map(str, range(10))] == await asyncio.gather(first, *later)
    assert [1, 10] == proxy.told("EVALSHA")


async def test_commands_keep_their_order(open_link: OpenLink, redis_server: RedisServer) -> None:
    link = open_link(redis_server.url)
    asked = []
    for number in range(200):
        asked.append(asyncio.create_task(link.run(APPEND, ["list"], [number])))
        if random.random() < 0.3:
            await asyncio.sleep(0)
    await asyncio.gather(*asked)

    assert [str(number) for number in range(200)] == redis_server.say("LRANGE", "list", 0, -1)


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_leaves_takes_nobody_elses_answer(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy, seed: int
) -> None:
    chance = random.Random(seed)
    proxy = await open_proxy(redis_server.port, Weather(delay=lambda: chance.uniform(0, 0.005)))
    link = open_link(proxy.url)
    loop = asyncio.get_running_loop()
    asked = []
    for number in range(400):
        asked.append(asyncio.create_task(echo(link, str(number))))
        if number % 2:
            loop.call_later(chance.uniform(0, 0.02), asked[-1].cancel)
        if chance.random() < 0.1:
            await asyncio.sleep(chance.uniform(0, 0.003))
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [str(number) for number in range(0, 400, 2)] == answers[::2]
    assert all(
        answer == str(number) or isinstance(answer, asyncio.CancelledError) for number, answer in enumerate(answers)
    )
    assert any(isinstance(answer, asyncio.CancelledError) for answer in answers)
    assert 1 == proxy.connections


async def test_whoever_left_before_the_flight_is_not_asked_for(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port, Weather(delay=lambda: 0.02))
    link = open_link(proxy.url)
    leaver, stayer = asyncio.create_task(echo(link, "leaver")), asyncio.create_task(echo(link, "stayer"))
    await asyncio.sleep(0)
    leaver.cancel()

    assert "stayer" == await stayer
    assert [1] == proxy.told("EVALSHA")


async def test_a_server_that_says_nothing_is_given_up_in_time(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis()
    link = open_link(server.url, timeout=0.05)
    await works_again(link)
    with server.paused():
        begin = time.monotonic()
        during_a_flight = await failure(link)
        while_connecting = await failure(link)

        assert time.monotonic() - begin < 1
    assert isinstance(during_a_flight.__cause__, TimeoutError)
    assert isinstance(while_connecting.__cause__, TimeoutError | RedisError)
    await works_again(link)


async def test_waiting_for_the_flight_before_is_within_the_timeout(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url, timeout=0.3)
    await echo(link, "text")
    proxy.weather.swallows = True
    loop = asyncio.get_running_loop()
    asked = []
    for _ in range(5):
        asked.append(asyncio.create_task(failure(link)))
        await asyncio.sleep(0.03)
    begin = loop.time()
    await asyncio.gather(*asked)

    assert loop.time() - begin < 1


async def test_what_was_not_answered_is_not_sent_again(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url, timeout=0.3)
    assert b"1" == await link.run(COUNT, ["count"], [])
    proxy.heard.clear()
    proxy.weather.swallows = True
    await failure(link, COUNT, "count")
    proxy.weather.swallows = False
    await works_again(link)

    assert "2" == redis_server.say("GET", "count")
    assert 1 == sum(piece.count(COUNT.sha.encode()) for piece in proxy.heard)


async def test_a_script_that_was_forgotten_is_sent_along_once(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url)
    assert b"1" == await link.run(COUNT, ["count"], [])
    assert "known" == await echo(link, "known")
    proxy.heard.clear()
    redis_server.say("SCRIPT FLUSH")
    await link.run(COUNT, ["count"], [])  # Brought back, while the other remains unknown.
    number, text = await asyncio.gather(link.run(COUNT, ["count"], []), echo(link, "other"))
    await link.run(COUNT, ["count"], [])

    assert (b"3", "other") == (number, text)
    assert "4" == redis_server.say("GET", "count")
    assert [1, 1] == proxy.told("EVAL")
    assert [1, 2, 1] == proxy.told("EVALSHA")


async def test_a_server_that_was_started_anew_is_asked_at_once(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis()
    link = open_link(server.url)
    await link.run(COUNT, ["count"], [])
    await asyncio.to_thread(server.restart, keep=True)

    assert b"2" == await link.run(COUNT, ["count"], [])

    await asyncio.to_thread(server.restart)

    assert b"1" == await link.run(COUNT, ["count"], [])


async def test_a_server_that_is_gone_is_told_at_once(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis()
    link = open_link(server.url)
    await echo(link, "text")
    server.kill()
    begin = time.monotonic()
    failures = [await failure(link) for _ in range(3)]

    assert time.monotonic() - begin < PATIENT_SECONDS / 2
    assert all(isinstance(one.__cause__, RedisConnectionError) for one in failures)
    server.start()
    assert "text" == await echo(link, "text")


async def test_an_asyncio_that_stumbles_over_a_lost_connection_is_a_failure_and_no_more(
    open_link: OpenLink, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute '_add_writer'")

    link = open_link(redis_server.url)
    await echo(link, "text")
    with monkeypatch.context() as patched:
        patched.setattr(AbstractConnection, "send_packed_command", stumble)
        await failure(link)

    assert "text" == await echo(link, "text")


async def test_a_connection_that_is_reset_at_once_is_tried_again_next_time(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port, Weather(resets_at_once=True))
    link = open_link(proxy.url)
    await failure(link)
    proxy.weather.resets_at_once = False

    assert "text" == await echo(link, "text")


async def test_an_answer_cut_anywhere_is_a_failure_and_nobody_elses(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    await echo(open_link(redis_server.url), "text")  # So that the script is known.
    named, first, second = b"+OK\r\n", b"$5\r\nfirst\r\n", b"$6\r\nsecond\r\n"
    for length in range(len(named + first + second)):
        proxy.weather.resets_after = length
        link = open_link(proxy.url)
        answers = await asyncio.gather(echo(link, "first"), echo(link, "second"), return_exceptions=True)
        proxy.weather.resets_after = None

        assert (length >= len(named + first)) == (answers[0] == "first")
        assert [StoreFailed] == [type(answer) for answer in answers if answer != "first"][-1:]
        assert ["third", "fourth"] == [*await asyncio.gather(echo(link, "third"), echo(link, "fourth"))]


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b"$x\r\n",
        b"$-7\r\n",
        b"*-3\r\n*2\r\n",
        b":1\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"\xff\xfe\r\n",
        b"$3\r\nabcdefgh\r\n",
        b"-ASK\r\n",
        b"-MOVED 1\r\n",
        b"x" * 100_000,
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_failure_and_nobody_elses(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy, garbage: bytes
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url, timeout=0.5)
    await works_again(link)
    proxy.weather.garbles = garbage
    answers = await asyncio.gather(echo(link, "first"), echo(link, "second"), return_exceptions=True)
    on_a_new_connection = await asyncio.gather(echo(link, "third"), return_exceptions=True)
    proxy.weather.garbles = None

    assert StoreFailed is type(answers[1])
    assert [] == [answer for answer in on_a_new_connection if not isinstance(answer, StoreFailed)]
    await works_again(link)
    assert ["fourth", "fifth"] == [*await asyncio.gather(echo(link, "fourth"), echo(link, "fifth"))]


async def test_an_answer_that_is_no_string_is_a_failure(open_link: OpenLink, redis_server: RedisServer) -> None:
    link = open_link(redis_server.url)
    number, text = await asyncio.gather(failure(link, NUMBER), echo(link, "text"))

    assert "one bulk string" in str(number.__cause__)
    assert "text" == text


async def test_a_failure_of_one_is_not_a_failure_of_those_beside_it(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url)
    redis_server.say("SET", "list", "no list")
    before, wrong, after = await asyncio.gather(
        echo(link, "before"), failure(link, APPEND, "list"), link.run(COUNT, ["count"], [])
    )

    assert ("before", b"1") == (before, after)
    assert is_wrong_type(wrong)
    assert 1 == proxy.connections


async def test_a_memory_that_is_full_is_a_failure_of_another_kind(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis("maxmemory-policy noeviction")
    link = open_link(server.url)
    server.say("CONFIG", "SET", "maxmemory", "1mb")
    for number in range(20):
        server.say("CONFIG", "SET", "maxmemory", "100mb")
        await link.run(FILL, [f"key{number}"], [])
    server.say("CONFIG", "SET", "maxmemory", "1mb")
    full = await failure(link, FILL, "another")

    assert "OOM" in f"{getattr(full.__cause__, 'status_code', '')} {full.__cause__}"
    assert not is_wrong_type(full)
    server.say("FLUSHALL")
    server.say("CONFIG", "SET", "maxmemory", "100mb")
    assert "text" == await echo(link, "text")


@pytest.mark.parametrize("login", ["", ":sesame-sesame@", "nobody:sesame-sesame@"])
async def test_a_password_that_is_missing_or_wrong_is_not_told_on(
    open_link: OpenLink, new_redis: NewRedis, login: str
) -> None:
    server = new_redis(password="open barley")
    told = await failure(open_link(f"redis://{login}127.0.0.1:{server.port}"))

    assert isinstance(told.__cause__, AuthenticationError)
    assert "sesame" not in "".join(traceback.format_exception(told))
    assert "text" == await echo(open_link(server.url), "text")


async def test_a_server_that_repeats_the_password_is_not_listened_to(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis("rename-command AUTH login")
    told = await failure(open_link(f"redis://gate:sesame@127.0.0.1:{server.port}"))

    assert "unknown command" in str(told.__cause__)
    assert "sesame" not in "".join(traceback.format_exception(told))


async def test_a_user_may_need_a_name_and_a_password_of_any_signs(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis("user gate@home on >s:e/s@a#m?e%20 ~* +eval +evalsha +client|setname")

    assert "text" == await echo(
        open_link(f"redis://gate%40home:s%3Ae%2Fs%40a%23m%3Fe%2520@127.0.0.1:{server.port}"), "text"
    )


async def test_rights_that_are_taken_away_are_a_failure_until_they_are_given_back(
    open_link: OpenLink, new_redis: NewRedis
) -> None:
    server = new_redis("user gate on >sesame ~* +@all")
    link = open_link(f"redis://gate:sesame@127.0.0.1:{server.port}")
    await echo(link, "text")
    server.say("ACL", "SETUSER", "gate", "-evalsha", "-eval")
    assert isinstance((await failure(link)).__cause__, NoPermissionError)
    server.say("ACL", "SETUSER", "gate", "+evalsha", "+eval")
    assert "text" == await echo(link, "text")
    await asyncio.to_thread(server.say, "ACL", "DELUSER", "gate")  # Which hangs up on them.
    assert isinstance((await failure(link)).__cause__, RedisConnectionError)
    server.say("ACL", "SETUSER", "gate", "on", ">sesame", "~*", "+@all")
    assert "text" == await echo(link, "text")


async def test_a_master_that_has_become_a_replica_is_looked_for_anew(
    open_link: OpenLink, new_redis: NewRedis, open_proxy: OpenProxy
) -> None:
    server, other = new_redis(), new_redis()
    proxy = await open_proxy(server.port)
    link = open_link(proxy.url)
    await link.run(COUNT, ["count"], [])
    server.say("REPLICAOF", "127.0.0.1", other.port)
    told = await failure(link, COUNT, "count")
    await failure(link, COUNT, "count")

    assert "READONLY" in f"{getattr(told.__cause__, 'status_code', '')} {told.__cause__}"
    assert 2 == proxy.connections
    server.say("REPLICAOF", "NO", "ONE")
    await link.run(COUNT, ["count"], [])
    assert 3 == proxy.connections


async def test_a_master_that_was_is_left_though_it_still_answers_others(
    open_link: OpenLink, new_redis: NewRedis, open_proxy: OpenProxy
) -> None:
    server, other = new_redis(), new_redis()
    proxy = await open_proxy(server.port)
    link = open_link(proxy.url)
    await link.run(COUNT, ["count"], [])
    server.say("REPLICAOF", "127.0.0.1", other.port)
    _, text = await asyncio.gather(failure(link, COUNT, "count"), echo(link, "text"))  # Its script is not known yet.

    assert "text" == text
    assert "text" == await echo(link, "text")
    assert 2 == proxy.connections


async def test_a_server_that_takes_no_more_clients_is_a_failure(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis()
    link = open_link(server.url)
    with server.client() as only:
        only.config_set("maxclients", 1)
        assert isinstance((await failure(link)).__cause__, RedisConnectionError)
    await works_again(link)


async def test_writes_that_are_paused_are_a_failure_and_reads_are_not(open_link: OpenLink, new_redis: NewRedis) -> None:
    server = new_redis()
    link = open_link(server.url, timeout=0.1)
    await works_again(link)
    server.say("CLIENT", "PAUSE", 60_000)
    await failure(link, COUNT, "count")
    server.restart()
    await works_again(link)


async def test_a_server_behind_a_socket_in_the_file_system_is_reached(
    open_link: OpenLink, redis_server: RedisServer
) -> None:
    assert "text" == await echo(open_link(f"unix://{redis_server.socket}"), "text")


async def test_a_server_with_a_certificate_of_the_right_authority_is_trusted(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy, new_authority: NewAuthority
) -> None:
    authority = new_authority()
    proxy = await open_proxy(redis_server.port, tls=authority.server("localhost"))

    assert "text" == await echo(
        open_link(f"rediss://localhost:{proxy.port}?ssl_ca_certs={authority.certificate}"), "text"
    )


@pytest.mark.parametrize(("name", "is_known"), [("localhost", False), ("elsewhere.example", True)])
async def test_a_server_with_another_certificate_is_not_spoken_to(
    open_link: OpenLink,
    redis_server: RedisServer,
    open_proxy: OpenProxy,
    new_authority: NewAuthority,
    name: str,
    is_known: bool,
) -> None:
    authority, other = new_authority(), new_authority()
    proxy = await open_proxy(redis_server.port, tls=authority.server(name))
    trusted = (authority if is_known else other).certificate
    told = await failure(open_link(f"rediss://:sesame@localhost:{proxy.port}?ssl_ca_certs={trusted}"))

    assert "CERTIFICATE_VERIFY_FAILED" in str(told.__cause__)
    assert [] == proxy.heard


async def test_a_server_without_encryption_is_not_told_the_password(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    await failure(open_link(f"rediss://:sesame@127.0.0.1:{proxy.port}", timeout=0.5))

    assert b"sesame" not in b"".join(proxy.heard)


async def test_what_cannot_be_written_is_the_askers_own_mistake(open_link: OpenLink, redis_server: RedisServer) -> None:
    link = open_link(redis_server.url)
    wrong, right = await asyncio.gather(echo(link, "\ud800"), echo(link, "text"), return_exceptions=True)

    assert UnicodeEncodeError is type(wrong)
    assert "text" == right


async def test_who_waits_when_the_link_is_closed_is_told(
    open_link: OpenLink, redis_server: RedisServer, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis_server.port)
    link = open_link(proxy.url)
    await echo(link, "text")
    proxy.weather.swallows = True
    proxy.heard.clear()
    flying = asyncio.create_task(failure(link))
    await proxy.hears("EVALSHA")
    waiting = asyncio.create_task(failure(link))
    await asyncio.sleep(0)
    begin = time.monotonic()
    await link.close()
    await asyncio.gather(flying, waiting)
    await failure(link)

    assert time.monotonic() - begin < PATIENT_SECONDS / 2


async def test_after_a_failover_the_new_master_is_asked(open_link: OpenLink, redis_sentinel: RedisSentinels) -> None:
    link = open_link(redis_sentinel.url, timeout=1)
    await works_again(link)
    redis_sentinel.master.kill()
    await failure(link, COUNT, "count")

    async def counts() -> bytes | None:
        try:
            return await link.run(COUNT, ["count"], [])
        except StoreFailed:
            return None

    assert b"1" == await eventually(counts, 30, "a new master")
    assert "1" == redis_sentinel.replica.say("GET", "count")


async def test_a_sentinel_that_says_nothing_is_passed_over(
    open_link: OpenLink, redis_sentinel: RedisSentinels, open_proxy: OpenProxy
) -> None:
    silent = await open_proxy(redis_sentinel.sentinel.port, Weather(swallows=True))
    hosts = f"127.0.0.1:{silent.port},127.0.0.1:{redis_sentinel.sentinel.port}"
    link = open_link(f"redis+sentinel://{hosts}/gates", timeout=0.2)
    await failure(link)  # All of its time went to the first.

    await works_again(link, 5)


async def test_a_master_that_no_sentinel_knows_is_a_failure(
    open_link: OpenLink, redis_sentinel: RedisSentinels
) -> None:
    told = await failure(open_link(redis_sentinel.url.replace("/gates", "/others")))

    assert "No master found" in str(told.__cause__)


KEYS = [f"{{place{number}}}:key" for number in range(60)]


async def test_every_key_of_a_cluster_finds_its_node(open_link: OpenLink, redis_cluster: RedisNodes) -> None:
    link = open_link(redis_cluster.url)
    answers = await asyncio.gather(*(link.run(COUNT, [key], []) for key in KEYS for _ in range(2)))

    assert [b"1", b"2"] * len(KEYS) == answers
    assert all(node.say("DBSIZE") for node in redis_cluster.nodes)


async def test_a_place_of_a_cluster_that_has_moved_is_found_next_time(
    open_link: OpenLink, redis_cluster: RedisNodes
) -> None:
    link = open_link(redis_cluster.url)
    assert "text" == await echo(link, "text")
    owner = redis_cluster.owner("key")
    (other, *_) = [node for node in redis_cluster.nodes if node is not owner]
    redis_cluster.give("key", other)

    assert "MOVED" == getattr((await failure(link)).__cause__, "status_code", "")
    assert "text" == await echo(link, "text")


async def test_a_place_that_no_node_of_a_cluster_keeps_is_a_failure(
    open_link: OpenLink, redis_cluster: RedisNodes
) -> None:
    link = open_link(redis_cluster.url)
    await works_again(link)
    slot, owner = redis_cluster.slot("key"), redis_cluster.owner("key")

    async def looked() -> bool | None:
        """Redis says it first, and then who keeps what has been asked anew."""
        return not isinstance((await failure(link)).__cause__, ResponseError) or None

    try:
        for node in (owner, *(node for node in redis_cluster.nodes if node is not owner)):
            node.say("CLUSTER", "DELSLOTS", slot)
        await eventually(looked, 10, "a failure without a question")
    finally:
        redis_cluster.give("key", owner)
    await works_again(link)


async def test_a_node_that_says_nothing_takes_only_its_own_places(
    open_link: OpenLink, redis_cluster: RedisNodes
) -> None:
    link = open_link(redis_cluster.url, timeout=0.3)
    await works_again(link)
    silent = redis_cluster.owner("key")
    elsewhere = next(key for key in KEYS if redis_cluster.owner(key) is not silent)
    await asyncio.gather(*(echo(link, "text", key) for key in KEYS))
    with silent.paused():
        for _ in range(5):
            own = asyncio.create_task(failure(link))

            assert ["text"] * 20 == [await echo(link, "text", elsewhere) for _ in range(20)]
            assert isinstance((await own).__cause__, TimeoutError | RedisError)
    await works_again(link)


async def test_a_cluster_that_is_none_is_a_failure(open_link: OpenLink, redis_server: RedisServer) -> None:
    told = await failure(open_link(redis_server.url.replace("redis:", "redis+cluster:")))

    assert "Cluster mode is not enabled" in str(told.__cause__)


async def test_a_cluster_is_found_by_whichever_of_its_nodes_is_there(
    open_link: OpenLink, redis_cluster: RedisNodes
) -> None:
    link = open_link(redis_cluster.url.replace("://", "://127.0.0.1:1,"))

    assert "text" == await echo(link, "text")


async def test_a_script_has_the_name_that_redis_gives_it(redis_server: RedisServer) -> None:
    assert redis_server.say("SCRIPT LOAD", COUNT.source) == COUNT.sha


def test_a_connection_that_uvloop_has_lost_is_a_failure_like_any_other() -> None:
    async def asks() -> None:
        def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await asyncio.start_server(cut, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        link = Link.to(redis_address(f"redis://{host}:{port}"), timeout=PATIENT_SECONDS)
        try:
            for _ in range(20):
                with pytest.raises(StoreFailed):
                    await echo(link, "hello")
        finally:
            await link.close()
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asks())
