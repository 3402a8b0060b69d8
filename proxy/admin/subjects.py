"""Whom somebody means at the desk, and what their calls are counted on. Nothing in this module does I/O."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.auth import Key
from proxy.limits import Account
from proxy.limits.accounts import every
from proxy.vocabulary import Caller, Level, Plan

_ID = re.compile(r"[A-Za-z0-9-]{1,24}")
_SUBJECT: Mapping[Level, Callable[[Key], str | None]] = {
    Level.KEY: lambda key: key.id,
    Level.USER: lambda key: key.user,
    Level.TEAM: lambda key: key.team,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose calls are meant."""

    level: Level
    name: str = ""

    def holds(self, key: Key) -> bool:
        """Whether the key's calls are among them."""
        return self.level is Level.EVERYBODY or _SUBJECT[self.level](key) == self.name


EVERYBODY = Subject(Level.EVERYBODY)


def meant(text: str, keys: Sequence[Key], level: Level | None = None) -> Subject:
    """Who has that name: a key (a whole key will do), a user or a team. Raises NotDone where nobody or several have."""
    wanted = _SUBJECT if level is None else (level,)
    named = [Subject(one, key_id(text) if one is Level.KEY else text.strip()) for one in wanted]
    found = [subject for subject in named if any(map(subject.holds, keys))]
    match found:
        case [subject]:
            return subject
        case []:
            if level is Level.KEY:
                raise unknown_key(key_id(text))
            kinds = "key, user or team" if level is None else level.value
            raise NotDone(f"There is no {kinds} {text}." if _ID.fullmatch(text) else f"There is no such {kinds}.")
    levels = [subject.level.value for subject in found]
    ways = " or ".join(f"--{level}" for level in levels)
    raise NotDone(f"That is the name of a {' and of a '.join(levels)}: say which with {ways}.")


def accounts_of(whose: Subject, keys: Sequence[Key], plans: Mapping[str, Plan]) -> tuple[Account, ...]:
    """Everything that their calls are counted on, the narrowest first. Raises NotDone where no plan lets them call."""
    if whose.level is Level.EVERYBODY:
        found = {
            account
            for plan in plans.values()
            for account in every(Caller("", "", plan))
            if account.level is whose.level
        }
    else:
        found = {account for caller in _callers(whose, keys, plans) for account in every(caller)}
    levels = list(Level)
    return tuple(sorted(found, key=lambda one: (levels.index(one.level), one.subject, one.models, repr(one))))


def _callers(whose: Subject, keys: Sequence[Key], plans: Mapping[str, Plan]) -> Iterator[Caller]:
    theirs = [key for key in keys if whose.holds(key)]
    if not any(key.plan in plans for key in theirs):
        raise NotDone("Their plan is not configured any more, so that all of their calls are refused.")
    return (key.caller(plans[key.plan]) for key in theirs if key.plan in plans)


def key_id(text: str) -> str:
    """The id, of a whole key too."""
    prefix, _, rest = text.strip().partition("_")
    return rest.partition("_")[0] if prefix == "sk-lg" and rest else text.strip()


def unknown_key(key_id: str) -> NoSuchKey:
    # What does not look like an id could be a mangled key: it is not repeated.
    return NoSuchKey(f"There is no key {key_id}." if _ID.fullmatch(key_id) else None)
