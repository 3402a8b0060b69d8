"""What is asked of clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manners:
    """Bytes and seconds."""

    max_body: int
    body_timeout: float = 60.0
    """For a whole body; for each piece of one that is passed on as it comes."""
    stall_timeout: float = 30.0
    """How long the client may take nothing of its answer."""
    keepalive_timeout: float = 75.0
    origins: tuple[str, ...] = ()
    """The web pages that may ask from a browser, by scheme, host and port; ``*`` is any."""
