import asyncio
import os
import signal

import pytest

from proxy.bootstrap.signals import STOPPING, Stop, heeding_hang_ups, heeding_signals

NUMBERS = pytest.mark.parametrize("number", STOPPING)


async def sent(number: signal.Signals, stop: Stop) -> tuple[bool, bool]:
    """What has been asked for once the signal is heard."""
    os.kill(os.getpid(), number)
    for _ in range(5):
        await asyncio.sleep(0)
    return stop.asked.is_set(), stop.hastened.is_set()


@NUMBERS
async def test_the_first_signal_stops_and_the_second_hastens(number: signal.Signals) -> None:
    with heeding_signals() as stop:
        assert (False, False) == (stop.asked.is_set(), stop.hastened.is_set())
        assert (True, False) == await sent(number, stop)
        assert (True, True) == await sent(number, stop)


async def test_it_does_not_matter_which_comes_first() -> None:
    with heeding_signals() as stop:
        assert (True, False) == await sent(signal.SIGINT, stop)
        assert (True, True) == await sent(signal.SIGTERM, stop)


@NUMBERS
async def test_the_third_kills(number: signal.Signals) -> None:
    with heeding_signals() as stop:
        await sent(number, stop)
        await sent(number, stop)

        assert [signal.SIG_DFL, signal.SIG_DFL] == [signal.getsignal(one) for one in STOPPING]


async def test_afterwards_all_is_as_it_was() -> None:
    before = [signal.getsignal(one) for one in STOPPING]
    with heeding_signals() as stop:
        await sent(signal.SIGTERM, stop)
        await sent(signal.SIGTERM, stop)

    assert before == [signal.getsignal(one) for one in STOPPING]


async def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_hang_up_is_met_as_soon_as_it_can_be_and_kills_nobody_before() -> None:
    reloads = list[str]()
    with heeding_hang_ups() as again:
        await hang_up()
        again.met_by(lambda: reloads.append("now"))

        assert ["now"] == reloads

        await hang_up()

        assert ["now", "now"] == reloads


async def test_whoever_had_hang_ups_ignored_has_them_ignored_afterwards() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeding_hang_ups():
            pass

        assert signal.SIG_IGN == signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
