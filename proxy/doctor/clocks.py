"""Do the clocks agree, by which days begin, tokens end and signatures grow old?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.doctor.findings import Finding, critical, ok, warning

MOST_SECONDS = 2.0
"""Apart, before it is told."""
FAR_SECONDS = 60.0
"""Apart, before signatures and tokens are refused that are good."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Another one, as it was seen from here."""

    whose: str
    ahead: float
    """Seconds by which it is ahead of ours; behind where that is less than 0."""
    unsure: float
    """Seconds by which that may be wrong, for the way took time and some clocks tell whole seconds."""


def findings(clocks: Iterable[Clock]) -> Iterator[Finding]:
    for clock in clocks:
        apart = max(0.0, abs(clock.ahead) - clock.unsure)
        id = f"clock.{clock.whose.lower()}"
        if apart <= MOST_SECONDS:
            yield ok(id, f"The clock of {clock.whose} agrees with ours.")
            continue
        say = critical if apart > FAR_SECONDS else warning
        direction = "ahead of" if clock.ahead > 0 else "behind"
        yield say(
            id,
            f"The clock of {clock.whose} is {abs(clock.ahead):.1f} s {direction} ours.",
            "Limits are counted by one clock and told by the other, days begin twice, and tokens, signatures and keys "
            "end too early or too late.",
            "timedatectl set-ntp true on both machines, then timedatectl timesync-status",
        )
