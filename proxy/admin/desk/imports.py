"""Many users at once at the desk: all of a table goes on record, or nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from proxy.admin.desk.clerk import Clerk
from proxy.admin.desk.entries import Newcomer, entries
from proxy.admin.importing import Mistake, Mistaken, Row
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms
from proxy.admin.subjects import OnRecord
from proxy.auth import Act, Key, Kind, Taken, User

Keep = Callable[[str, str], str]
"""Puts a user's secret where they will find it, and tells the name of that place. Raises NotDone."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One user's new key, and where its secret is."""

    key: Key
    file: str


class Imports(Clerk):
    async def import_users(self, rows: Sequence[Row], source: str, keep: Keep, *, add: bool = False) -> list[Imported]:
        """A key for each of them; whoever is not on record yet is put there as their row says.

        ``source`` is the table's name, for the audit trail. Whoever has a key already is a mistake, but with ``add``.
        Every secret is kept before anything is on record, and whoever kept them has to forget them if this fails.

        Raises Mistaken with all that is wrong, and NotDone.
        """
        newest = await self._registry.newest_act()
        record = await self._on_record()
        terms = self._checked(rows, record, add)
        now = self._now()
        newcomers, files = [], []
        for row, one in zip(rows, terms, strict=True):
            new_id, secret, digest = self._mint(None)
            files.append(keep(one.user, secret))
            plan = None if row.terms.plan is None else one.plan
            user = User(one.user, now, None if row.terms.team is None else one.team, plan)
            newcomers.append(Newcomer(new_id, digest, one, user=user))
        users, teams = {user.name for user in record.users}, {team.name for team in record.teams}
        made = entries(newcomers, users, teams, now, self._act)
        acts = [_from(source, act) for act in made.acts]
        try:
            await self._registry.add(acts, keys=made.keys, users=made.users, teams=made.teams, after=newest)
        except Taken:  # Also where somebody has given one of them a key, or another plan.
            raise NotDone("Somebody else changed what is on record meanwhile. Nothing was done: try again.") from None
        return [Imported(key, file) for key, file in zip(made.keys, files, strict=True)]

    def _checked(self, rows: Sequence[Row], record: OnRecord, add: bool) -> list[Terms]:
        users = {user.name: user for user in record.users}
        keyed = {key.user for key in record.keys if key.kind is Kind.API_KEY}
        good: list[Terms] = []
        wrong: list[Mistake] = []
        lines: dict[str, int] = {}
        for row in rows:
            try:
                terms = self._rules.terms(row.terms)
                terms = self._rules.settled(terms, users.get(terms.user))
            except NotDone as error:
                wrong.append(Mistake(row.line, error.message))
                continue
            first = lines.setdefault(terms.user, row.line)
            if first != row.line:
                wrong.append(Mistake(row.line, f"The same user stands on line {first}."))
            elif terms.user in keyed and not add:
                wrong.append(Mistake(row.line, "The user has a key already; --add gives them another one."))
            good.append(terms)
        if wrong:
            raise Mistaken(wrong)
        return good


def _from(source: str, act: Act) -> Act:
    return replace(act, details={**act.details, "import": source})
