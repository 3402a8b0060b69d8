"""A store of keys that forgets."""

from dataclasses import replace
from datetime import UTC, datetime

from proxy.auth import Key
from proxy.errors import StorageFailed
from proxy.vocabulary import Limits


class FakeKeys:
    """A ``KeyStore`` in memory."""

    def __init__(self, *keys: Key) -> None:
        self._keys = {key.id: key for key in keys}

    async def add(self, key: Key) -> None:
        if key.id in self._keys:
            raise StorageFailed("the id is taken")
        expires_at = None if key.expires_at is None else key.expires_at.astimezone(UTC)
        self._keys[key.id] = replace(key, created_at=key.created_at.astimezone(UTC), expires_at=expires_at)

    async def find(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)

    async def all(self) -> list[Key]:
        return sorted(self._keys.values(), key=lambda key: key.created_at)

    async def update(self, key_id: str, limits: Limits) -> Key | None:
        key = self._keys.get(key_id)
        if key is not None:
            key = self._keys[key_id] = replace(key, limits=limits)
        return key

    async def revoke(self, key_id: str, at: datetime) -> Key | None:
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at is None:
            key = self._keys[key_id] = replace(key, revoked_at=at.astimezone(UTC))
        return key
