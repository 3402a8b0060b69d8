"""API keys at the desk: issued, changed, rotated, suspended, revoked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.admin.amounts import NO_LIMITS
from proxy.admin.desk.credentials import Credentials
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms, details
from proxy.admin.subjects import key_id
from proxy.auth import Key, Kind
from proxy.vocabulary import Limits

OVERLAP = timedelta(hours=24)
"""For how long two secrets of one key work, where nothing else is said."""
LONGEST_OVERLAP = timedelta(days=366)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When a secret ended that ends at once: whatever the clock of a gate says, it is over."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A key, and the one time its text is known."""

    key: Key
    secret: str = field(repr=False)


class Keys(Credentials):
    """A whole key will do wherever an id is asked for; only the id is looked at. Errors as of ``Credentials``."""

    async def create_key(
        self,
        user: str,
        team: str | None = None,
        plan: str | None = None,
        models: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
        note: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Issued:
        """Issue a key. The user and the team are put on record where they are not; None is what theirs says."""
        secrets = {}

        def make() -> tuple[str, bytes]:
            new_id, secret, digest = self._mint(None)
            secrets[new_id] = secret
            return new_id, digest

        key = await self._put(Terms(user, team, plan, models, lifetime, note, limits), Kind.API_KEY, make)
        return Issued(key, secrets[key.id])

    async def keys(self) -> list[Key]:
        """Every API key, oldest first."""
        return await self._all(Kind.API_KEY)

    async def expiring_keys(self, within: timedelta) -> list[Key]:
        """The live ones that end within that time, soonest first."""
        now = self._now()
        live = [key for key in await self.keys() if key.state(now) == "live"]
        ending = [(key.expires_at, key) for key in live if key.expires_at is not None]
        return [key for at, key in sorted(ending, key=lambda one: one[0]) if at - now <= within]

    async def key(self, shown: str) -> Key:
        return await self._known(Kind.API_KEY, key_id(shown))

    async def update_key(self, shown: str, told: Mapping[str, Any]) -> Key:
        """Change what is told by name: team, plan, models, lifetime from now on, note, limits; None takes one away."""
        return await self._changed(Kind.API_KEY, key_id(shown), told)

    async def rotate_key(self, shown: str, overlap: timedelta = OVERLAP, *, at_once: bool = False) -> Issued:
        """Another secret for the same key; the one that it had works for that time too.

        While an earlier one still does, that is refused, or it ends that one ``at_once``.
        """
        if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
            raise NotDone(f"Both secrets can work for at most {LONGEST_OVERLAP.days} days.")
        key = await self._usable(Kind.API_KEY, key_id(shown))
        now = self._now()
        if key.former_until is not None and key.former_until > now and not at_once:
            raise NotDone(
                f"The key {key.id} is being rotated: its former secret works until {_minute(key.former_until)}."
                " Wait for that, or end it with --now."
            )
        _, secret, digest = self._mint(key.id)
        act = self._act("key.rotate", f"key:{key.id}", details({"former_until": now + overlap}))
        until = now + overlap if overlap else LONG_AGO
        rotated = await self._registry.rotate(key.id, key.digest, digest, until, act)
        if rotated is None:
            raise NotDone(f"Somebody else has rotated or revoked the key {key.id} at this moment. Nothing was done.")
        return Issued(rotated, secret)

    async def suspend_key(self, shown: str) -> Key:
        """It is refused until it is resumed; one that is suspended already stays so."""
        return await self._suspended(Kind.API_KEY, key_id(shown))

    async def resume_key(self, shown: str) -> Key:
        """It is let in again, if nothing else speaks against it; one that is not suspended stays as it is."""
        return await self._resumed(Kind.API_KEY, key_id(shown))

    async def revoke(self, shown: str) -> Key:
        """From now on the key is refused, for good."""
        return await self._revoked(Kind.API_KEY, key_id(shown))


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
