"""From the credentials that a call presented to the caller who holds them, or to one and the same refusal."""

from collections.abc import Mapping

from proxy.auth import Key, KeyStore, api_keys
from proxy.errors import Forbidden, TwoCredentials, Unauthenticated
from proxy.vocabulary import Caller, Clock, Now, Plan

REMEMBERED_SECONDS = 0.5
"""How long a key on record is believed without asking again: half of the second in which a revocation must bite."""
REMEMBERED_KEYS = 10_000

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
            raise Unauthenticated
        key = await self._on_record(key_id)
        genuine = api_keys.same(api_keys.digest(presented, self._pepper), key.digest if key else _NOBODY)
        if key is None or not genuine or key.state(self._now()) != "live":
            raise Unauthenticated
        plan = self._plans.get(key.plan)
        if plan is None:
            raise Forbidden("This key belongs to a plan that this gate does not have.")
        return Caller(user=key.user, team=key.team, key_id=key.id, plan=plan, models=key.models)

    async def _on_record(self, key_id: str) -> Key | None:
        remembered = self._remembered.get(key_id)
        if remembered and self._clock() < remembered[0]:
            return remembered[1]
        asked_at = self._clock()  # Before the look-up: what it finds may be as old as this.
        key = await self._keys.find(key_id)
        self._remembered.pop(key_id, None)
        if len(self._remembered) >= REMEMBERED_KEYS:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key_id] = (asked_at + REMEMBERED_SECONDS, key)
        return key
