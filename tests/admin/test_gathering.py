from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from proxy.admin.control import Handler
from proxy.admin.gathering import handlers
from proxy.admin.proofs import AuthStatus
from proxy.admin.refusals import NoAnswer, NotDone
from proxy.admin.reloading import Reloaded
from proxy.admin.watching import LedgerStatus
from proxy.config.layers import Mistake

TAKEN = Reloaded(("limits",), ("listen",))
MISTAKE = Mistake("llamagate.toml", "listne", "is not a setting", "did you mean listen?")


@dataclass
class Worker:
    """A ``gathering.Worker`` that answers what stands here, or refuses."""

    number: int
    told: Any = None
    fails: NotDone | None = None
    heard: list[Mapping[str, Any]] = field(default_factory=list)
    when_asked: Callable[[], None] = lambda: None

    async def asked(self, asked: Mapping[str, Any], seconds: float) -> Any:
        self.heard.append(asked)
        self.when_asked()
        if self.fails is not None:
            raise self.fails
        return self.told


class House:
    """Worker 1 is the one that is asked for all of them."""

    def __init__(self, *workers: Worker, reloaded: Reloaded | NotDone = TAKEN) -> None:
        self.noted = 0
        self._reloaded = reloaded
        self.handlers: Mapping[str, Handler] = handlers(workers, 1, self._reload, self._note)

    async def ask(self, what: str, **more: Any) -> Any:
        return await self.handlers[what]({"ask": what, **more})

    async def _reload(self) -> Mapping[str, Any]:
        if isinstance(self._reloaded, NotDone):
            raise self._reloaded
        return asdict(self._reloaded)

    def _note(self) -> None:
        self.noted += 1


async def test_what_each_counts_is_added_up() -> None:
    told = [asdict(AuthStatus({"api_key": count})) for count in (3, 4)]
    house = House(Worker(0, told[0]), Worker(1, told[1]))

    assert asdict(AuthStatus({"api_key": 7})) == await house.ask("auth.status")


async def test_who_does_not_answer_is_left_out() -> None:
    house = House(Worker(0, fails=NoAnswer()), Worker(1, asdict(LedgerStatus(lost_lines=2))))

    assert asdict(LedgerStatus(lost_lines=2)) == await house.ask("ledger.status")


async def test_where_nobody_answers_that_is_said() -> None:
    house = House(Worker(0, fails=NoAnswer()), Worker(1, fails=NoAnswer()))

    for what in ("top.look", "ledger.status", "auth.status", "limits.status", "limits.look"):
        with pytest.raises(NoAnswer):
            await house.ask(what)


async def test_what_all_know_alike_one_is_asked_for_and_the_next_where_it_does_not_answer() -> None:
    silent, first, second = Worker(0, fails=NoAnswer()), Worker(1, {"states": []}), Worker(2)
    house = House(silent, first, second)

    assert {"states": []} == await house.ask("limits.look", accounts=[7])
    assert [{"ask": "limits.look", "accounts": [7]}] == first.heard
    assert [] == second.heard


async def test_what_each_has_to_do_is_done_by_all_or_told_of_by_whom_not() -> None:
    workers = [Worker(0), Worker(1), Worker(2)]
    house = House(*workers)

    assert None is await house.ask("limits.reset", accounts=[])
    assert [1, 1, 1] == [len(worker.heard) for worker in workers]

    workers[2].fails = NotDone("The disk is full.")
    with pytest.raises(NotDone, match=r"Of 3 workers 2 did it\. worker 2: The disk is full\."):
        await house.ask("limits.reset", accounts=[])


async def test_all_take_a_new_configuration_once() -> None:
    mine, other = Worker(1), Worker(0, asdict(Reloaded(("limits", "plans.lab.models"), ("listen",))))
    house = House(other, mine)
    told = await house.ask("reload")

    assert (("limits", "plans.lab.models"), ("listen",), ()) == (told["applied"], told["waiting"], told["mistakes"])
    assert ([], 1, 1) == (mine.heard, len(other.heard), house.noted)


async def test_who_follows_one_that_ends_while_others_are_still_asked_has_it_too() -> None:
    other, noted = Worker(0, asdict(TAKEN)), list[int]()
    house = House(other, Worker(1))
    other.when_asked = lambda: noted.append(house.noted)
    await house.ask("reload")

    assert [1] == noted, "whoever starts workers knows of it before this one has answered, and can end"


@pytest.mark.parametrize("refused", [Reloaded(mistakes=(MISTAKE,)), NotDone("A file is not there.")])
async def test_what_one_refuses_nobody_else_is_asked_to_take(refused: Reloaded | NotDone) -> None:
    other = Worker(0)
    house = House(other, Worker(1), reloaded=refused)
    if isinstance(refused, NotDone):
        with pytest.raises(NotDone, match="A file is not there"):
            await house.ask("reload")
    else:
        assert asdict(refused) == await house.ask("reload")

    assert ([], 0) == (other.heard, house.noted)


async def test_who_did_not_take_it_is_told() -> None:
    house = House(Worker(0, fails=NoAnswer()), Worker(1))
    with pytest.raises(NotDone, match=r"Of 2 workers 1 did it\. worker 0: It does not answer\."):
        await house.ask("reload")

    assert 1 == house.noted, "some did, and those that come shall too"


async def test_a_configuration_that_changes_meanwhile_is_no_success() -> None:
    house = House(Worker(0, asdict(Reloaded(mistakes=(MISTAKE,)))), Worker(1))
    with pytest.raises(NotDone, match="changed while it was read"):
        await house.ask("reload")
