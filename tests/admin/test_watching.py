from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from proxy.admin import watching
from proxy.admin.control import Control, path_in
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.admin.watching import MOST_CALLS, LedgerStatus, Look, handlers
from proxy.ledger.under_way import Stage, UnderWay
from tests.fakes.clock import FakeClock

CALL = UnderWay("req_1", "käse\n", None, "k1", "/api/chat", "gemma3:4b", Stage.ANSWERING, 2.5, 26, 3, 640)
STATUS = LedgerStatus(2**40, 1.5, True, True, 1, 2, 3, 4, 5)


class Gate:
    """A ``Watched``."""

    def __init__(self) -> None:
        self.calls: list[UnderWay] = [CALL]

    def under_way(self) -> Iterable[UnderWay]:
        return self.calls

    def status(self) -> LedgerStatus:
        return STATUS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_in(tmp_path)


@pytest.fixture
async def there(path: Path) -> AsyncIterator[Gate]:
    gate = Gate()
    async with Control(path, handlers(gate, FakeClock(7.0))).listening():
        yield gate


async def test_what_goes_on_arrives_as_it_was_sent(there: Gate, path: Path) -> None:
    there.calls = [CALL, replace(CALL, id="req_2", stage=Stage.WAITING, team="red", model=None, seconds=9.0)]

    assert Look(7.0, (there.calls[1], CALL), 0, STATUS) == await watching.look(path)
    assert STATUS == await watching.ledger_status(path)


async def test_however_many_calls_there_are_the_oldest_are_told_and_the_others_counted(there: Gate, path: Path) -> None:
    longest = replace(
        CALL, user="\U0001f9c0" * 128, team="\U0001f9c0" * 128, model="\U0001f9c0" * 128, endpoint="/" * 200
    )
    there.calls = [replace(longest, id=f"req_{number:05}", seconds=float(number)) for number in range(1000)]
    look = await watching.look(path)

    assert (MOST_CALLS, 1000 - MOST_CALLS) == (len(look.calls), look.others)
    assert 999.0 == look.calls[0].seconds


async def test_looks_follow_one_another_with_a_pause(there: Gate, path: Path) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        there.calls = []

    looks = watching.looks(path, pause)
    first, second = await anext(looks), await anext(looks)
    await looks.aclose()

    assert ((CALL,), ()) == (first.calls, second.calls)
    assert [watching.EVERY_SECONDS] == pauses


async def test_where_no_gate_runs_nobody_can_tell(path: Path) -> None:
    with pytest.raises(GateNotRunning):
        await watching.look(path)
    with pytest.raises(GateNotRunning):
        await watching.ledger_status(path)


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"at": 1.0, "calls": [{"id": "x"}], "others": 0, "ledger": asdict(STATUS)},
        {"at": 1.0, "calls": [{**asdict(CALL), "stage": "dreaming"}], "others": 0, "ledger": asdict(STATUS)},
        {"at": 1.0, "calls": [], "others": 0, "ledger": {}},
    ],
)
async def test_a_gate_of_another_version_is_named_as_such(path: Path, told: object) -> None:
    async def tells(_: object) -> object:
        return told

    async with Control(path, {"top.look": tells, "ledger.status": tells}).listening():
        for asking in (watching.look, watching.ledger_status):
            with pytest.raises(NotDone, match="different versions"):
                await asking(path)


async def test_what_goes_on_in_several_processes_is_told_as_one() -> None:
    def told(first: int, others: int, ledger: LedgerStatus) -> dict[str, object]:
        calls = tuple(replace(CALL, id=f"req_{first + number}", seconds=float(first + number)) for number in range(150))
        return asdict(Look(float(first), calls, others, ledger))

    ledgers = LedgerStatus(10, 1.5, True, False, 1, 2, 3, 4, 5), LedgerStatus(20, 0.5, False, False, 10, 20, 30, 40, 50)
    whole = watching.looks_together([told(1000, 1, ledgers[0]), told(2000, 2, ledgers[1])])

    assert (2000.0, MOST_CALLS, 300 - MOST_CALLS + 3) == (whole["at"], len(whole["calls"]), whole["others"])
    assert [2149.0, 1100.0] == [whole["calls"][place]["seconds"] for place in (0, -1)]
    assert asdict(LedgerStatus(30, 1.5, True, False, 11, 22, 33, 44, 55)) == whole["ledger"]
    assert whole["ledger"] == watching.statuses_together([asdict(ledger) for ledger in ledgers])


@pytest.mark.parametrize("told", [None, {}, {"at": 1}])
def test_a_process_of_another_version_is_told_apart(told: object) -> None:
    with pytest.raises(NotDone, match="different versions"):
        watching.looks_together([told])
