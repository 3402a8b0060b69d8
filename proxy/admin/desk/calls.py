"""The ledger at the desk: what was asked, and what it cost."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime

from proxy.admin import reports
from proxy.admin.desk.clerk import Clerk
from proxy.admin.refusals import NotDone
from proxy.ledger import Running, Sum, Wanted
from proxy.vocabulary import Entry


class Calls(Clerk):
    async def calls(self, last: int, user: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""
        user = reports.name(user)
        return await self._book.last(last, user=user)

    async def follow(
        self, user: str | None, pause: Callable[[], Awaitable[None]], last: int = 0
    ) -> AsyncIterator[Entry]:
        """The newest entries and then every further one as it is written, for ever, with a pause between two looks."""
        user = reports.name(user)
        # The mark comes first: an entry written between the two is then seen twice, and not never.
        mark = await self._book.mark()
        newest = await self._book.last(last, user=user) if last else []
        for entry in newest:
            yield entry
        seen = {entry.id for entry in newest}
        while True:
            entries, mark = await self._book.since(mark, user=user)
            for entry in entries:
                if entry.id not in seen:
                    yield entry
            if entries:
                seen = set()
            await pause()

    async def at(self, moment: datetime, user: str | None = None) -> tuple[list[Entry], list[Running]]:
        """What ran at that moment, see ``Book.at``. Raises NotDone where it has not come yet."""
        if moment > self._now():
            raise NotDone("That time has not come yet.")
        user = reports.name(user)
        return await self._book.at(moment, user=user)

    async def running(self, user: str | None = None) -> list[Running]:
        """The calls that go on, by when they began."""
        user = reports.name(user)
        _, running = await self._book.at(self._now(), user=user)
        return running

    async def usage(self, wanted: Wanted) -> list[Sum]:
        """What calls cost together, see ``Book.sums``; a whole key will do for its id.

        Raises NotDone where a group or the time zone is unknown, or the time ends before it begins.
        """
        return await self._book.sums(reports.checked(wanted))

    def export(self, since: datetime | None = None, until: datetime | None = None) -> AsyncIterator[Sequence[Entry]]:
        """Every entry of that time, page by page, see ``Book.all``. Raises NotDone where it ends before it begins."""
        reports.period(since, until)
        return self._book.all(since, until)
