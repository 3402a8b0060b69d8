from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from proxy.auth import Act, Denial, Key, Kind, Team, User, api_keys
from proxy.auth.authenticator import PLACEHOLDER, Authenticator
from proxy.auth.certificates import key_id_of
from proxy.auth.claims import Claims
from proxy.auth.remembered import LOOK_SECONDS, Remembered
from proxy.errors import AuthUnavailable, Forbidden, GateError, TwoCredentials, Unauthenticated, Why
from proxy.vocabulary import Call, Caller, Carrier, Credential, Limits, Plan
from tests.fakes.clock import FakeClock
from tests.fakes.keys import FakeRegistry

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PEPPER = b"p" * 32
PLANS = {"default": Plan("default"), "lab": Plan("lab"), "urls": Plan("urls", key_in_path=True)}


def minted(number: int) -> tuple[str, str]:
    return api_keys.new(number.to_bytes)


KEY_ID, SECRET = minted(1)
KEY = Key(
    id=KEY_ID,
    user="alice",
    plan="default",
    team="lab",
    models=("llama3.2",),
    limits=Limits(requests_per_minute=30),
    created_at=NOON - timedelta(days=1),
    digest=api_keys.digest(SECRET, PEPPER),
)
ALICE = User("alice", NOON, limits=Limits(concurrent=2))
LAB = Team("lab", NOON, limits=Limits(tokens_per_day=1000))
IDENTITY = replace(KEY, id="identity1234", kind=Kind.IDENTITY, digest=bytes(range(32)))
SHOWN = bytes(range(1, 33))
CERTIFICATE = replace(KEY, id=key_id_of(SHOWN), kind=Kind.CERTIFICATE, digest=SHOWN)
CLAIMS = Claims("sso", "sso:carol", None, None, "carol", "t1", 2**31, "key 1", "jwt-000000000001")
TOKEN = "a.b.c"


class FakeTokens:
    """Every token says what it was told to."""

    def __init__(self, claims: Claims | GateError = CLAIMS) -> None:
        self.said = claims

    async def claims(self, text: str) -> Claims:
        if isinstance(self.said, GateError):
            raise self.said
        return self.said


class FakeSignatures:
    """Whoever signs is the holder of the identity, if there is one."""

    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered

    async def holder(self, call: Call, text: str) -> object:
        holder = await self._remembered.holder(IDENTITY.id)
        if holder is None:
            raise Unauthenticated(Why.UNKNOWN)
        return holder


class World:
    """Who is on record, what issuers say, and the time of day."""

    def __init__(
        self,
        *keys: Key,
        users: Sequence[User] = (),
        teams: Sequence[Team] = (),
        claims: Claims | GateError = CLAIMS,
        now: datetime = NOON,
    ) -> None:
        self.registry = FakeRegistry(*keys, users=users, teams=teams)
        self.now = now
        self.clock = FakeClock()
        self.remembered = Remembered(self.registry, clock=self.clock, outage_seconds=900)
        self.plans = dict(PLANS)
        self.tokens = FakeTokens(claims)
        self.authenticator = Authenticator(
            self.remembered,
            self.plans,
            PEPPER,
            tokens=self.tokens,
            signatures=FakeSignatures(self.remembered),  # type: ignore[arg-type]
            now=lambda: self.now,
        )

    async def caller(self, text: str = SECRET, carrier: Carrier = Carrier.BEARER) -> Caller:
        return await self.met((Credential(carrier, text),))

    async def met(self, credentials: tuple[Credential, ...]) -> Caller:
        await self.remembered.look()
        return await self.authenticator.caller(Call("c1", NOON, "GET", "/api/tags", credentials))

    async def refusal(self, text: str = SECRET, carrier: Carrier = Carrier.BEARER) -> GateError:
        with pytest.raises(GateError) as raised:
            await self.caller(text, carrier)
        return raised.value

    async def why(self, text: str = SECRET, carrier: Carrier = Carrier.BEARER) -> Why:
        error = await self.refusal(text, carrier)
        assert isinstance(error, Unauthenticated)
        return error.why


@pytest.mark.parametrize("carrier", [Carrier.BEARER, Carrier.HEADER, Carrier.BASIC])
async def test_whoever_holds_a_key_is_its_user_however_it_came(carrier: Carrier) -> None:
    here = World(KEY, users=[ALICE], teams=[LAB])
    expected = Caller(
        "alice",
        KEY_ID,
        PLANS["default"],
        "lab",
        ("llama3.2",),
        Limits(requests_per_minute=30),
        user_limits=Limits(concurrent=2),
        team_limits=Limits(tokens_per_day=1000),
    )

    assert expected == await here.caller(carrier=carrier)
    assert {"api_key": 1} == here.authenticator.counts


OTHER_SECRET = f"sk-lg_{KEY_ID}_{'0' * 43}"
OTHER_SECRET += f"_{api_keys.checksum(OTHER_SECRET)}"
"""Well formed, and with an id that is on record."""
SECOND_SECRET = f"sk-lg_{KEY_ID}_{'1' * 43}"
SECOND_SECRET += f"_{api_keys.checksum(SECOND_SECRET)}"


@pytest.mark.parametrize(
    ("key", "text", "now", "why"),
    [
        (KEY, "", NOON, Why.MALFORMED),
        (KEY, "sk-lg_nonsense", NOON, Why.MALFORMED),
        (KEY, SECRET[:-1], NOON, Why.MALFORMED),
        (KEY, SECRET[:-1] + "\xff", NOON, Why.MALFORMED),
        (KEY, "\udcff", NOON, Why.MALFORMED),
        (KEY, KEY_ID, NOON, Why.MALFORMED),
        (KEY, KEY.digest.hex(), NOON, Why.MALFORMED),
        (KEY, f"sk-lg_{KEY_ID}_{KEY.digest.hex()[:43]}_000000", NOON, Why.MALFORMED),
        (KEY, minted(2)[1], NOON, Why.UNKNOWN),
        (KEY, OTHER_SECRET, NOON, Why.UNKNOWN),
        (replace(KEY, digest=b""), SECRET, NOON, Why.UNKNOWN),
        (replace(KEY, digest=bytes(32)), SECRET, NOON, Why.UNKNOWN),
        (replace(KEY, digest=api_keys.digest(SECRET, b"q" * 32)), SECRET, NOON, Why.UNKNOWN),
        (replace(KEY, kind=Kind.IDENTITY), SECRET, NOON, Why.UNKNOWN),
        (replace(KEY, expires_at=NOON), SECRET, NOON, Why.EXPIRED),
        (replace(KEY, expires_at=NOON), SECRET, NOON + timedelta(days=1), Why.EXPIRED),
        (replace(KEY, suspended_at=NOON), SECRET, NOON, Why.SUSPENDED),
        (replace(KEY, revoked_at=NOON), SECRET, NOON, Why.REVOKED),
        # A clock that was set back does not bring a revoked key to life.
        (replace(KEY, revoked_at=NOON), SECRET, NOON - timedelta(days=1), Why.REVOKED),
        (replace(KEY, revoked_at=NOON, expires_at=NOON, suspended_at=NOON), SECRET, NOON, Why.REVOKED),
    ],
)
async def test_all_who_cannot_be_known_hear_the_same_and_the_owner_hears_why(
    key: Key, text: str, now: datetime, why: Why
) -> None:
    here = World(key, now=now)
    error = await here.refusal(text)
    plain = Unauthenticated(Why.MALFORMED)

    assert isinstance(error, Unauthenticated)
    assert (plain.message, plain.headers, plain.code) == (error.message, error.headers, error.code)
    assert (why, f"invalid_api_key.{why}") == (error.why, error.reason)
    assert {why: 1} == here.authenticator.counts


@pytest.mark.parametrize(
    ("users", "teams", "why"),
    [
        ([replace(ALICE, suspended_at=NOON)], [], Why.USER_SUSPENDED),
        ([ALICE], [replace(LAB, suspended_at=NOON)], Why.TEAM_SUSPENDED),
        ([replace(ALICE, suspended_at=NOON)], [replace(LAB, suspended_at=NOON)], Why.USER_SUSPENDED),
    ],
)
async def test_nobody_gets_in_while_their_user_or_team_is_suspended(
    users: list[User], teams: list[Team], why: Why
) -> None:
    of_lab = replace(CLAIMS, user="alice", team="lab", plan="lab")
    here = World(KEY, IDENTITY, users=users, teams=teams, claims=of_lab)

    assert why is await here.why()
    assert why is await here.why("P:S", Carrier.SIGNED)
    assert why is await here.why(TOKEN)


async def test_who_shows_nothing_is_told_so_by_the_lack_of_an_error_code() -> None:
    here = World(KEY)
    with pytest.raises(Unauthenticated) as raised:
        await here.met(())

    assert Why.NOTHING is raised.value.why
    assert {"WWW-Authenticate": 'Bearer realm="llamagate"'} == raised.value.headers
    assert 'error="invalid_token"' in (await here.refusal(OTHER_SECRET)).headers["WWW-Authenticate"]


async def test_a_key_is_good_until_the_second_in_which_it_expires() -> None:
    here = World(replace(KEY, expires_at=NOON), now=NOON - timedelta(microseconds=1))

    assert "alice" == (await here.caller()).user
    here.now = NOON
    assert Why.EXPIRED is await here.why()


async def test_two_credentials_are_refused_whatever_they_are() -> None:
    here = World(KEY)
    good, empty = Credential(Carrier.BEARER, SECRET), Credential(Carrier.HEADER, "")
    for credentials in ((good, good), (good, empty), (empty, good), (empty, empty, empty)):
        with pytest.raises(TwoCredentials):
            await here.met(credentials)


async def test_a_key_whose_plan_is_gone_is_forbidden_and_no_stranger_learns_that() -> None:
    here = World(replace(KEY, plan="old"))

    assert isinstance(await here.refusal(), Forbidden)
    assert Why.UNKNOWN is await here.why(OTHER_SECRET)


async def test_a_wrong_secret_neither_gets_in_nor_locks_the_right_one_out() -> None:
    here = World(KEY)
    await here.caller()

    assert Why.UNKNOWN is await here.why(OTHER_SECRET)
    assert "alice" == (await here.caller()).user


class Touchy(bytes):
    """Bytes that cannot be compared one after the other, up to the first that differs."""

    def _refused(self, *_: object) -> NoReturn:
        raise AssertionError("the time this takes depends on what is on record")

    __eq__ = __ne__ = __lt__ = __iter__ = __getitem__ = startswith = _refused
    __hash__ = bytes.__hash__


async def test_no_digest_on_record_is_compared_in_a_time_that_tells_of_it() -> None:
    former, current = (Touchy(api_keys.digest(secret, PEPPER)) for secret in (SECRET, SECOND_SECRET))
    here = World(replace(KEY, digest=current, former_digest=former, former_until=NOON + HOUR))

    assert "alice" == (await here.caller(SECRET)).user
    assert "alice" == (await here.caller(SECOND_SECRET)).user
    assert Why.UNKNOWN is await here.why(OTHER_SECRET)


async def test_both_secrets_work_during_a_rotation_and_only_the_new_one_after_it() -> None:
    here = World(KEY)
    new = api_keys.digest(SECOND_SECRET, PEPPER)
    rotate = Act(NOON, "owner", "here", "key.rotate", f"key:{KEY_ID}")
    await here.registry.rotate(KEY_ID, KEY.digest, new, NOON + HOUR, rotate)
    here.now = NOON + HOUR - timedelta(microseconds=1)
    former, current = await here.caller(SECRET), await here.caller(SECOND_SECRET)

    assert former == current
    assert KEY_ID == current.key_id
    here.now = NOON + HOUR
    assert Why.EXPIRED is await here.why(SECRET)
    assert "alice" == (await here.caller(SECOND_SECRET)).user
    await here.remembered.tell()
    (key,) = await here.registry.keys()
    assert (NOON + HOUR, NOON + HOUR - timedelta(microseconds=1)) == (key.last_used_at, key.former_used_at)


async def test_an_empty_digest_of_a_former_secret_lets_nobody_in() -> None:
    odd = replace(KEY, former_digest=b"", former_until=NOON + HOUR)

    assert Why.UNKNOWN is await World(odd).why(OTHER_SECRET)
    assert Why.UNKNOWN is await World(replace(odd, former_digest=bytes(32))).why(OTHER_SECRET)


async def test_a_key_in_the_path_is_for_those_whose_plan_says_so() -> None:
    here = World(KEY)
    there = World(replace(KEY, plan="urls"))

    assert isinstance(await here.refusal(carrier=Carrier.PATH), Forbidden)
    assert "alice" == (await there.caller(carrier=Carrier.PATH)).user
    assert Why.UNKNOWN is await there.why(OTHER_SECRET, Carrier.PATH)


async def test_no_token_stands_in_a_path() -> None:
    claims = replace(CLAIMS, plan="urls")

    assert Why.MALFORMED is await World(claims=claims).why(TOKEN, Carrier.PATH)


@pytest.mark.parametrize("said", ["ollama", "OLLAMA", "EMPTY", "sk-no-key-required"])
async def test_a_placeholder_for_a_key_is_told_its_cure(said: str) -> None:
    error = await World(KEY).refusal(said)

    assert (PLACEHOLDER, "invalid_api_key") == (error.message, error.code)
    assert Why.PLACEHOLDER is await World(KEY).why(said)


async def test_whose_client_signs_is_known_like_the_holder_of_a_key() -> None:
    here = World(IDENTITY)

    assert ("alice", IDENTITY.id) == ((one := await here.caller("P:S", Carrier.SIGNED)).user, one.key_id)
    assert {"identity": 1} == here.authenticator.counts
    assert Why.UNKNOWN is await World(KEY).why("P:S", Carrier.SIGNED)
    assert Why.REVOKED is await World(replace(IDENTITY, revoked_at=NOON)).why("P:S", Carrier.SIGNED)


CAROL = User("sso:carol", NOON, team="lab", plan="lab", limits=Limits(concurrent=3))


async def test_a_token_makes_a_caller_of_what_it_says_and_what_is_on_record() -> None:
    here = World(users=[CAROL], teams=[LAB])
    expected = Caller(
        "sso:carol",
        "jwt-000000000001",
        PLANS["lab"],
        "lab",
        user_limits=Limits(concurrent=3),
        team_limits=Limits(tokens_per_day=1000),
    )

    assert expected == await here.caller(TOKEN)
    assert {"token": 1} == here.authenticator.counts


async def test_what_a_token_says_goes_before_what_is_on_record() -> None:
    caller = await World(users=[CAROL], claims=replace(CLAIMS, plan="default", team="class")).caller(TOKEN)

    assert ("default", "class") == (caller.plan.name, caller.team)


async def test_who_has_no_plan_by_token_or_on_record_is_forbidden() -> None:
    assert isinstance(await World().refusal(TOKEN), Forbidden)
    assert isinstance(await World(claims=replace(CLAIMS, plan="old")).refusal(TOKEN), Forbidden)


@pytest.mark.parametrize(("claim", "value"), [("jti", "t1"), ("sub", "carol")])
async def test_a_denied_token_or_subject_is_refused_within_a_look(claim: str, value: str) -> None:
    here = World(claims=replace(CLAIMS, plan="lab"))
    await here.caller(TOKEN)
    act = Act(NOON, "owner", "here", "token.deny", "token:sso")
    await here.registry.deny(Denial("sso", claim, value, NOON), act)
    here.clock.seconds += LOOK_SECONDS

    assert Why.DENIED is await here.why(TOKEN)


async def test_what_is_wrong_with_a_token_is_told_to_the_owner() -> None:
    assert Why.WRONG_AUDIENCE is await World(claims=Unauthenticated(Why.WRONG_AUDIENCE)).why(TOKEN)
    assert isinstance(await World(claims=AuthUnavailable()).refusal(TOKEN), AuthUnavailable)


async def test_the_same_proof_gives_the_same_caller_until_something_changes() -> None:
    here = World(KEY, users=[CAROL])
    by_key, by_token = await here.caller(), await here.caller(TOKEN)

    assert await here.caller() is by_key
    assert await here.caller(TOKEN) is by_token
    here.plans["lab"] = here.plans["default"] = replace(PLANS["lab"], cloud=True)
    assert (await here.caller()).plan.cloud
    assert (await here.caller(TOKEN)).plan.cloud
    limits = {"limits": Limits(concurrent=9)}
    await here.registry.update_user(
        "sso:carol", lambda _: limits, Act(NOON, "owner", "here", "user.update", "user:sso:carol")
    )
    await here.registry.update_key(KEY_ID, lambda _: limits, Act(NOON, "owner", "here", "key.update", f"key:{KEY_ID}"))
    assert Limits(concurrent=9) == (await here.caller()).limits == (await here.caller(TOKEN)).user_limits


async def test_a_refusal_tells_nothing_of_what_was_presented() -> None:
    here = World(KEY)
    for text in (OTHER_SECRET, SECRET[:-1]):
        error = await here.refusal(text)

        assert KEY_ID not in f"{error!r} {error.message} {error.headers}"


async def test_whoever_has_shown_a_certificate_on_record_is_its_user() -> None:
    here = World(CERTIFICATE, users=[ALICE], teams=[LAB])
    caller = await here.caller(SHOWN.hex(), Carrier.CERTIFICATE)

    assert ("alice", CERTIFICATE.id, "lab", ("llama3.2",), PLANS["default"]) == (
        caller.user, caller.key_id, caller.team, caller.models, caller.plan,
    )  # fmt: skip
    assert {"certificate": 1} == here.authenticator.counts


async def test_a_certificate_that_is_not_on_record_is_unknown() -> None:
    assert Why.UNKNOWN == await World(KEY).why(SHOWN.hex(), Carrier.CERTIFICATE)


@pytest.mark.parametrize("carrier", [one for one in Carrier if one is not Carrier.CERTIFICATE])
async def test_the_digest_of_a_certificate_is_no_credential_anywhere_else(carrier: Carrier) -> None:
    assert await World(CERTIFICATE).why(SHOWN.hex(), carrier) in (Why.MALFORMED, Why.UNKNOWN)


async def test_a_key_is_no_certificate() -> None:
    assert Why.MALFORMED == await World(KEY).why(SECRET, Carrier.CERTIFICATE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"suspended_at": NOON}, Why.SUSPENDED),
        ({"revoked_at": NOON}, Why.REVOKED),
        ({"expires_at": NOON}, Why.EXPIRED),
    ],
)
async def test_a_certificate_is_refused_as_a_key_is(changes: dict[str, datetime], why: Why) -> None:
    here = World(replace(CERTIFICATE, **changes))  # type: ignore[arg-type]

    assert why == await here.why(SHOWN.hex(), Carrier.CERTIFICATE)


async def test_a_certificate_that_is_revoked_is_refused_at_the_next_look() -> None:
    here = World(CERTIFICATE)
    await here.caller(SHOWN.hex(), Carrier.CERTIFICATE)
    act = Act(NOON, "olga", "", "certificate.revoke", f"certificate:{CERTIFICATE.id}")
    await here.registry.revoke(CERTIFICATE.id, NOON, act)

    assert Why.REVOKED == await here.why(SHOWN.hex(), Carrier.CERTIFICATE)
