"""How much is measured, by default and in less time or more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Counts of one round of one server, where nothing else is said."""

    rounds: int
    starts: int
    calls: int
    """Of one client; four times as many of several."""
    streams: int
    """Of each kind."""
    paced_events: int
    """Of each stream of the 64 clients whose events come at the pace of a model."""
    clients: tuple[int, ...]
    decisions: int
    """Of each kind."""
    proofs: int
    """Of each kind."""
    rows: int
    """Of the ledger, of each number of callers; a tenth of them where calls come as they like."""
    bodies: tuple[int, ...]
    """Sizes in bytes."""
    events: tuple[int, ...]
    """Of a stream."""
    keys: tuple[int, ...]
    """On record."""
    open_streams: int
    worker_calls: int
    seconds_of_a_group: float
    """No round of a group is begun that would end later."""
    few: bool = False
    """Whether the large peers, PostgreSQL and most features are left out, and what needs the whole machine."""


WHOLE = Size(
    rounds=3,
    starts=3,
    calls=400,
    streams=48,
    paced_events=50,
    clients=(1, 32, 256),
    decisions=640,
    proofs=320,
    rows=600,
    bodies=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    events=(10, 100, 1_000, 10_000),
    keys=(10, 1_000, 100_000),
    open_streams=1_000,
    worker_calls=8_000,
    seconds_of_a_group=75,
)
QUICK = Size(
    rounds=1,
    starts=1,
    calls=40,
    streams=8,
    paced_events=10,
    clients=(1, 32, 256),
    decisions=64,
    proofs=32,
    rows=100,
    bodies=(1_000, 100_000),
    events=(10, 100),
    keys=(10, 1_000),
    open_streams=50,
    worker_calls=400,
    seconds_of_a_group=3,
    few=True,
)
MOST_KEYS = 1_000_000
