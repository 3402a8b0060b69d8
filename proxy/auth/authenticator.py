"""From the credentials that a call presented to the caller who holds them, or to one and the same refusal."""

import asyncio
from collections.abc import Mapping

from proxy.auth import Key, KeyStore, api_keys
from proxy.errors import Forbidden, TwoCredentials, Unauthenticated
from proxy.vocabulary import Caller, Clock, Now, Plan

REMEMBERED_SECONDS = 0.5
"""How long a key on record is believed without asking again: half of the second in which a revocation must bite."""
REMEMBERED_KEYS = 10_000

PLACEHOLDERS = frozenset(
    "ollama empty none null dummy placeholder sk-no-key-required no-key lm-studio not-needed".split()
)
"""What clients say where they must say something and nobody gave them a key."""
PLACEHOLDER = "The API key is a placeholder. This gate needs a key of its own: ask the owner of the box for one."

_NOBODY = bytes(32)
"""The digest of no key: compared against where there is none, so that both cases take the same work."""


class Authenticator:
    """Knows callers by their API keys."""

    def __init__(self, keys: KeyStore, plans: Mapping[str, Plan], pepper: bytes, *, clock: Clock, now: Now) -> None:
        self._keys = keys
        self._plans = plans
        self._pepper = pepper
        self._clock = clock
        self._now = now
        self._remembered: dict[str, tuple[float, Key | None]] = {}
        self._asking: dict[str, asyncio.Future[Key | None]] = {}

    async def caller(self, secrets: tuple[str, ...]) -> Caller:
        """Who holds the one credential.

        Raises TwoCredentials where there are several, Unauthenticated where it is missing, malformed, unknown, expired
        or revoked, Forbidden where its plan is no longer configured.
        """
        if len(secrets) > 1:
            raise TwoCredentials
        presented = secrets[0] if secrets else ""
        key_id = api_keys.key_id_of(presented)
        if key_id is None:
            raise Unauthenticated(PLACEHOLDER if presented.lower() in PLACEHOLDERS else None)
        key = await self._on_record(key_id)
        genuine = api_keys.same(api_keys.digest(presented, self._pepper), key.digest if key else _NOBODY)
        if key is None or not genuine or key.state(self._now()) != "live":
            raise Unauthenticated
        plan = self._plans.get(key.plan)
        if plan is None:
            raise Forbidden("This key belongs to a plan that this gate does not have.")
        return key.caller(plan)

    async def _on_record(self, key_id: str) -> Key | None:
        remembered = self._remembered.get(key_id)
        if remembered and self._clock() < remembered[0]:
            return remembered[1]
        asking = self._asking.get(key_id)
        if asking is None:
            asking = self._asking[key_id] = asyncio.ensure_future(self._look_up(key_id))
            asking.add_done_callback(lambda _: self._asking.pop(key_id))
        return await asyncio.shield(asking)  # Others may wait for the same look-up when this call is given up.

    async def _look_up(self, key_id: str) -> Key | None:
        asked_at = self._clock()  # Before the look-up: what it finds may be as old as this.
        key = await self._keys.find(key_id)
        self._remembered.pop(key_id, None)
        if len(self._remembered) >= REMEMBERED_KEYS:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key_id] = (asked_at + REMEMBERED_SECONDS, key)
        return key
