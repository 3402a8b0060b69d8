"""Identities at the desk: the public keys that Ollama's own clients sign with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from proxy.admin.amounts import NO_LIMITS
from proxy.admin.desk.credentials import Credentials
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms
from proxy.auth import Key, Kind
from proxy.vocabulary import Limits

LONGEST_ID = 24
"""Characters; what is longer is taken for a public key."""


class Identities(Credentials):
    """The public key will do wherever an id is asked for. Errors as of ``Credentials``."""

    async def add_identity(
        self,
        line: str,
        user: str,
        team: str | None = None,
        plan: str | None = None,
        models: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
        note: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Key:
        """Let in who signs with the private half of this public key, ``ssh-ed25519 AAAA…``; see ``create_key``."""
        identity_id, public_key = self._read(line)
        before = await self._registry.find(identity_id)
        if before is not None:
            raise _there_already(before.key)
        terms = Terms(user, team, plan, models, lifetime, note, limits)
        return await self._put(terms, Kind.IDENTITY, lambda: (identity_id, public_key))

    async def identities(self) -> list[Key]:
        """Every identity, oldest first."""
        return await self._all(Kind.IDENTITY)

    async def identity(self, shown: str) -> Key:
        return await self._known(Kind.IDENTITY, self._id(shown))

    async def update_identity(self, shown: str, told: Mapping[str, Any]) -> Key:
        """As ``update_key``."""
        return await self._changed(Kind.IDENTITY, self._id(shown), told)

    async def suspend_identity(self, shown: str) -> Key:
        """As ``suspend_key``."""
        return await self._suspended(Kind.IDENTITY, self._id(shown))

    async def resume_identity(self, shown: str) -> Key:
        """As ``resume_key``."""
        return await self._resumed(Kind.IDENTITY, self._id(shown))

    async def revoke_identity(self, shown: str) -> Key:
        """From now on it is refused, for good: the same public key cannot be added again."""
        return await self._revoked(Kind.IDENTITY, self._id(shown))

    def _read(self, line: str) -> tuple[str, bytes]:
        try:
            return self._read_identity(line)
        except ValueError as error:
            raise NotDone(str(error)) from None

    def _id(self, shown: str) -> str:
        shown = shown.strip()
        return self._read(shown)[0] if " " in shown or len(shown) > LONGEST_ID else shown


def _there_already(key: Key) -> NotDone:
    if key.kind is not Kind.IDENTITY:
        return NotDone(f"The id {key.id} of this public key is that of an API key: a new pair of keys is needed.")
    if key.revoked_at is not None:
        return NotDone(
            f"This public key was the identity {key.id} of {key.user}, which is revoked, and that is for good:"
            " whoever shall be let in needs a new pair of keys."
        )
    return NotDone(f"This public key is on record already, as the identity {key.id} of {key.user}.")
