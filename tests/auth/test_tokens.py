import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import tokens as module
from proxy.auth.claims import Claims
from proxy.auth.jwks import read_jwks
from proxy.auth.tokens import LONGEST, Tokens, looks_like, read, verify
from proxy.errors import AuthUnavailable, BackendDown, GateError, Misconfigured, Unauthenticated, Why
from proxy.vocabulary import Issuer
from tests.fakes.clock import FakeClock
from tests.fakes.tokens import GONE, GOOD, HOSTILE, KIDS, SECRET, Forge, b64, jwk, pem, private

FORGE = Forge()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Times:
    """The clock on the wall, moved by hand."""

    def __init__(self) -> None:
        self.at = FORGE.now

    def __call__(self) -> datetime:
        return self.at


class Served:
    """What is at the issuer's address, and how often it was asked for."""

    def __init__(self, body: bytes | None = None) -> None:
        self.body: bytes | None = FORGE.jwks() if body is None else body
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.body is None:
            raise BackendDown
        return self.body


async def never(_: float) -> None:
    await asyncio.Event().wait()


def tokens(
    *issuers: Issuer,
    served: Served | None = None,
    clock: FakeClock | None = None,
    times: Callable[[], datetime] | None = None,
) -> Tokens:
    return Tokens(
        issuers or FORGE.issuers(), served or Served(), clock=clock or FakeClock(), now=times or Times(), pause=never
    )


async def why(text: str, knows: Tokens | None = None) -> Why:
    with pytest.raises(Unauthenticated) as raised:
        await (knows or tokens()).claims(text)
    return raised.value.why


@pytest.mark.parametrize("algorithm", GOOD)
async def test_a_good_token_says_who_asks(algorithm: str) -> None:
    knows = tokens()
    told = await knows.claims(FORGE.good(algorithm, groups=["staff", "other"]))
    is_shared = algorithm == "HS256"
    expected = Claims(
        issuer="shared" if is_shared else "forge",
        user="alice",
        team=None,
        plan="default",
        sub="alice",
        jti="1",
        exp=FORGE.seconds + 3600,
        key=told.key,
        key_id=told.key_id,
    )

    assert expected == told
    assert knows.keys[told.issuer].has(told.key)


@pytest.mark.parametrize("algorithm", GOOD)
async def test_the_same_token_made_by_hand_is_as_good(algorithm: str) -> None:
    is_shared = algorithm == "HS256"
    claims = {"iss": FORGE.shared_url} if is_shared else {}
    text = FORGE.signed(None, claims, algorithm=algorithm, key=SECRET if is_shared else None)

    assert await tokens().claims(FORGE.good(algorithm)) == await tokens().claims(text)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_token_is_refused_and_its_reason_is_known(name: str) -> None:
    hostile = HOSTILE[name]

    assert hostile.why == await why(hostile.make(FORGE))


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub"])
async def test_a_signature_is_worth_nothing_under_a_token_that_lacks_a_claim(claim: str) -> None:
    issuer = FORGE.issuers()[0]
    (key,) = [key for key in read_jwks(FORGE.jwks(), ["RS256"]).keys if key.kid == KIDS["RS256"]]
    lacking: dict[str, Any] = {claim: GONE}
    verify(read(FORGE.good()), issuer, key)
    with pytest.raises(Unauthenticated) as raised:
        verify(read(FORGE.good(**lacking)), issuer, key)

    assert raised.value.why in (Why.WRONG_CLAIMS, Why.WRONG_AUDIENCE)


def test_there_are_many_hostile_tokens() -> None:
    assert len(HOSTILE) >= 130


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "jwt"}, {}),
        ({"typ": "application/JWT"}, {}),
        ({"typ": GONE}, {}),
        ({"kid": GONE}, {}),
        ({"x5t": "abc", "x5t#S256": "abc", "nonce": "1"}, {}),
        ({}, {"aud": ["somebody", "other-gate"]}),
        ({}, {"jti": GONE}),
        ({}, {"nbf": FORGE.seconds + 10}),
        ({}, {"iat": FORGE.seconds + 10}),
        ({}, {"exp": FORGE.seconds - 9}),
        ({}, {"exp": FORGE.seconds + 86_400 - 60}),
        ({}, {"sub": "a" * 128}),
        ({}, {"sub": "Zo\u00eb of the lab"}),
        ({}, {"amr": [[[1.5, -2, 1e3, None, "\U0001f642"]]]}),
    ],
)
async def test_what_is_unusual_but_sound_is_let_in(header: dict[str, Any], claims: dict[str, Any]) -> None:
    told = await tokens().claims(FORGE.signed(header, claims))

    assert claims.get("sub", "alice") == told.user


@pytest.mark.parametrize("where", [FORGE.url, "file:///etc/passwd"])
async def test_no_header_makes_the_gate_ask_elsewhere(where: str) -> None:
    served = Served()
    knows = tokens(served=served)
    for name in ("jku", "x5u", "kid"):
        await why(FORGE.signed({name: where}), knows)

    assert {f"{FORGE.url}/jwks"} == set(served.asked)


async def test_a_token_of_an_unknown_issuer_makes_the_gate_ask_nobody() -> None:
    served = Served()

    assert Why.WRONG_ISSUER == await why(FORGE.signed(None, {"iss": "https://evil.example"}), tokens(served=served))
    assert [] == served.asked


GOOD_TOKENS = {algorithm: FORGE.good(algorithm) for algorithm in GOOD}


@given(
    st.sampled_from(GOOD), st.integers(0, 10**6), st.sampled_from([*ALPHABET, ".", "=", " ", "\n", "\udcff", "\x00"])
)
def test_a_token_with_one_other_character_is_refused(algorithm: str, place: int, letter: str) -> None:
    text = GOOD_TOKENS[algorithm]
    place %= len(text)
    if text[place] == letter:
        letter = "A" if letter != "A" else "B"
    changed = text[:place] + letter + text[place + 1 :]

    assert isinstance(asyncio.run(why(changed)), Why)


async def test_each_last_character_of_each_part_counts() -> None:
    knows = tokens()
    for text in GOOD_TOKENS.values():
        ends = (text.index(".") - 1, text.rindex(".") - 1, len(text) - 1)
        for place, letter in ((place, letter) for place in ends for letter in ALPHABET if text[place] != letter):
            assert isinstance(await why(text[:place] + letter + text[place + 1 :], knows), Why)


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_no_text_at_all_makes_anything_but_a_refusal(text: str) -> None:
    assert Why.MALFORMED == asyncio.run(why(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ("alg", "typ", "kid", "crit", "b64", "jwk", "cty")
CLAIMS = ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "groups")


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
def test_no_bytes_in_three_parts_make_anything_but_a_refusal(header: bytes, payload: bytes, signed: bytes) -> None:
    text = f"{b64(header)}.{b64(payload)}.{b64(signed)}"

    assert isinstance(asyncio.run(why(text)), Why)


@given(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
    st.dictionaries(st.sampled_from(CLAIMS), JSON, max_size=3),
)
def test_no_json_that_the_issuer_signs_makes_anything_but_claims_or_a_refusal(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    text = FORGE.signed(header, claims, algorithm="ES256")
    told: Claims | Why
    try:
        told = asyncio.run(tokens().claims(text))
    except Unauthenticated as error:
        told = error.why

    assert isinstance(told, Claims | Why)


@pytest.mark.parametrize(
    ("text", "could_be"),
    [
        (GOOD_TOKENS["ES256"], True),
        ("eyJh.eyJh.AAAA", True),
        ("sk-lg_000000000000_x_y", False),
        ("", False),
        ("a.b", False),
        ("a.b.c.d", False),
        ("a.b.\udcff", False),
        ("a.b.c\n", False),
        ("a.b." + "c" * (LONGEST - 4), True),
        ("a.b." + "c" * (LONGEST - 3), False),
    ],
)
def test_what_could_be_a_token_is_seen_from_its_letters(text: str, could_be: bool) -> None:
    assert could_be == looks_like(text)


def test_a_token_is_not_in_what_is_printed_of_it() -> None:
    text = FORGE.good()

    assert not any(part in repr(module.read(text)) for part in (*text.split("."), "alice"))


async def test_a_pem_is_enough_for_whatever_name_the_key_has() -> None:
    first, _ = FORGE.issuers(jwks_url=None, pem=pem("rsa"), algorithms=("RS256",))
    served = Served()
    knows = tokens(first, served=served)

    assert "alice" == (await knows.claims(FORGE.signed({"kid": "of yesterday".replace(" ", "-")}))).user
    assert Why.WRONG_ALGORITHM == await why(FORGE.good("PS256"), knows)
    assert Why.WRONG_SIGNATURE == await why(FORGE.signed(key=private("stranger")), knows)
    assert [] == served.asked


@pytest.mark.parametrize("prefix", ["", "sha"])
async def test_no_issuer_speaks_for_the_users_of_another_whose_prefix_is_longer(prefix: str) -> None:
    first, shared = FORGE.issuers(user_prefix=prefix)
    knows = tokens(first, replace(shared, user_prefix="shared:"))

    assert "shared:bob" == (await knows.claims(FORGE.good("HS256", sub="bob"))).user
    assert Why.WRONG_CLAIMS == await why(FORGE.good(sub="shared:bob".removeprefix(prefix)), knows)
    assert f"{prefix}bob" == (await knows.claims(FORGE.good(sub="bob"))).user


async def test_issuers_that_are_told_to_share_their_users_do() -> None:
    first, shared = FORGE.issuers(user_prefix="both:")
    knows = tokens(first, replace(shared, user_prefix="both:"))
    users = [(await knows.claims(FORGE.good(algorithm, sub="bob"))).user for algorithm in ("RS256", "HS256")]

    assert ["both:bob"] * 2 == users


# What is remembered.


async def test_a_token_is_verified_once() -> None:
    knows, text = tokens(), FORGE.good()

    assert await knows.claims(text) is await knows.claims(text)


async def test_two_tokens_of_the_same_beginning_are_two() -> None:
    knows = tokens()
    payload = json.dumps({"pad": "x" * 500, **FORGE.payload()}).encode()
    one = FORGE.signed(None, payload)
    other = FORGE.signed(None, payload.replace(b"alice", b"bobby"))

    assert one[:600] == other[:600]
    assert ["alice", "bobby"] == [(await knows.claims(text)).user for text in (one, other)]


async def test_what_was_refused_is_refused_again() -> None:
    knows, text = tokens(), FORGE.signed(key=private("stranger"))

    assert [Why.WRONG_SIGNATURE, Why.WRONG_SIGNATURE] == [await why(text, knows), await why(text, knows)]


async def test_a_remembered_token_expires_on_time() -> None:
    times = Times()
    knows, text = tokens(times=times), FORGE.good(exp=FORGE.seconds + 60)
    await knows.claims(text)
    times.at += timedelta(seconds=69.9)  # Its leeway is ten seconds more.
    await knows.claims(text)
    times.at += timedelta(seconds=0.1)

    assert Why.EXPIRED == await why(text, knows)


async def test_a_remembered_token_dies_with_its_key() -> None:
    clock, served = FakeClock(), Served()
    knows, text = tokens(clock=clock, served=served), FORGE.good()
    await knows.claims(text)
    served.body = json.dumps({"keys": [jwk("ec")]}).encode()
    clock.seconds += 600
    await one_look(knows)

    assert Why.WRONG_KEY == await why(text, knows)
    assert "alice" == (await knows.claims(FORGE.good("ES256"))).user


async def test_a_remembered_token_dies_when_its_key_gets_another_name() -> None:
    clock, served = FakeClock(), Served()
    knows, text = tokens(clock=clock, served=served), FORGE.good()
    await knows.claims(text)
    served.body = json.dumps({"keys": [{**jwk("rsa"), "kid": "renamed"}]}).encode()
    clock.seconds += 600
    await one_look(knows)

    assert Why.WRONG_KEY == await why(text, knows)


async def test_a_remembered_token_is_not_believed_when_its_keys_are_too_old() -> None:
    clock, served = FakeClock(), Served()
    knows, text = tokens(clock=clock, served=served), FORGE.good()
    await knows.claims(text)
    served.body = None
    clock.seconds += 86_400
    await knows.claims(text)
    clock.seconds += 1
    with pytest.raises(AuthUnavailable):
        await knows.claims(text)


async def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    knows = Tokens(FORGE.issuers(), Served(), clock=FakeClock(), now=Times(), most_remembered=2)
    texts = [FORGE.good("ES256", jti=name) for name in "abc"]
    first = [await knows.claims(text) for text in texts]
    again = [await knows.claims(text) for text in reversed(texts)]

    assert first == again[::-1]
    assert [False, True, True] == [one is other for one, other in zip(first, reversed(again), strict=True)]


# Another configuration.


async def test_an_issuer_that_did_not_change_keeps_its_keys() -> None:
    served = Served()
    knows = tokens(served=served)
    await knows.claims(FORGE.good())
    before = knows.keys["forge"]
    first, shared = FORGE.issuers(plan="other", team_claim="dept")
    knows.replace([first, shared])

    assert "other" == (await knows.claims(FORGE.good())).plan
    assert before is knows.keys["forge"]
    assert 1 == len(served.asked)


async def test_an_issuer_that_is_gone_is_believed_no_more() -> None:
    knows, text = tokens(), FORGE.good()
    await knows.claims(text)
    knows.replace(FORGE.issuers()[1:])

    assert Why.WRONG_ISSUER == await why(text, knows)
    assert {"shared"} == set(knows.keys)


async def test_an_issuer_with_another_secret_does_not_let_in_what_it_did() -> None:
    knows, text = tokens(), FORGE.good("HS256")
    await knows.claims(text)
    knows.replace([replace(FORGE.issuers()[1], secret=b"another secret of 32 bytes, ....")])

    assert Why.WRONG_SIGNATURE == await why(text, knows)


async def test_a_token_that_waited_for_keys_is_judged_by_the_rules_that_hold_then() -> None:
    gate = asyncio.Event()

    async def slow(_: str) -> bytes:
        await gate.wait()
        return FORGE.jwks()

    knows = Tokens(FORGE.issuers(), slow, clock=FakeClock(), now=Times(), pause=never)
    waiting = asyncio.create_task(knows.claims(FORGE.good()))
    await asyncio.sleep(0)
    knows.replace(FORGE.issuers(plan="other"))
    gate.set()

    assert "other" == (await waiting).plan


@pytest.mark.parametrize(
    "issuers",
    [
        [FORGE.issuers()[0], FORGE.issuers()[0]],
        [FORGE.issuers()[0], replace(FORGE.issuers()[0], name="other")],
        [FORGE.issuers()[0], replace(FORGE.issuers()[1], name="forge")],
        [replace(FORGE.issuers()[1], secret=b"short")],
    ],
)
async def test_issuers_that_cannot_be_trusted_change_nothing(issuers: list[Issuer]) -> None:
    knows = tokens()
    with pytest.raises(Misconfigured):
        knows.replace(issuers)

    assert "alice" == (await knows.claims(FORGE.good())).user
    assert "alice" == (await knows.claims(FORGE.good("HS256"))).user


# In the background.


async def one_look(knows: Tokens) -> None:
    """One turn of what runs in the background, and the end of what it began."""
    turns = 0

    async def pause(_: float) -> None:
        nonlocal turns
        turns += 1
        if turns == 10:  # Enough for a fetch that never waits.
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await knows.keep(pause)


async def test_keys_are_there_before_the_first_token() -> None:
    served = Served()
    knows = tokens(served=served)
    await one_look(knows)

    assert 1 == len(served.asked)
    await knows.claims(FORGE.good())

    assert 1 == len(served.asked)


async def test_the_background_gives_up_what_is_under_way_when_it_ends() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    knows = Tokens(FORGE.issuers(), slow, clock=FakeClock(), now=Times())
    keeping = asyncio.create_task(knows.keep(never))
    await begun.wait()
    keeping.cancel()
    await asyncio.wait({keeping})

    assert ended.is_set()


async def test_each_key_of_an_issuer_has_a_mark_of_its_own() -> None:
    knows = tokens()
    marks = {(await knows.claims(FORGE.good(algorithm))).key for algorithm in KIDS}

    assert len(set(KIDS.values())) == len(marks)


def test_what_is_raised_shows_nothing_of_the_token() -> None:
    text = FORGE.signed(key=private("stranger"))
    error: GateError | None = None
    try:
        asyncio.run(tokens().claims(text))
    except GateError as raised:
        error = raised

    assert error is not None
    assert not any(part in str(error) + repr(error.__cause__) for part in text.split("."))
