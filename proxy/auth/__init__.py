"""Who asks?

``credentials`` finds the proof among a request's headers, ``api_keys`` knows a key of ours when it sees one, and a
``KeyStore`` remembers whom we gave it; ``authenticator`` asks all three. A key that is missing, malformed, unknown,
expired or revoked is the same ``Unauthenticated`` to the caller.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy.vocabulary import Caller, Limits, Plan


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an issued key. The key itself is not: only whoever it was shown to has it."""

    id: str
    user: str
    plan: str
    created_at: datetime
    team: str | None = None
    models: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    note: str | None = None
    limits: Limits = field(default_factory=Limits)
    """Its own; what they say stands in place of what the plan says of each key."""
    digest: bytes = field(default=b"", repr=False, compare=False)
    """HMAC-SHA256 of the key under the gate's pepper, 32 bytes."""

    def state(self, now: datetime) -> str:
        """One of ``revoked``, ``expired`` and ``live``."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "live"

    def caller(self, plan: Plan) -> Caller:
        """Who holds it; ``plan`` is the one that it names."""
        return Caller(user=self.user, team=self.team, key_id=self.id, plan=plan, models=self.models, limits=self.limits)


class KeyStore(Protocol):
    """Keys on record. Times carry a time zone and come back in UTC."""

    async def add(self, key: Key) -> None:
        """Put a new key on record; ids are random, so a clash is an error of ours."""

    async def find(self, key_id: str) -> Key | None:
        """The key with this id whatever its state, or None."""

    async def all(self) -> list[Key]:
        """Every key, oldest first."""

    async def update(self, key_id: str, limits: Limits) -> Key | None:
        """These are the key's own limits from now on, whatever its state. None where there is no such key."""

    async def revoke(self, key_id: str, at: datetime) -> Key | None:
        """Mark the key revoked, once: a second time changes nothing. None where there is no such key."""
