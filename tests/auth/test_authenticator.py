import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.auth import Key, api_keys
from proxy.auth.authenticator import REMEMBERED_KEYS, REMEMBERED_SECONDS, Authenticator
from proxy.errors import Forbidden, GateError, StorageFailed, TwoCredentials, Unauthenticated
from proxy.vocabulary import Caller, Limits, Plan
from tests.fakes.clock import FakeClock
from tests.fakes.keys import FakeKeys

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PEPPER = b"p" * 32
PLANS = {"default": Plan("default")}


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


class Asked(FakeKeys):
    """Remembers what it was asked for, and takes its time."""

    def __init__(self, *keys: Key, takes: Callable[[], None] = lambda: None) -> None:
        super().__init__(*keys)
        self.asked: list[str] = []
        self.takes = takes

    async def find(self, key_id: str) -> Key | None:
        self.asked.append(key_id)
        found = await super().find(key_id)
        self.takes()
        return found


def authenticator(keys: FakeKeys, clock: FakeClock | None = None, now: datetime = NOON) -> Authenticator:
    return Authenticator(keys, PLANS, PEPPER, clock=clock or FakeClock(), now=lambda: now)


async def refusal(keys: FakeKeys, *secrets: str, now: datetime = NOON) -> GateError:
    with pytest.raises(GateError) as raised:
        await authenticator(keys, now=now).caller(secrets)
    return raised.value


async def test_whoever_holds_a_key_is_its_user() -> None:
    expected = Caller("alice", KEY_ID, PLANS["default"], "lab", ("llama3.2",), Limits(requests_per_minute=30))

    assert expected == await authenticator(FakeKeys(KEY)).caller((SECRET,))


OTHER_SECRET = f"sk-lg_{KEY_ID}_{'0' * 43}"
OTHER_SECRET += f"_{api_keys.checksum(OTHER_SECRET)}"
"""Well formed, and with an id that is on record."""


@pytest.mark.parametrize(
    ("key", "secrets", "now", "looked_up"),
    [
        (KEY, (), NOON, 0),
        (KEY, ("",), NOON, 0),
        (KEY, ("sk-lg_nonsense",), NOON, 0),
        (KEY, (SECRET[:-1],), NOON, 0),
        (KEY, (SECRET[:-1] + "\xff",), NOON, 0),
        (KEY, ("\udcff",), NOON, 0),
        (KEY, (KEY_ID,), NOON, 0),
        (KEY, (KEY.digest.hex(),), NOON, 0),
        (KEY, (f"sk-lg_{KEY_ID}_{KEY.digest.hex()[:43]}_000000",), NOON, 0),
        (KEY, (minted(2)[1],), NOON, 1),
        (KEY, (OTHER_SECRET,), NOON, 1),
        (replace(KEY, digest=b""), (SECRET,), NOON, 1),
        (replace(KEY, digest=bytes(32)), (SECRET,), NOON, 1),
        (replace(KEY, digest=api_keys.digest(SECRET, b"q" * 32)), (SECRET,), NOON, 1),
        (replace(KEY, expires_at=NOON), (SECRET,), NOON, 1),
        (replace(KEY, expires_at=NOON), (SECRET,), NOON + timedelta(days=1), 1),
        (replace(KEY, revoked_at=NOON), (SECRET,), NOON, 1),
        # A clock that was set back does not bring a revoked key to life.
        (replace(KEY, revoked_at=NOON), (SECRET,), NOON - timedelta(days=1), 1),
    ],
)
async def test_all_who_cannot_be_known_hear_the_same(
    key: Key, secrets: tuple[str, ...], now: datetime, looked_up: int
) -> None:
    keys = Asked(key)
    error = await refusal(keys, *secrets, now=now)
    plain = Unauthenticated()

    assert (Unauthenticated, plain.message, plain.headers) == (type(error), error.message, error.headers)
    assert looked_up == len(keys.asked)


async def test_a_key_is_good_until_the_second_in_which_it_expires() -> None:
    keys = FakeKeys(replace(KEY, expires_at=NOON))
    caller = await authenticator(keys, now=NOON - timedelta(microseconds=1)).caller((SECRET,))

    assert "alice" == caller.user
    assert isinstance(await refusal(keys, SECRET, now=NOON), Unauthenticated)


async def test_a_remembered_key_expires_on_time() -> None:
    times = [NOON - timedelta(microseconds=1), NOON]
    keys = Asked(replace(KEY, expires_at=NOON))
    one = Authenticator(keys, PLANS, PEPPER, clock=FakeClock(), now=lambda: times.pop(0))
    await one.caller((SECRET,))
    with pytest.raises(Unauthenticated):
        await one.caller((SECRET,))

    assert 1 == len(keys.asked)


@pytest.mark.parametrize("secrets", [(SECRET, SECRET), (SECRET, ""), ("", SECRET), ("a", "b", "c")])
async def test_two_credentials_are_refused_unseen(secrets: tuple[str, ...]) -> None:
    keys = Asked(KEY)

    assert isinstance(await refusal(keys, *secrets), TwoCredentials)
    assert [] == keys.asked


async def test_a_key_whose_plan_is_gone_is_forbidden() -> None:
    assert isinstance(await refusal(FakeKeys(replace(KEY, plan="old")), SECRET), Forbidden)


async def test_a_stranger_does_not_learn_that_a_plan_is_gone() -> None:
    assert isinstance(await refusal(FakeKeys(replace(KEY, plan="old")), OTHER_SECRET), Unauthenticated)


async def test_a_key_is_looked_up_once_in_half_a_second() -> None:
    clock, keys = FakeClock(), Asked(KEY)
    one = authenticator(keys, clock)
    await one.caller((SECRET,))
    clock.seconds += REMEMBERED_SECONDS - 0.001
    await one.caller((SECRET,))

    assert [KEY_ID] == keys.asked


async def test_who_come_together_wait_for_the_same_look_up() -> None:
    keys = Asked(KEY)
    knows = authenticator(keys)
    callers = await asyncio.gather(*(knows.caller((SECRET,)) for _ in range(20)))

    assert {"alice"} == {caller.user for caller in callers}
    assert [KEY_ID] == keys.asked


async def test_a_remembered_key_does_not_let_a_wrong_secret_in() -> None:
    one = authenticator(Asked(KEY))
    await one.caller((SECRET,))
    with pytest.raises(Unauthenticated):
        await one.caller((OTHER_SECRET,))


async def test_a_wrong_secret_does_not_lock_the_right_one_out() -> None:
    one = authenticator(Asked(KEY))
    with pytest.raises(Unauthenticated):
        await one.caller((OTHER_SECRET,))

    assert "alice" == (await one.caller((SECRET,))).user


async def test_a_revocation_bites_within_half_a_second() -> None:
    clock, keys = FakeClock(), Asked(KEY)
    one = authenticator(keys, clock)
    await one.caller((SECRET,))
    await keys.revoke(KEY_ID, NOON)
    clock.seconds += REMEMBERED_SECONDS
    with pytest.raises(Unauthenticated):
        await one.caller((SECRET,))

    assert REMEMBERED_SECONDS <= 0.5


async def test_what_a_slow_look_up_found_is_as_old_as_its_beginning() -> None:
    clock = FakeClock()

    def slowly() -> None:
        clock.seconds += REMEMBERED_SECONDS

    keys = Asked(KEY, takes=slowly)
    one = authenticator(keys, clock)
    await one.caller((SECRET,))
    await one.caller((SECRET,))

    assert 2 == len(keys.asked)


async def test_a_new_key_works_within_half_a_second_of_a_first_failure() -> None:
    clock, keys = FakeClock(), Asked()
    one = authenticator(keys, clock)
    with pytest.raises(Unauthenticated):
        await one.caller((SECRET,))
    await keys.add(KEY)
    clock.seconds += REMEMBERED_SECONDS

    assert "alice" == (await one.caller((SECRET,))).user


async def test_strangers_cannot_make_the_memory_grow() -> None:
    keys = Asked(KEY)
    one = authenticator(keys)
    await one.caller((SECRET,))
    for number in range(2, REMEMBERED_KEYS + 2):
        with pytest.raises(Unauthenticated):
            await one.caller((minted(number)[1],))
    keys.asked.clear()
    with pytest.raises(Unauthenticated):
        await one.caller((minted(REMEMBERED_KEYS + 1)[1],))
    await one.caller((SECRET,))

    assert [KEY_ID] == keys.asked  # The newest is remembered, the oldest had to make room.


async def test_a_store_that_fails_is_asked_again_at_once() -> None:
    failing = [True, False]

    def fail() -> None:
        if failing.pop(0):
            raise StorageFailed

    one = authenticator(Asked(KEY, takes=fail))
    with pytest.raises(StorageFailed):
        await one.caller((SECRET,))

    assert "alice" == (await one.caller((SECRET,))).user


async def test_a_refusal_tells_nothing_of_what_was_presented() -> None:
    for secrets in ((OTHER_SECRET,), (SECRET[:-1],), (SECRET, OTHER_SECRET)):
        error = await refusal(FakeKeys(KEY), *secrets)

        assert KEY_ID not in f"{error!r} {error.message} {error.headers}"


@pytest.mark.parametrize("said", ["ollama", "OLLAMA", "EMPTY", "sk-no-key-required"])
async def test_a_placeholder_for_a_key_is_told_its_cure(said: str) -> None:
    assert "placeholder" in (await refusal(FakeKeys(), said)).message
    assert (await refusal(FakeKeys(), said)).code == (await refusal(FakeKeys())).code
