from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.control import Control, path_in
from proxy.admin.office import LimitsOffice, Seen, Status
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.admin.remote import AT_ONCE, ControlOffice, handlers, together
from proxy.limits import Account, Claim, Moment, State, StoreFailed
from proxy.limits.bucket import UNITS
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Level, Limits
from tests.fakes.tools import MOMENT, office

ALICE = Account(
    Level.USER, "käse\n", Limits(2, 1, 20, 10, 2, 10**12, 10**12, 0.5), "team ü", "gemma3", True, "Europe/Berlin"
)
BOB = Account(Level.KEY, "k1", Limits(requests_per_minute=2))
LONG = Account(Level.USER, "\U0001f9c0" * 128, Limits(), "team " + "\U0001f9c0" * 128, "m" * 256)
STATUS = Status("Redis", 3, {"refused": 2}, "local", datetime(2026, 3, 1, 12, tzinfo=UTC))
ELSEWHERE = MemoryStore(lambda: Moment(7, 7))


class Recording:
    """A ``LimitsOffice`` that keeps what it is asked for."""

    def __init__(self) -> None:
        self.looked: list[Account] = []
        self.were_reset: list[Account] = []
        self.tells = STATUS

    async def look(self, accounts: Sequence[Account]) -> Seen:
        self.looked += accounts
        return Seen(MOMENT, tuple(State(requests=number, day_gpu_ms=2**53) for number in range(len(accounts))))

    async def reset(self, accounts: Sequence[Account]) -> None:
        self.were_reset += accounts

    async def status(self) -> Status:
        return self.tells


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_in(tmp_path)


@pytest.fixture
def there() -> Recording:
    return Recording()


@pytest.fixture
async def here(path: Path, there: Recording) -> AsyncIterator[LimitsOffice]:
    """The same office, seen from another process."""
    async with Control(path, handlers(there)).listening():
        yield ControlOffice(path, ELSEWHERE)


async def test_accounts_and_states_arrive_as_they_were_sent(here: LimitsOffice, there: Recording) -> None:
    states = (State(requests=0, day_gpu_ms=2**53), State(requests=1, day_gpu_ms=2**53))

    assert Seen(MOMENT, states) == await here.look([ALICE, BOB])
    await here.reset([ALICE])
    assert ([ALICE, BOB], [ALICE]) == (there.looked, there.were_reset)


@pytest.mark.parametrize("status", [STATUS, Status("in process", 0)])
async def test_a_status_arrives_as_it_was_sent(here: LimitsOffice, there: Recording, status: Status) -> None:
    there.tells = status

    assert status == await here.status()


async def test_however_many_accounts_with_the_longest_names_can_be_asked_for(
    here: LimitsOffice, there: Recording
) -> None:
    many = [LONG] * (2 * AT_ONCE + 1)
    seen = await here.look(many)
    await here.reset(many)

    assert len(many) == len(seen.states) == len(there.looked) == len(there.were_reset)
    assert Seen(MOMENT, ()) == await here.look([])


async def test_an_office_over_the_socket_is_one_over_the_store_behind_it(path: Path) -> None:
    store = MemoryStore(lambda: MOMENT)
    async with Control(path, handlers(office(store))).listening():
        here = ControlOffice(path, ELSEWHERE)
        await store.reserve(Claim("c1", (BOB,)))
        used = await here.look([BOB])
        await here.reset([BOB])

        assert (State(requests=UNITS, concurrent=1),) == used.states
        assert (State(concurrent=1),) == (await here.look([BOB])).states
        assert 1 == (await here.status()).under_way


async def test_where_the_gate_does_not_run_the_fallback_is_looked_at_and_nothing_else_is_done(path: Path) -> None:
    here = ControlOffice(path, ELSEWHERE)

    assert Seen(Moment(7, 7), (State(),), is_live=False) == await here.look([BOB])
    with pytest.raises(GateNotRunning):
        await here.reset([BOB])
    with pytest.raises(GateNotRunning):
        await here.status()


async def test_a_store_that_failed_is_no_gate_that_does_not_run(path: Path) -> None:
    class Failing(Recording):
        async def look(self, accounts: Sequence[Account]) -> Seen:
            raise StoreFailed

    async with Control(path, handlers(Failing())).listening():
        with pytest.raises(NotDone, match="cannot tell at the moment"):
            await ControlOffice(path, ELSEWHERE).look([BOB])


@pytest.mark.parametrize("what", ["limits.look", "limits.reset"])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"accounts": None},
        {"accounts": [1]},
        {"accounts": [{}]},
        {"accounts": [{"level": "moon"}]},
        {"accounts": [{"level": "key", "subject": "k1", "limits": {"rpm": 1}}]},
    ],
)
async def test_accounts_of_another_version_are_refused(there: Recording, what: str, asked: Mapping[str, Any]) -> None:
    with pytest.raises(NotDone, match="different versions"):
        await handlers(there)[what](asked)

    assert [] == there.looked + there.were_reset


@pytest.mark.parametrize("told", [None, {}, {"steady": 1, "wall": 1, "states": [1]}])
async def test_answers_of_another_version_are_told(path: Path, told: Any) -> None:
    async def other(_: Mapping[str, Any]) -> Any:
        return told

    async with Control(path, dict.fromkeys(handlers(Recording()), other)).listening():
        here = ControlOffice(path, ELSEWHERE)
        with pytest.raises(NotDone, match="different versions"):
            await here.look([BOB])
        with pytest.raises(NotDone, match="different versions"):
            await here.status()


async def test_how_several_processes_count_is_told_as_one() -> None:
    async def told(status: Status) -> Any:
        counting = Recording()
        counting.tells = status
        return await handlers(counting)["limits.status"]({})

    later = datetime(2026, 3, 1, 13, tzinfo=UTC)
    others = [Status("Redis", 4, {"refused": 1, "failures": 1}, "local", later), Status("Redis", 0, {}, "local")]
    whole = together([await told(one) for one in (STATUS, *others)])

    assert await told(Status("Redis", 7, {"refused": 3, "failures": 1}, "local", STATUS.degraded_since)) == whole
