"""When an issuer's keys are fetched, and for how long they are believed.

They are fetched in the background, and in front of a call only where nothing can be said without. Whatever comes that
is no good set of keys leaves the last good one in place until it is too old; a good one takes its place altogether, so
that a key that was withdrawn is gone.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.auth.jose import Unreadable, read_object
from proxy.errors import AuthUnavailable, BackendFailed, GateError, Misconfigured, safe_to_show
from proxy.late import late
from proxy.vocabulary import Clock, Issuer

if TYPE_CHECKING:
    from proxy.auth import jwks
else:
    jwks = late("proxy.auth.jwks")

Fetch = Callable[[str], Awaitable[bytes]]
"""What is at an address. Raises a GateError whose message says why not."""
Pause = Callable[[float], Awaitable[None]]
"""``asyncio.sleep``, wherever time really passes."""

DISCOVERY = "/.well-known/openid-configuration"
COOL_DOWN_SECONDS = 30.0
"""From one look for a key that nobody knows to the next."""
UNKNOWN_SECONDS = 1.0
"""How long a token with such a key waits for that look."""
FIRST_SECONDS = 3.0
"""How long a token waits where there are no keys at all."""
RETRY_SECONDS = 5.0
"""From one attempt to the next where there are no keys at all."""


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, fetch: Fetch, *, clock: Clock, pause: Pause = asyncio.sleep) -> None:
        """Raises Misconfigured where the issuer's key, secret or address cannot be used."""
        self._issuer = issuer
        self._told = jwks.told_keys(issuer)
        if self._told is None and not _is_safe(issuer.jwks_url or issuer.url, issuer):
            raise Misconfigured(f"issuer {issuer.name}: its keys must come by https, unless it is on this machine")
        self._fetch = fetch
        self._clock = clock
        self._pause = pause
        self._fetched: jwks.KeySet | None = None
        self._good_at = 0.0
        self._next_at = clock()
        self._next_look_at = clock()
        self._under_way: asyncio.Task[None] | None = None
        self._sought: str | None = None
        """The unknown key for whose sake the fetch under way may be waited for."""
        self._log = logging.getLogger("proxy.auth")
        self.fetches = 0
        """How often they were fetched, or tried to."""
        self.failures = 0
        self.reason: str | None = None
        """Why the last attempt failed; None where it did not."""

    def are_those_of(self, issuer: Issuer) -> bool:
        """Whether nothing that concerns the keys is another in this issuer."""
        return _concerns_keys(self._issuer) == _concerns_keys(issuer)

    def has(self, mark: str) -> bool:
        """Whether a key is still among those that are believed."""
        keys = self._believed()
        return keys is not None and mark in keys.marks

    @property
    def count(self) -> int:
        """How many keys are believed at the moment."""
        keys = self._believed()
        return 0 if keys is None else len(keys.marks)

    @property
    def age_seconds(self) -> float | None:
        """Since they were fetched; None where they never were."""
        return None if self._fetched is None else self._clock() - self._good_at

    async def key_for(self, algorithm: str, kid: str | None) -> "jwks.VerifyingKey":
        """The key that a token means. Raises Unauthenticated if there is none, AuthUnavailable if none is known."""
        keys = self._believed()
        if keys is None:
            keys = await self._first()
        if not keys.knows(kid) and self._may_look_for(kid):
            await self._wait(UNKNOWN_SECONDS)
            keys = self._believed() or keys
        return keys.choose(algorithm, kid)

    def refresh_if_due(self) -> None:
        """Begin to fetch them where it is time to, and nobody does so yet."""
        if self._told is None and self._under_way is None and self._clock() >= self._next_at:
            self._begin()

    async def close(self) -> None:
        """Give up what is under way."""
        if (task := self._under_way) is not None:
            task.cancel()
            await asyncio.wait({task})

    def _believed(self) -> "jwks.KeySet | None":
        if self._told is not None:
            return self._told
        is_stale = self._clock() - self._good_at > self._issuer.max_stale
        return None if is_stale else self._fetched

    async def _first(self) -> "jwks.KeySet":
        self.refresh_if_due()
        await self._wait(FIRST_SECONDS)
        keys = self._believed()
        if keys is None:
            raise AuthUnavailable
        return keys

    def _may_look_for(self, kid: str | None) -> bool:
        """Whether a fetch for the sake of this key is under way, which this may have begun."""
        if self._under_way is None:
            if self._clock() < self._next_look_at:
                return False
            self._next_look_at = self._clock() + COOL_DOWN_SECONDS
            self._begin()
        if self._sought is None:
            self._sought = kid
        return self._sought == kid

    async def _wait(self, seconds: float) -> None:
        """For the end of what is under way, but no longer than that."""
        if (task := self._under_way) is None:
            return
        pausing = asyncio.ensure_future(self._pause(seconds))
        try:
            await asyncio.wait({task, pausing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pausing.cancel()

    def _begin(self) -> None:
        self._sought = None
        self._under_way = asyncio.ensure_future(self._refresh())
        self._under_way.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._under_way is task:
            self._under_way = None

    async def _refresh(self) -> None:
        asked_at = self._clock()  # Before the look: what it finds may be as old as this.
        self.fetches += 1
        self._next_at = asked_at + RETRY_SECONDS
        try:
            found = await self._look()
        except (GateError, Unreadable) as error:
            self._failed(safe_to_show(str(error)))
            return
        if self.reason is not None:
            self._log.info("jwks_recovered", extra={"issuer": self._issuer.name})
        self.reason = None
        self._fetched, self._good_at = found, asked_at
        # Never so late that they grow too old while their issuer is well.
        self._next_at = asked_at + min(self._issuer.refresh, self._issuer.max_stale / 2)

    def _failed(self, reason: str) -> None:
        self.failures += 1
        if self.reason is None:
            self._log.warning("jwks_failed", extra={"issuer": self._issuer.name, "reason": reason})
        self.reason = reason
        if self._believed() is not None:
            self._next_at = self._clock() + min(self._issuer.refresh, COOL_DOWN_SECONDS)

    async def _look(self) -> "jwks.KeySet":
        """Raises GateError or Unreadable."""
        issuer = self._issuer
        url = issuer.jwks_url
        if url is None:
            # OpenID Connect Discovery 1.0 §4.1 and §4.3.
            told = read_object(await self._fetch(issuer.url.removesuffix("/") + DISCOVERY))
            if told.get("issuer") != issuer.url:
                raise BackendFailed("discovery tells of another issuer")
            url = told.get("jwks_uri")
            if not isinstance(url, str) or not _is_safe(url, issuer, found_at=issuer.url):
                raise BackendFailed("discovery has no jwks_uri that may be used")
        return jwks.read_jwks(await self._fetch(url), issuer.algorithms)


def _concerns_keys(issuer: Issuer) -> tuple[object, ...]:
    source = (issuer.name, issuer.url, issuer.jwks_url, issuer.pem, issuer.secret, issuer.insecure)
    return (*source, issuer.algorithms, issuer.refresh, issuer.max_stale)


def _is_safe(url: str, issuer: Issuer, *, found_at: str | None = None) -> bool:
    """Whether keys may come from there: by TLS, from this machine, or where the owner lets them come in the open.

    What was ``found_at`` another machine's address must not lead to this one.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment:
        return False
    is_here = _is_loopback(host)
    if is_here and found_at is not None and not _is_at_home(found_at):
        return False
    if parts.scheme == "http":
        return issuer.insecure or is_here
    return parts.scheme == "https"


def _is_at_home(url: str) -> bool:
    return _is_loopback(urlsplit(url).hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
