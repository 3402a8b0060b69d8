"""What is asked of clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manners:
    """Bytes and seconds, and how many."""

    max_body: int
    body_timeout: float = 60.0
    """For a whole body; one that is passed on as it comes takes as long as it takes, at ``body_rate``."""
    stall_timeout: float = 30.0
    """How long the client may take nothing of its answer."""
    keepalive_timeout: float = 75.0
    """Between an answer and the next request."""
    origins: tuple[str, ...] = ()
    """The web pages that may ask from a browser, by scheme, host and port; ``*`` is any."""
    head_timeout: float = 10.0
    """For a head, from its first byte on; for the first one, from the beginning of the connection."""
    body_rate: int = 1024
    """Bytes per second that a body must come with; it may be behind by ``head_timeout``, and no more."""
    connections: int = 10_000
    """At the same time."""
    connections_per_address: int = 256
    """At the same time; an IPv6 address is its /64."""
    requests_per_connection: int = 1000
    slack: float = 10.0
    """By how much the connection gives a client up later than the door, which knows what to write into the ledger."""
