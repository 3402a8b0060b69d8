"""What the admin listener tells of a gate that has several workers, whichever of them is asked: one answer for all.

Whether calls should be sent here each worker shows to the others once a second, so that nobody has to be asked. Figures
are asked for when they are wanted. What only grows is kept with the slot, and goes on when its worker has died.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxy.admin.control import Handler
from proxy.admin.refusals import NotDone
from proxy.bootstrap.sharing import Slot
from proxy.bootstrap.workers import Place, Worker
from proxy.late import late
from proxy.vocabulary import Clock
from proxy.web.health import Check, Readiness

if TYPE_CHECKING:
    from proxy.telemetry import metrics as figures
else:
    figures = late("proxy.telemetry.metrics")

SHOW_SECONDS = 1.0
"""Between two times that a worker shows whether it is ready."""
STALE_SECONDS = 3.0
"""What was shown so long ago is not true any more: its worker hangs."""
ASK_SECONDS = 3.0
"""For another worker to tell its figures."""
FIGURES = "figures.look"


class Gathering:
    """One worker's part in it. ``ready`` is its own readiness, and ``metrics`` are its own figures."""

    def __init__(self, place: Place, ready: Callable[[], Readiness], metrics: "figures.Metrics", clock: Clock) -> None:
        self._place = place
        self._ready = ready
        self._metrics = metrics
        self._clock = clock
        self._before = figures.growing(_kept(place.slot))
        """What the workers before this one counted."""
        self._one_at_a_time = asyncio.Lock()

    def handlers(self) -> Mapping[str, Handler]:
        """What it answers to the others."""

        async def look(_: Mapping[str, Any]) -> list[Any]:
            return figures.as_told(await self._mine())

        return {FIGURES: look}

    def show(self) -> None:
        """Whether it is ready, to the others."""
        self._place.slot.readiness.write(_shown(self._ready(), self._clock()))

    async def showing(self) -> None:
        """For ever."""
        while True:
            self.show()
            await asyncio.sleep(SHOW_SECONDS)

    def readiness(self) -> Readiness:
        """That of all. It is ready if each of them is."""
        self.show()
        now = self._clock()
        return together([_seen(slot, now) for slot in self._place.board.slots])

    async def text(self) -> tuple[str, bytes]:
        """The figures of all, as ``Metrics.text`` has its own."""
        others = [worker for worker in self._place.workers if worker.number != self._place.slot.number]
        told = await asyncio.gather(self._mine(), *map(self._of, others))
        return await asyncio.to_thread(lambda: figures.written(figures.together(told)))

    async def keep(self) -> None:
        """Put down what it counts, so that it is not lost with it."""
        await self._mine()

    async def _mine(self) -> "list[figures.Family]":
        async with self._one_at_a_time:  # What was told must never be more than what stands there afterwards.
            mine = figures.together([await self._metrics.families(), self._before])
            text = await asyncio.to_thread(lambda: json.dumps(figures.as_told(mine)).encode())
            self._place.slot.figures.write(text)
            return mine

    async def _of(self, worker: Worker) -> "list[figures.Family]":
        """Another's, or where it does not answer, what it or the one before it counted as far as that is known."""
        try:
            return figures.heard(await worker.asked({"ask": FIGURES}, ASK_SECONDS))
        except (NotDone, ValueError):
            return figures.growing(_kept(self._place.board.slots[worker.number]))


def together(each: Sequence[Readiness | None]) -> Readiness:
    """Whether a gate with these workers should be sent calls; None stands for one that does not answer."""
    told = [one for one in each if one is not None]
    checks: dict[str, Check] = {}
    besides: dict[str, str] = {}
    for readiness in told:
        for name, check in readiness.checks.items():
            if name not in checks or (checks[name].is_good and not check.is_good):
                checks[name] = check
        besides.update(readiness.besides)
    checks["workers"] = Check(len(told) == len(each), f"{len(told)} of {len(each)}")
    return Readiness(checks, besides)


def _shown(readiness: Readiness, at: float) -> bytes:
    checks = {name: [check.is_good, check.says] for name, check in readiness.checks.items()}
    return json.dumps({"at": at, "checks": checks, "besides": dict(readiness.besides)}).encode()


def _seen(slot: Slot, now: float) -> Readiness | None:
    """What its worker showed last; None where that is too long ago, or it has not come so far that it answers calls."""
    text = slot.readiness.read()
    if not text or not slot.is_open:
        return None
    told = json.loads(text)
    if now - told["at"] > STALE_SECONDS:
        return None
    return Readiness({name: Check(*check) for name, check in told["checks"].items()}, told["besides"])


def _kept(slot: Slot) -> "list[figures.Family]":
    text = slot.figures.read()
    return figures.heard(json.loads(text)) if text else []
