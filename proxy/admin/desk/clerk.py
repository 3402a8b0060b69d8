"""What everybody at the desk is given, and how they write an act down."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from proxy.admin.actor import Actor
from proxy.admin.office import LimitsOffice
from proxy.admin.rules import Rules
from proxy.admin.subjects import OnRecord
from proxy.auth import Act, Registry
from proxy.ledger import Book
from proxy.vocabulary import Now, Plan

Mint = Callable[[str | None], tuple[str, str, bytes]]
"""Makes a key: its id, the whole key as it is shown once, and the digest that is kept.

The id is a new one, or the one that is given: then it is another secret for that key.
"""

ReadIdentity = Callable[[str], tuple[str, bytes]]
"""The id and the 32 bytes of the public key that somebody pasted. Raises ValueError with a text to show."""


TRIES = 20
"""Each time somebody else was faster, so that as many can be at a desk at one moment."""


class Clerk:
    """Somebody at the desk: each knows one noun, and all are given the same."""

    def __init__(
        self,
        registry: Registry,
        book: Book,
        plans: Mapping[str, Plan],
        mint: Mint,
        now: Now,
        check_pattern: Callable[[str], str],
        office: LimitsOffice,
        actor: Actor,
        read_identity: ReadIdentity,
        issuers: Collection[str] = (),
    ) -> None:
        """``check_pattern`` gives the canonical form of a model pattern or raises ValueError; ``actor`` is who asks
        for all that is done here; ``issuers`` are the names of those whose tokens are believed.
        """
        self._registry = registry
        self._book = book
        self._plans = plans
        self._mint = mint
        self._now = now
        self._office = office
        self._actor = actor
        self._read_identity = read_identity
        self._issuers = issuers
        self._rules = Rules(plans.keys(), check_pattern)

    def _act(self, name: str, subject: str = "", details: Mapping[str, Any] | None = None) -> Act:
        """By who asks, now. What was left untold is left out of the details."""
        actor = self._actor
        return Act(self._now(), actor.name, actor.origin, name, subject, details or {})

    async def _on_record(self) -> OnRecord:
        registry = self._registry
        return OnRecord(await registry.keys(), await registry.users(), await registry.teams())
