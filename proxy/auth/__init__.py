"""Who asks?

``credentials`` finds the proof in a request. There are four kinds of proof, a file each: ``api_keys`` of our own,
``ollama_identity`` for what Ollama's own client signs, ``tokens`` of an issuer whom the owner trusts, ``certificates``
that clients show while they connect. ``remembered`` is what is on record, kept at hand; ``authenticator`` asks them
all. Whatever is wrong with a proof, to the caller it is the same ``Unauthenticated``.

What is on record is a ``KeyStore`` to the gate and a ``Registry`` to its owner. No change is made there without its
``Act``, and the acts, numbered without a gap, are how other gates learn of it.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from proxy.errors import GateError, Why
from proxy.vocabulary import Caller, Limits, Plan


class Kind(enum.StrEnum):
    """What a key on record is."""

    API_KEY = "api_key"
    IDENTITY = "identity"
    """The public key of somebody's Ollama client."""
    CERTIFICATE = "certificate"
    """Of a client, for TLS."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an issued key, an identity or a certificate. The secret is not: only whose it is has it."""

    id: str
    user: str
    plan: str
    created_at: datetime
    kind: Kind = Kind.API_KEY
    team: str | None = None
    models: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    suspended_at: datetime | None = None
    revoked_at: datetime | None = None
    note: str | None = None
    limits: Limits = field(default_factory=Limits)
    """Its own; what they say stands in place of what the plan says of each key."""
    digest: bytes = field(default=b"", repr=False, compare=False)
    """32 bytes: of an API key its HMAC-SHA256 under the gate's pepper, of an identity the Ed25519 public key, of a
    certificate the SHA-256 of its DER."""
    former_digest: bytes | None = field(default=None, repr=False, compare=False)
    """That of the secret before the last rotation."""
    former_until: datetime | None = None
    """Until when the former secret works."""
    last_used_at: datetime | None = field(default=None, compare=False)
    """Some seconds behind."""
    former_used_at: datetime | None = field(default=None, compare=False)
    """When the former secret was last used, since the rotation."""

    def state(self, now: datetime) -> str:
        """One of ``revoked``, ``suspended``, ``expired`` and ``live``."""
        if self.revoked_at is not None:
            return "revoked"
        if self.suspended_at is not None:
            return "suspended"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "live"


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program, whatever they prove it with."""

    name: str
    created_at: datetime
    team: str | None = None
    """That of their tokens, and of new keys, where nothing else is said."""
    plan: str | None = None
    """As the team."""
    note: str | None = None
    suspended_at: datetime | None = None
    limits: Limits = field(default_factory=Limits)
    """Of all their keys together; what they say stands in place of what the plan says of each user."""


@dataclass(frozen=True, slots=True)
class Team:
    """Users who share."""

    name: str
    created_at: datetime
    note: str | None = None
    suspended_at: datetime | None = None
    limits: Limits = field(default_factory=Limits)
    """Of all its keys together; what they say stands in place of what the plan says of each team."""


_WHY = {"revoked": Why.REVOKED, "suspended": Why.SUSPENDED, "expired": Why.EXPIRED}


@dataclass(frozen=True, slots=True)
class Holder:
    """A key on record, and whose it is."""

    key: Key
    user: User | None = None
    """None where there is only the name."""
    team: Team | None = None

    def refused(self, now: datetime) -> Why | None:
        """Why it is not let in, however genuine; None where it is."""
        return _WHY.get(self.key.state(now)) or suspended(self.user, self.team)

    def caller(self, plan: Plan) -> Caller:
        """Who holds it; ``plan`` is the one that the key names."""
        key = self.key
        return Caller(
            user=key.user,
            key_id=key.id,
            plan=plan,
            team=key.team,
            models=key.models,
            limits=key.limits,
            user_limits=self.user.limits if self.user else Limits(),
            team_limits=self.team.limits if self.team else Limits(),
        )


def suspended(user: User | None, team: Team | None) -> Why | None:
    """Whether one of them is."""
    if user is not None and user.suspended_at is not None:
        return Why.USER_SUSPENDED
    if team is not None and team.suspended_at is not None:
        return Why.TEAM_SUSPENDED
    return None


@dataclass(frozen=True, slots=True)
class Denial:
    """Tokens that are refused however genuine they are."""

    issuer: str
    """The owner's word for it."""
    claim: str
    """``jti`` or ``sub``."""
    value: str
    at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody did to what is on record, or to the gate: a line of the audit trail."""

    at: datetime
    actor: str
    """Who: the user of the machine who ran the command."""
    origin: str
    """From where: the machine, and what is known of the terminal."""
    name: str
    """What, as a stable noun: ``key.create``, ``user.suspend``, ``limits.reset``."""
    subject: str = ""
    """On what, as ``kind:name``: ``key:4fT…``, ``user:alice``, ``team:lab``, ``token:keycloak``."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What was told, by its names: plain JSON values, never a secret."""
    number: int = 0
    """Its place in the trail, from 1 on and without a gap; 0 before it is in there."""


Record = TypeVar("Record", Key, User, Team)

Change = Callable[[Record], Mapping[str, Any]]
"""From what is on record, as it is while nobody else changes anything, to those of its fields that shall be otherwise,
by their names. None of them: it stays as it is, and that is no act. A GateError of it is told to who asks, and nothing
is done."""


class Taken(GateError):
    """The name or the id is on record already."""

    code = "taken"
    status = 409
    default = "That name is taken."


class KeyStore(Protocol):
    """What is on record, as the gate asks. Times carry a time zone and come back in UTC. Raises StorageFailed."""

    async def find(self, key_id: str) -> Holder | None:
        """The key, identity or certificate with exactly this id, whatever its state, and whose it is."""

    async def belonging(self, user: str, team: str | None) -> tuple[User | None, Team | None]:
        """The user of that name, and the team: of that name or, where that is None, the user's own."""

    async def denials(self) -> list[Denial]:
        """All there are, oldest first."""

    async def acts(self, after: int = 0, *, last: int | None = None) -> list[Act]:
        """Those with larger numbers, in order; of them the last so many, or all."""

    async def newest_act(self) -> int:
        """The number of the last act; 0 where there is none."""

    async def used(self, at: Mapping[tuple[str, bool], datetime]) -> None:
        """When keys were last used, by the id and whether it was with the former secret. Never makes it earlier."""


class Registry(KeyStore, Protocol):
    """The same as its owner changes it: each change and its act together, or neither. Raises StorageFailed."""

    async def keys(self) -> list[Key]:
        """Every key, identity and certificate, oldest first."""

    async def users(self) -> list[User]:
        """By name."""

    async def teams(self) -> list[Team]:
        """By name."""

    async def add(
        self,
        acts: Sequence[Act],
        *,
        keys: Sequence[Key] = (),
        users: Sequence[User] = (),
        teams: Sequence[Team] = (),
        after: int | None = None,
    ) -> None:
        """Put all of them on record, or none. Raises Taken where a name or an id is there already.

        Also where the newest act is another one than ``after``: then it was decided by what may be so no longer.
        """

    async def update_key(self, key_id: str, change: Change[Key], act: Act) -> Key | None:
        """Change one, whatever its state, and tell how it is now. None where there is none.

        Of several at once each changes what the others have left, in whatever process they are.
        """

    async def update_user(self, name: str, change: Change[User], act: Act) -> User | None:
        """As ``update_key``."""

    async def update_team(self, name: str, change: Change[Team], act: Act) -> Team | None:
        """As ``update_key``."""

    async def revoke(self, key_id: str, at: datetime, act: Act) -> Key | None:
        """Mark the key revoked, once: a second time changes nothing and is no act. None where there is no such key."""

    async def rotate(self, key_id: str, old: bytes, new: bytes, until: datetime, act: Act) -> Key | None:
        """The secret with the new digest works from now on, the old one until then and no other.

        None where the old one is not what is on record (any more), or the key is revoked.
        """

    async def deny(self, denial: Denial, act: Act) -> None:
        """Put it on the list; what is on it already stays as it is, and is no act."""

    async def allow(self, issuer: str, claim: str, value: str, act: Act) -> bool:
        """Take it off the list. Whether it was on it; if not, that is no act."""

    async def record(self, act: Act) -> None:
        """An act that changes nothing on record."""
