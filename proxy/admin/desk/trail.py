"""The audit trail at the desk: who did what, when and from where."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from proxy.admin.desk.clerk import Clerk
from proxy.admin.subjects import key_id
from proxy.auth import Act
from proxy.vocabulary import one_form


class Trail(Clerk):
    async def acts(
        self,
        last: int | None = None,
        since: datetime | None = None,
        actor: str | None = None,
        subject: str | None = None,
    ) -> list[Act]:
        """The last so many of those that are asked for, or all, in their order.

        A subject is told as it stands there, ``user:alice``, or by its name alone.
        """
        if since is None and actor is None and subject is None:
            return await self._registry.acts(last=last)
        found = [
            act
            for act in await self._registry.acts()
            if (since is None or act.at >= since)
            and (actor is None or act.actor == actor)
            and (subject is None or _is_of(act.subject, key_id(one_form(subject))))
        ]
        return found if last is None else found[max(0, len(found) - last) :]

    async def record(self, name: str, subject: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Something that was done elsewhere and changes nothing on record."""
        await self._registry.record(self._act(name, subject, details))


def _is_of(subject: str, wanted: str) -> bool:
    return wanted in (subject, subject.partition(":")[2])
