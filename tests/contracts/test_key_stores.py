from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.auth import Key, KeyStore
from proxy.auth.key_store_sql import SqlKeyStore
from proxy.errors import StorageFailed
from proxy.vocabulary import Limits
from tests.fakes.databases import KINDS, NewEngine
from tests.fakes.keys import FakeKeys

NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAIN = Key(id="k1", user="alice", plan="default", created_at=NOON, digest=bytes(range(32)))
FULL = replace(
    PLAIN,
    team="lab",
    models=("llama3.2:*", "hf.co/*"),
    expires_at=NOON + HOUR,
    note="käse 🧀",
    limits=Limits(30, 10, 20_000, 5_000, 2, 10**12, 10**12 - 1, 0.1),
    digest=bytes(range(224, 256)),
)


@pytest.fixture(params=["fake", *KINDS])
async def keys(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[KeyStore]:
    if request.param == "fake":
        yield FakeKeys()
        return
    async with new_engine(request.param) as engine:
        yield SqlKeyStore(engine)


@pytest.mark.parametrize("key", [PLAIN, FULL, replace(PLAIN, models=())], ids=["plain", "full", "no models"])
async def test_a_key_is_found_as_it_was_put_on_record(keys: KeyStore, key: Key) -> None:
    await keys.add(key)
    found = await keys.find("k1")

    assert found is not None
    assert (key, key.digest) == (found, found.digest)


@pytest.mark.parametrize("key_id", ["k2", "K1", "k1 ", "k_", "%", "", "k1' OR '1'='1"])
async def test_a_key_is_found_by_exactly_its_id(keys: KeyStore, key_id: str) -> None:
    await keys.add(PLAIN)

    assert await keys.find(key_id) is None
    assert await keys.revoke(key_id, NOON) is None
    assert await keys.update(key_id, Limits(1)) is None
    assert [PLAIN] == await keys.all()


async def test_times_come_back_in_utc_whatever_zone_they_were_told_in(keys: KeyStore) -> None:
    there = timezone(timedelta(hours=-7))
    await keys.add(replace(FULL, created_at=NOON.astimezone(there), expires_at=(NOON + HOUR).astimezone(there)))
    revoked = await keys.revoke("k1", NOON.astimezone(there))

    assert replace(FULL, revoked_at=NOON) == revoked
    assert revoked is not None
    assert [UTC] * 3 == [time and time.tzinfo for time in (revoked.created_at, revoked.expires_at, revoked.revoked_at)]


async def test_a_taken_id_is_refused_and_changes_nothing(keys: KeyStore) -> None:
    await keys.add(PLAIN)
    with pytest.raises(StorageFailed):
        await keys.add(replace(PLAIN, user="mallory"))

    assert [PLAIN] == await keys.all()


async def test_all_keys_are_told_oldest_first_whatever_their_state(keys: KeyStore) -> None:
    for key_id, hours in (("b", 2), ("c", 1), ("a", 3)):
        await keys.add(replace(PLAIN, id=key_id, created_at=NOON + hours * HOUR, expires_at=NOON))
    await keys.revoke("c", NOON)

    assert ["c", "b", "a"] == [key.id for key in await keys.all()]


async def test_an_empty_store_has_no_keys(keys: KeyStore) -> None:
    assert [] == await keys.all()


async def test_a_revoked_key_stays_revoked_from_the_first_time(keys: KeyStore) -> None:
    await keys.add(PLAIN)
    await keys.add(replace(PLAIN, id="k2"))
    first = await keys.revoke("k1", NOON + HOUR)
    again = await keys.revoke("k1", NOON + 2 * HOUR)

    assert replace(PLAIN, revoked_at=NOON + HOUR) == first == again == await keys.find("k1")
    assert replace(PLAIN, id="k2") == await keys.find("k2")


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=1), Limits(gpu_seconds_per_day=1 / 3), Limits()])
async def test_a_keys_own_limits_are_those_that_it_was_given_last(keys: KeyStore, limits: Limits) -> None:
    await keys.add(FULL)
    await keys.add(replace(FULL, id="k2"))
    updated = await keys.update("k1", limits)

    assert replace(FULL, limits=limits) == updated == await keys.find("k1")
    assert replace(FULL, id="k2") == await keys.find("k2")


async def test_a_revoked_key_can_be_given_other_limits_and_stays_revoked(keys: KeyStore) -> None:
    await keys.add(PLAIN)
    await keys.revoke("k1", NOON + HOUR)

    assert replace(PLAIN, limits=Limits(1), revoked_at=NOON + HOUR) == await keys.update("k1", Limits(1))
