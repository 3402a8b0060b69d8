import asyncio
import json
import logging
from typing import Any

import pytest

from proxy.auth.issuer_keys import COOL_DOWN_SECONDS, FIRST_SECONDS, RETRY_SECONDS, UNKNOWN_SECONDS, IssuerKeys
from proxy.errors import AuthUnavailable, BackendFailed, Misconfigured, Unauthenticated, Why
from proxy.vocabulary import Issuer
from tests.fakes.clock import FakeClock
from tests.fakes.tokens import jwk, pem

URL = "https://id.example"
JWKS = f"{URL}/jwks"
DISCOVERY = f"{URL}/.well-known/openid-configuration"


def of(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(kid) for kid in kids]}).encode()


class Web:
    """What is where, how often it was asked for, and a gate that can be shut in front of it all."""

    def __init__(self, **at: bytes) -> None:
        self.pages: dict[str, bytes] = at
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        await self.open.wait()
        if url not in self.pages:
            raise BackendFailed("answered with status 404")
        return self.pages[url]


class Pauses:
    """Never over by themselves."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()


class Stage:
    """An issuer's keys with everything around them."""

    def __init__(self, body: bytes | None = None, **told: Any) -> None:
        self.web = Web(**{JWKS: of("ec") if body is None else body})
        self.clock, self.pauses = FakeClock(), Pauses()
        usual = {"algorithms": ("ES256", "EdDSA"), "jwks_url": JWKS}
        issuer = Issuer("sso", told.pop("url", URL), ("llamagate",), **{**usual, **told})
        self.keys = IssuerKeys(issuer, self.web, clock=self.clock, pause=self.pauses)

    async def has(self, kid: str | None, algorithm: str = "ES256") -> bool:
        try:
            await self.keys.key_for(algorithm, kid)
        except Unauthenticated as error:
            if error.why is Why.WRONG_KEY:
                return False
            raise
        return True

    async def refreshed(self) -> None:
        """What is due is done."""
        self.keys.refresh_if_due()
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_keys_are_fetched_once_and_used_until_it_is_time_again() -> None:
    stage = Stage()

    assert await stage.has("ec")
    stage.clock.seconds += 599
    await stage.refreshed()

    assert await stage.has("ec")
    assert [JWKS] == stage.web.asked
    stage.clock.seconds += 1
    await stage.refreshed()

    assert [JWKS, JWKS] == stage.web.asked
    assert (2, 0, None) == (stage.keys.fetches, stage.keys.failures, stage.keys.reason)


async def test_who_comes_before_the_keys_waits_for_them_with_all_others() -> None:
    stage = Stage()
    stage.web.open.clear()
    waiting = [asyncio.create_task(stage.has("ec")) for _ in range(100)]
    await turns()
    stage.web.open.set()

    assert [True] * 100 == await asyncio.gather(*waiting)
    assert [JWKS] == stage.web.asked


async def test_whoever_is_given_up_does_not_end_the_wait_of_others() -> None:
    stage = Stage()
    stage.web.open.clear()
    one, other = asyncio.create_task(stage.has("ec")), asyncio.create_task(stage.has("ec"))
    await turns()
    one.cancel()
    await turns()
    stage.web.open.set()

    assert await other


async def test_nobody_waits_for_ever_for_the_first_keys() -> None:
    stage = Stage()
    stage.web.open.clear()
    waiting = asyncio.create_task(stage.has("ec"))
    await turns()
    stage.pauses.over.set()
    with pytest.raises(AuthUnavailable):
        await waiting

    assert [FIRST_SECONDS] == stage.pauses.asked
    stage.web.open.set()
    await turns()

    assert await stage.has("ec")
    await stage.keys.close()


async def test_while_there_are_no_keys_the_issuer_is_asked_every_few_seconds_whoever_comes() -> None:
    stage = Stage()
    stage.web.pages.clear()
    for _ in range(10):
        with pytest.raises(AuthUnavailable):
            await stage.has("ec")

    assert 1 == len(stage.web.asked)
    stage.clock.seconds += RETRY_SECONDS
    stage.web.pages[JWKS] = of("ec")

    assert await stage.has("ec")


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"<html>Sign in</html>",
        b'{"keys":[]}',
        of("ec")[:-2],
        of("rsa"),
        of("weak"),
        json.dumps({"keys": [jwk("ed")] * 101}).encode(),
        b"[" * 100_000,
    ],
)
async def test_the_last_good_keys_are_kept_until_they_are_too_old(body: bytes | None) -> None:
    stage = Stage(max_stale=3600.0)
    await stage.has("ec")
    stage.web.pages = {} if body is None else {JWKS: body}
    for _ in range(6):
        stage.clock.seconds += 600
        await stage.refreshed()

        assert await stage.has("ec")
    assert (7, 6) == (stage.keys.fetches, stage.keys.failures)
    stage.clock.seconds += 1
    with pytest.raises(AuthUnavailable):
        await stage.has("ec")
    with pytest.raises(AuthUnavailable):
        await stage.has("unknown")
    stage.web.pages = {JWKS: of("ec")}
    stage.clock.seconds += COOL_DOWN_SECONDS

    assert await stage.has("ec")


async def test_keys_are_never_too_old_while_their_issuer_is_well() -> None:
    stage = Stage(max_stale=60.0)
    await stage.has("ec")
    for _ in range(100):
        stage.clock.seconds += 10
        await stage.refreshed()

        assert stage.keys.has((await stage.keys.key_for("ES256", "ec")).mark)


async def test_new_keys_take_the_place_of_all_old_ones() -> None:
    stage = Stage()
    key = await stage.keys.key_for("ES256", "ec")
    stage.web.pages[JWKS] = of("ec", "ed")
    stage.clock.seconds += 600
    await stage.refreshed()

    assert [True, True] == [await stage.has("ec"), await stage.has("ed", "EdDSA")]
    assert stage.keys.has(key.mark)
    stage.web.pages[JWKS] = of("ed")
    stage.clock.seconds += 600
    await stage.refreshed()

    assert [False, True] == [await stage.has("ec"), await stage.has("ed", "EdDSA")]
    assert not stage.keys.has(key.mark)


# A key that nobody knows.


async def test_a_new_key_is_looked_for_and_found() -> None:
    stage = Stage()
    await stage.has("ec")
    stage.web.pages[JWKS] = of("ec", "ed")

    assert await stage.has("ed", "EdDSA")
    assert [JWKS, JWKS] == stage.web.asked


async def test_unknown_keys_are_looked_for_once_in_half_a_minute() -> None:
    stage = Stage()
    await stage.has("ec")
    answers = await asyncio.gather(*(stage.has(f"made-up-{n}") for n in range(1000)), stage.has("ec"))

    assert [False] * 1000 + [True] == answers
    assert 2 == len(stage.web.asked)
    stage.clock.seconds += COOL_DOWN_SECONDS - 0.1

    assert not await stage.has("made-up")
    assert 2 == len(stage.web.asked)
    stage.clock.seconds += 0.1

    assert not await stage.has("made-up")
    assert 3 == len(stage.web.asked)


async def test_while_a_key_is_looked_for_only_who_came_with_it_waits() -> None:
    stage = Stage()
    await stage.has("ec")
    stage.web.pages[JWKS] = of("ec", "ed")
    stage.web.open.clear()
    waiting = [asyncio.create_task(stage.has("ed", "EdDSA")) for _ in range(3)]
    await turns()

    assert not await stage.has("made-up")
    assert await stage.has("ec")
    stage.web.open.set()

    assert [True] * 3 == await asyncio.gather(*waiting)
    assert 2 == len(stage.web.asked)


async def test_nobody_waits_longer_than_a_second_for_an_unknown_key() -> None:
    stage = Stage()
    await stage.has("ec")
    stage.pauses.asked.clear()
    stage.web.open.clear()
    waiting = asyncio.create_task(stage.has("ed", "EdDSA"))
    await turns()
    stage.pauses.over.set()

    assert not await waiting
    assert [UNKNOWN_SECONDS] == stage.pauses.asked
    await stage.keys.close()


async def test_an_unknown_key_is_waited_for_where_its_set_is_being_fetched_anyway() -> None:
    stage = Stage()
    await stage.has("ec")
    stage.web.pages[JWKS] = of("ed")
    stage.clock.seconds += 600
    stage.web.open.clear()
    stage.keys.refresh_if_due()
    waiting = asyncio.create_task(stage.has("ed", "EdDSA"))
    await turns()
    stage.web.open.set()

    assert await waiting
    assert 2 == len(stage.web.asked)


async def test_a_known_key_of_another_kind_and_no_name_at_all_are_not_looked_for() -> None:
    stage = Stage()

    assert [False, True, False] == [
        await stage.has("ec", "EdDSA"),
        await stage.has(None),
        await stage.has(None, "EdDSA"),
    ]
    assert 1 == len(stage.web.asked)


async def test_what_the_owner_told_is_never_fetched() -> None:
    stage = Stage(jwks_url=None, pem=pem("ec"))
    stage.clock.seconds += 10**9
    await stage.refreshed()

    assert await stage.has("whatever")
    assert [] == stage.web.asked


# Discovery.


def document(**told: Any) -> bytes:
    return json.dumps({"issuer": URL, "jwks_uri": JWKS, **told}).encode()


async def found(page: bytes, url: str = URL, at: str = DISCOVERY, **told: Any) -> tuple[bool, list[str], str | None]:
    stage = Stage(jwks_url=None, url=url, **told)
    stage.web.pages |= {at: page, "http://127.0.0.1:9/jwks": of("ec"), "http://id.example/jwks": of("ec")}
    try:
        known = await stage.has("ec")
    except AuthUnavailable:
        known = False
    return known, stage.web.asked, stage.keys.reason


async def test_keys_are_where_discovery_says() -> None:
    assert (True, [DISCOVERY, JWKS], None) == await found(document())


async def test_a_slash_at_the_end_of_the_issuer_is_not_doubled() -> None:
    assert (True, [DISCOVERY, JWKS], None) == await found(document(issuer=f"{URL}/"), url=f"{URL}/")


@pytest.mark.parametrize("issuer", [f"{URL}/", "https://ID.example", "", None, 1, [URL]])
async def test_discovery_of_another_issuer_is_not_believed(issuer: object) -> None:
    assert (False, [DISCOVERY], "discovery tells of another issuer") == await found(document(issuer=issuer))


@pytest.mark.parametrize(
    "uri",
    [
        None,
        1,
        [],
        "",
        "/jwks",
        "//id.example/jwks",
        "http://id.example/jwks",
        "http://127.0.0.1:9/jwks",
        "http://localhost/jwks",
        "https://127.0.0.1:9/jwks",
        "https://LOCALHOST/jwks",
        "https://[::1]/jwks",
        "file:///etc/passwd",
        "ftp://id.example/jwks",
        "data:application/json,{}",
        "https://",
        "https://user:password@id.example/jwks",
        "https://id.example:port/jwks",
        "https://[/jwks",
        "https://id.example/jwks#x",
        "https://id.example/j wks",
        "https://id.example/jwks\n",
        "https://id.\u0435xample/jwks",
    ],
)
async def test_discovery_leads_nowhere_else(uri: object) -> None:
    expected = (False, [DISCOVERY], "discovery has no jwks_uri that may be used")

    assert expected == await found(document(jwks_uri=uri))


async def test_an_issuer_on_this_machine_may_be_asked_in_the_open() -> None:
    url = "http://127.0.0.1:9"
    at, page = f"{url}/.well-known/openid-configuration", document(issuer=url, jwks_uri=f"{url}/jwks")

    assert (True, [at, f"{url}/jwks"], None) == await found(page, url, at)
    page = document(issuer=url, jwks_uri="http://id.example/jwks")

    assert (False, [at]) == (await found(page, url, at))[:2]


async def test_the_owner_may_let_keys_come_in_the_open() -> None:
    page = document(jwks_uri="http://id.example/jwks")

    assert (await found(page, insecure=True))[0]
    for uri in ("http://127.0.0.1:9/jwks", "https://localhost/jwks"):  # That is no leave to be led to this machine.
        assert (False, [DISCOVERY]) == (await found(document(jwks_uri=uri), insecure=True))[:2]


@pytest.mark.parametrize(
    ("told", "is_good"),
    [
        ({"jwks_url": "https://id.example/jwks"}, True),
        ({"jwks_url": "http://id.example/jwks"}, False),
        ({"jwks_url": "http://id.example/jwks", "insecure": True}, True),
        ({"jwks_url": "http://localhost:8080/jwks"}, True),
        ({"jwks_url": "http://[::1]/jwks"}, True),
        ({"jwks_url": "http://127.0.0.1.evil.example/jwks"}, False),
        ({"jwks_url": "file:///etc/passwd", "insecure": True}, False),
        ({"jwks_url": "https://me:word@id.example/jwks"}, False),
        ({"jwks_url": None, "url": "http://id.example"}, False),
        ({"jwks_url": None, "url": "https://id.example"}, True),
        ({"jwks_url": None, "url": "a name"}, False),
        ({"jwks_url": None, "url": "a name", "pem": pem("ec")}, True),
    ],
)
async def test_an_address_that_is_not_safe_is_told_to_the_owner(told: dict[str, Any], is_good: bool) -> None:
    try:
        Stage(**told)
        said = ""
    except Misconfigured as error:
        said = error.message

    assert is_good == (said == "")
    assert is_good != ("must come by https" in said)


# The log.


async def test_the_log_tells_of_each_change_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy.auth")
    stage = Stage()
    await stage.has("ec")
    stage.web.pages.clear()
    for _ in range(5):
        stage.clock.seconds += 600
        await stage.refreshed()
    stage.web.pages[JWKS] = of("ec")
    for _ in range(2):
        stage.clock.seconds += 600
        await stage.refreshed()
    told = [(one.levelname, one.getMessage(), one.__dict__["issuer"]) for one in caplog.records]

    assert [("WARNING", "jwks_failed", "sso"), ("INFO", "jwks_recovered", "sso")] == told
    assert "answered with status 404" == caplog.records[0].__dict__["reason"]


async def test_after_a_failure_the_issuer_is_asked_again_sooner() -> None:
    stage = Stage()
    await stage.has("ec")
    stage.web.pages.clear()
    stage.clock.seconds += 600
    await stage.refreshed()
    stage.clock.seconds += COOL_DOWN_SECONDS
    await stage.refreshed()

    assert (3, 2) == (stage.keys.fetches, stage.keys.failures)


async def test_what_closes_gives_up_what_is_under_way() -> None:
    stage = Stage()
    stage.web.open.clear()
    waiting = asyncio.create_task(stage.has("ec"))
    await turns()
    await stage.keys.close()
    with pytest.raises(AuthUnavailable):
        await waiting


@pytest.mark.parametrize(
    ("told", "same"),
    [
        ({}, True),
        ({"plan": "x", "groups": (("a", "b"),), "leeway": 1.0, "max_lifetime": 1.0, "user_prefix": "x"}, True),
        ({"jwks_url": f"{URL}/other"}, False),
        ({"algorithms": ("ES256",)}, False),
        ({"refresh": 30.0}, False),
        ({"insecure": True}, False),
        ({"url": f"{URL}/"}, False),
        ({"pem": pem("ec")}, False),
    ],
)
async def test_keys_are_those_of_an_issuer_as_long_as_nothing_about_them_changed(
    told: dict[str, Any], same: bool
) -> None:
    usual = {"url": URL, "algorithms": ("ES256", "EdDSA"), "jwks_url": JWKS}

    assert same == Stage().keys.are_those_of(Issuer("sso", audiences=("llamagate",), **{**usual, **told}))
