"""What the owner can do: issue and revoke keys, read the ledger. Prints nothing and knows no terminal."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from proxy.auth import Key, KeyStore
from proxy.errors import GateError
from proxy.ledger import GROUPS, Book, Sum
from proxy.vocabulary import Entry, Now, Plan

Mint = Callable[[], tuple[str, str, bytes]]
"""Makes a key: its id, the whole key as it is shown once, and the digest that is kept."""

LONGEST_NAME = 128
_ID = re.compile(r"[A-Za-z0-9-]{1,24}")


class NotDone(GateError):
    """The desk was asked for something it cannot do. Nothing was changed."""

    status = 400
    code = "not_done"
    default = "That cannot be done."


class NoSuchKey(NotDone):
    status = 404
    code = "no_such_key"
    default = "There is no such key."


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key, and the one time its text is known."""

    key: Key
    secret: str = field(repr=False)


class Desk:
    def __init__(
        self,
        keys: KeyStore,
        book: Book,
        plans: Mapping[str, Plan],
        mint: Mint,
        now: Now,
        check_pattern: Callable[[str], str],
    ) -> None:
        """``check_pattern`` gives the canonical form of a model pattern or raises ValueError."""
        self._keys = keys
        self._book = book
        self._plans = plans
        self._mint = mint
        self._now = now
        self._check_pattern = check_pattern

    async def create_key(
        self,
        user: str,
        team: str | None = None,
        plan: str = "default",
        models: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
        note: str | None = None,
    ) -> Issued:
        """Issue a key. Raises ``NotDone`` where a name, the plan, a pattern or the lifetime will not do."""
        user = _name("user", user)
        team = None if team is None else _name("team", team)
        note = None if note is None else _name("note", note)
        if plan not in self._plans:
            raise NotDone(f"There is no plan {plan[:LONGEST_NAME]!r}. There are: {', '.join(sorted(self._plans))}.")
        if lifetime is not None and lifetime <= timedelta(0):
            raise NotDone("A key has to live longer than no time at all.")
        models = None if models is None else self._patterns(models)
        now = self._now()
        key_id, secret, digest = self._mint()
        key = Key(
            id=key_id,
            user=user,
            team=team,
            plan=plan,
            models=models,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            note=note,
            digest=digest,
        )
        await self._keys.add(key)
        return Issued(key, secret)

    async def keys(self) -> list[Key]:
        """Every key, oldest first."""
        return await self._keys.all()

    async def key(self, key_id: str) -> Key:
        """The key with this id; a whole key will do, of which only the id is looked at. Raises ``NoSuchKey``."""
        key_id = _id(key_id)
        key = await self._keys.find(key_id)
        if key is None:
            raise _unknown(key_id)
        return key

    async def revoke(self, key_id: str) -> Key:
        """From now on the key is refused. Raises ``NoSuchKey``."""
        key_id = _id(key_id)
        key = await self._keys.revoke(key_id, self._now())
        if key is None:
            raise _unknown(key_id)
        return key

    async def calls(self, last: int, user: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""
        return await self._book.last(last, user=user)

    async def follow(
        self, user: str | None, pause: Callable[[], Awaitable[None]], last: int = 0
    ) -> AsyncIterator[Entry]:
        """The newest entries and then every further one as it is written, for ever, with a pause between two looks."""
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

    async def usage(self, by: str, since: timedelta | None = None) -> list[Sum]:
        """What calls cost together, ``by`` one of ``GROUPS``, over the time until now."""
        if by not in GROUPS:
            raise NotDone(f"Usage cannot be summed by {by[:LONGEST_NAME]!r}. It can by: {', '.join(GROUPS)}.")
        return await self._book.sums(by, None if since is None else self._now() - since)

    def _patterns(self, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models:
            raise NotDone("A key that may use no model is of no use; leave the models out to allow all of the plan's.")
        canonical = []
        for pattern in models:
            try:
                canonical.append(self._check_pattern(pattern))
            except ValueError as error:
                raise NotDone(f"{pattern[:LONGEST_NAME]!r} is no pattern for models: {error}") from None
        return tuple(dict.fromkeys(canonical))


def _name(what: str, text: str) -> str:
    """Names end up in logs, tables and terminals, so nothing invisible may hide in them."""
    text = text.strip()
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise NotDone(f"The {what} has to be 1 to {LONGEST_NAME} characters that can be printed.")
    return text


def _id(text: str) -> str:
    prefix, _, rest = text.strip().partition("_")
    return rest.partition("_")[0] if prefix == "sk-lg" and rest else text.strip()


def _unknown(key_id: str) -> NoSuchKey:
    # What does not look like an id could be a mangled key: it is not repeated.
    return NoSuchKey(f"There is no key {key_id}." if _ID.fullmatch(key_id) else None)
