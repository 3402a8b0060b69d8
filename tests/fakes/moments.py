"""Two clocks that are moved by hand, together."""

from datetime import UTC, datetime, timedelta

from proxy.limits import Moment

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Since the Unix epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class FakeMoments:
    """Tells a ``Moment``; the steady clock began somewhere else than the one on the wall."""

    def __init__(self, at: datetime = NOON, steady: int = 10**12) -> None:
        self.wall = micros(at)
        self.steady = steady

    def __call__(self) -> Moment:
        return Moment(self.steady, self.wall)

    def move(self, seconds: float) -> None:
        self.wall += round(seconds * 1_000_000)
        self.steady += round(seconds * 1_000_000)

    def move_to(self, at: datetime) -> None:
        self.move((micros(at) - self.wall) / 1_000_000)
