"""Calls that proved nothing, counted by the address they came from, so that guessing is slow and fills no disk.

A credential that is good is let in from everywhere: who shares an address with a guesser is not locked out.
"""

import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType

from proxy.errors import GateError, TooManyFailures, TwoCredentials, Unauthenticated
from proxy.limits import bucket

MOST_ADDRESSES = 10_000
"""That are remembered; of more, those are forgotten that have been quiet for longest."""
IPV6_PREFIX = 64
"""Bits of an IPv6 address that tell one household from another: all the rest anybody has for free."""
QUIET = 60_000_000
"""Microseconds between two lines in the log."""


class Strangers:
    """Knows how often an address has failed of late. ``steady`` is a clock in microseconds."""

    def __init__(self, per_minute: int, steady: Callable[[], int]) -> None:
        self._per_minute = per_minute
        self._steady = steady
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """What is used of each address's bucket, and when it was looked at."""
        self._untold = 0
        self._told_at: int | None = None
        self._log = logging.getLogger("proxy.limits")
        self.refused = 0
        """Calls that were told to come back later, and have no line in the ledger."""

    def counted(self, peer: str) -> "_Counted":
        """Whatever proves nothing in here counts against the address. Raises TooManyFailures in place of the rest."""
        return _Counted(self, peer)

    def failed(self, peer: str, error: GateError) -> None:
        """Somebody there has proved nothing. Raises TooManyFailures where that was too often."""
        if wait := self._failed(network(peer)):
            self._tell()
            raise TooManyFailures(wait=wait) from error

    def _failed(self, address: str) -> int:
        """Count it, if there is room; else the microseconds until there is."""
        now = self._steady()
        used, since = self._failures.get(address, (0, now))
        used = bucket.run_off(used, since, now, self._per_minute)
        wait = bucket.wait(used, 1, self._per_minute, self._per_minute)
        self._failures[address] = (used if wait else bucket.charged(used, 1), now)
        self._failures.move_to_end(address)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return wait

    def _tell(self) -> None:
        """Once a minute at the most: a line for each would be what the guesser wants."""
        self.refused += 1
        self._untold += 1
        now = self._steady()
        if self._told_at is None or now - self._told_at >= QUIET:
            self._log.warning("strangers_refused", extra={"calls": self._untold, "addresses": len(self._failures)})
            self._untold, self._told_at = 0, now


class _Counted:
    """See ``Strangers.counted``."""

    __slots__ = ("_peer", "_strangers")

    def __init__(self, strangers: Strangers, peer: str) -> None:
        self._strangers = strangers
        self._peer = peer

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (Unauthenticated, TwoCredentials)):
            self._strangers.failed(self._peer, error)


def network(peer: str) -> str:
    """What counts as one address: of IPv6 its /64, and an IPv4 address however it is written."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if (mapped := address.ipv4_mapped) is not None:
            return str(mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address)
