"""``llamagate``, which at SIGUSR1 also writes into the file CHAOS_TASKS how many tasks its loop has.

Where CHAOS_CLOCK names a file, its wall clock is ahead by as many seconds as stand in there. libfaketime would do that
for every clock of the process, but after a jump back it also holds up the threads of CPython for seconds.
"""

import asyncio
import ctypes
import os
import signal
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

from proxy.__main__ import main
from proxy.bootstrap import clocks
from proxy.limits import Moment

PR_SET_PDEATHSIG = 1
"""Of prctl(2), on Linux."""


def tell(_number: int, _frame: FrameType | None) -> None:
    loop = asyncio.events._get_running_loop()
    names = sorted(str(task.get_coro()) for task in asyncio.all_tasks(loop)) if loop else []
    place = Path(os.environ["CHAOS_TASKS"])
    place.with_suffix(".new").write_text("\n".join(names))
    place.with_suffix(".new").rename(place)


def move_clock(place: Path) -> None:
    """From now on the file says what time it is."""
    now, moment = clocks.now, clocks.moment

    def moved_now() -> datetime:
        return now() + timedelta(seconds=int(place.read_text()))

    def moved_moment() -> Moment:
        told = moment()
        return replace(told, wall=told.wall + int(place.read_text()) * 1_000_000)

    vars(clocks).update(now=moved_now, moment=moved_moment)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # It ends with whoever started it, however that ends.
    signal.signal(signal.SIGUSR1, tell)
    if "CHAOS_CLOCK" in os.environ:
        move_clock(Path(os.environ["CHAOS_CLOCK"]))
    main()
