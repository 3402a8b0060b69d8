"""Several processes that are one gate to whoever asks: each is asked, and their answers are put together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.admin import proofs, reloading, remote, watching
from proxy.admin.control import Handler
from proxy.admin.refusals import NoAnswer, NotDone
from proxy.errors import GateError

LOOK_SECONDS = 5.0
"""For one process to tell how it stands."""
ACT_SECONDS = 15.0
"""For one process to do something."""

Together = Callable[[Sequence[Any]], Any]


class Worker(Protocol):
    """One of the processes."""

    @property
    def number(self) -> int: ...

    async def asked(self, asked: Mapping[str, Any], seconds: float) -> Any:
        """What it tells, which is JSON. Raises NotDone where it refuses, and NoAnswer where it says nothing in time."""


def handlers(
    workers: Sequence[Worker],
    mine: int,
    reload: Callable[[], Awaitable[Mapping[str, Any]]],
    reloaded: Callable[[], None],
) -> Mapping[str, Handler]:
    """What the gate answers, by any of its processes. ``workers`` are all of them, and ``mine`` is this one's number.

    ``reload`` is what this one does; ``reloaded`` is called once it has, whatever the others do. A process that does
    not answer is left out of what is told.
    """

    others = [worker for worker in workers if worker.number != mine]

    def told(together: Together) -> Handler:
        async def handler(asked: Mapping[str, Any]) -> Any:
            answers = [one.told for one in await _all(workers, asked, LOOK_SECONDS) if one.error is None]
            if not answers:
                raise NoAnswer
            return together(answers)

        return handler

    async def first(asked: Mapping[str, Any]) -> Any:
        """What all would tell alike."""
        error: NotDone = NoAnswer()
        for worker in workers:
            try:
                return await worker.asked(asked, LOOK_SECONDS)
            except NotDone as refused:
                error = refused
        raise error

    async def every(asked: Mapping[str, Any]) -> None:
        """What each has to do."""
        _require(await _all(workers, asked, ACT_SECONDS))

    async def again(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """By one process first: what it refuses nobody has to look at, and all go on as they were."""
        done = await reload()
        if done["mistakes"]:
            return done
        reloaded()  # Before the others are asked: one that ends once it has answered is followed by one that has it.
        answers = [_Answer(mine, done), *await _all(others, asked, ACT_SECONDS)]
        _require(answers)
        whole: Mapping[str, Any] = reloading.together([one.told for one in answers])
        if whole["mistakes"]:
            raise NotDone("The configuration changed while it was read: some processes took it, and some did not.")
        return whole

    return {
        "top.look": told(watching.looks_together),
        "ledger.status": told(watching.statuses_together),
        "auth.status": told(proofs.together),
        "limits.status": told(remote.together),
        "limits.look": first,
        "limits.reset": every,
        "reload": again,
    }


@dataclass(frozen=True, slots=True)
class _Answer:
    number: int
    told: Any = None
    error: GateError | None = None


async def _all(workers: Sequence[Worker], asked: Mapping[str, Any], seconds: float) -> Sequence[_Answer]:
    async def one(worker: Worker) -> _Answer:
        try:
            return _Answer(worker.number, await worker.asked(asked, seconds))
        except NotDone as error:
            return _Answer(worker.number, error=error)

    return await asyncio.gather(*map(one, workers))


def _require(answers: Sequence[_Answer]) -> None:
    """Raises NotDone where one has not done it, and says which."""
    failed = [f"worker {one.number}: {one.error.message}" for one in answers if one.error is not None]
    if failed:
        done = len(answers) - len(failed)
        raise NotDone(f"Of {len(answers)} workers {done} did it. {' '.join(failed)}")
