"""What keys, identities and certificates have in common: they are issued, changed, suspended and revoked."""

from collections.abc import Callable, Mapping
from typing import Any

from proxy.admin.desk.clerk import TRIES, Clerk
from proxy.admin.desk.entries import NOUNS, Newcomer, entries
from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.admin.rules import Terms
from proxy.admin.subjects import unknown_key
from proxy.auth import Change, Key, Kind, Taken


class Credentials(Clerk):
    """Every method raises NotDone, and NoSuchKey where there is none of that kind."""

    async def _put(self, told: Terms, kind: Kind, make: Callable[[], tuple[str, bytes]]) -> Key:
        """On record, with its user and its team where they are not there yet. ``make`` gives an id and a digest."""
        told = self._rules.terms(told)
        for _ in range(TRIES):
            newest = await self._registry.newest_act()
            user, _team = await self._registry.belonging(told.user, told.team)
            terms = self._rules.settled(told, user)
            _, team = await self._registry.belonging(terms.user, terms.team)
            newcomer = Newcomer(*make(), terms, kind)
            users, teams = ({one.name} if one else set() for one in (user, team))
            made = entries([newcomer], users, teams, self._now(), self._act)
            try:
                await self._registry.add(made.acts, keys=made.keys, users=made.users, teams=made.teams, after=newest)
            except Taken:
                continue
            return made.keys[0]
        raise NotDone("Somebody else puts the same on record at this moment. Nothing was done: try it again.")

    async def _all(self, kind: Kind) -> list[Key]:
        return [key for key in await self._registry.keys() if key.kind is kind]

    async def _known(self, kind: Kind, key_id: str) -> Key:
        holder = await self._registry.find(key_id) if key_id.isascii() else None  # No database takes all that is not.
        if holder is None or holder.key.kind is not kind:
            raise _unknown(kind, key_id)
        return holder.key

    async def _usable(self, kind: Kind, key_id: str) -> Key:
        """It, where it is not revoked: that is for good."""
        return _not_revoked(await self._known(kind, key_id))

    async def _changed(self, kind: Kind, key_id: str, told: Mapping[str, Any]) -> Key:
        key = await self._usable(kind, key_id)
        if told.get("plan", "") is None:
            raise NotDone(f"Without a plan no {NOUNS[kind]} may do anything: name another one.")
        changes = self._rules.changes(told, self._now())
        return await self._update(key, "update", changes.of, changes.details())

    async def _suspended(self, kind: Kind, key_id: str) -> Key:
        key, now = await self._usable(kind, key_id), self._now()
        return await self._update(key, "suspend", lambda key: {} if key.suspended_at else {"suspended_at": now})

    async def _resumed(self, kind: Kind, key_id: str) -> Key:
        key = await self._usable(kind, key_id)
        return await self._update(key, "resume", lambda key: {"suspended_at": None} if key.suspended_at else {})

    async def _revoked(self, kind: Kind, key_id: str) -> Key:
        key = await self._known(kind, key_id)
        noun = NOUNS[kind]
        revoked = await self._registry.revoke(key.id, self._now(), self._act(f"{noun}.revoke", f"{noun}:{key.id}"))
        if revoked is None:
            raise _unknown(kind, key.id)
        return revoked

    async def _update(self, key: Key, verb: str, change: Change[Key], details: Mapping[str, Any] | None = None) -> Key:
        noun = NOUNS[key.kind]
        act = self._act(f"{noun}.{verb}", f"{noun}:{key.id}", details)
        updated = await self._registry.update_key(key.id, lambda key: change(_not_revoked(key)), act)
        if updated is None:
            raise _unknown(key.kind, key.id)
        return updated


def _not_revoked(key: Key) -> Key:
    if key.revoked_at is not None:
        raise NotDone(f"The {NOUNS[key.kind]} {key.id} is revoked, and that is for good.")
    return key


def _unknown(kind: Kind, key_id: str) -> NoSuchKey:
    error = unknown_key(key_id)
    return error if kind is Kind.API_KEY else NoSuchKey(error.message.replace("key", NOUNS[kind], 1))
