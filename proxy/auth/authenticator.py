"""From the credential that a call presented to the caller who holds it, or to one and the same refusal."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from proxy.auth import Holder, Kind, api_keys, certificates, suspended
from proxy.auth.claims import Claims
from proxy.auth.credentials import is_placeholder
from proxy.auth.remembered import Belonging
from proxy.auth.tokens import looks_like
from proxy.errors import Forbidden, TwoCredentials, Unauthenticated, Why
from proxy.vocabulary import Call, Caller, Carrier, Credential, Limits, Now, Plan

PLACEHOLDER = "The API key is a placeholder. This gate needs a key of its own: ask the owner of the box for one."
MOST_CALLERS = 20_000

_NOBODY = bytes(32)
"""The digest of no key: compared against where there is none, so that both cases take the same work."""


class Records(Protocol):
    """What is on record, kept at hand: see ``remembered``. Raises StorageFailed where nobody can tell."""

    async def holder(self, key_id: str) -> Holder | None: ...

    async def belonging(self, user: str, team: str | None) -> Belonging: ...

    def is_denied(self, issuer: str, *, jti: str | None, sub: str) -> bool: ...

    def used(self, key_id: str, at: datetime, *, former: bool) -> None: ...


class Signatures(Protocol):
    async def holder(self, call: Call, text: str) -> Holder:
        """Whose Ollama client has signed the call, just now and for the first time.

        Raises Unauthenticated, and AuthUnavailable where nobody can tell whether it is the first.
        """


class Tokens(Protocol):
    async def claims(self, text: str) -> Claims:
        """What a genuine token says. Raises Unauthenticated, and AuthUnavailable where its issuer is away."""


class Authenticator:
    """Knows callers by whatever they prove it with."""

    def __init__(
        self,
        records: Records,
        plans: Mapping[str, Plan],
        pepper: bytes,
        *,
        tokens: Tokens,
        signatures: Signatures,
        now: Now,
    ) -> None:
        self._records = records
        self._plans = plans
        self._pepper = pepper
        self._tokens = tokens
        self._signatures = signatures
        self._now = now
        self._callers: dict[str, tuple[object, object, Plan, Caller]] = {}
        self.counts: Counter[str] = Counter()
        """Who was let in, by kind of proof, and who was not, by the reason: for the owner, never for the caller."""

    async def caller(self, call: Call) -> Caller:
        """Who holds the one credential.

        Raises TwoCredentials where there are several, Unauthenticated where it is missing or no good, Forbidden where
        it is good and there is no plan for it, StorageFailed or AuthUnavailable where nobody can tell.
        """
        try:
            if len(call.credentials) > 1:
                raise TwoCredentials
            if not call.credentials:
                raise Unauthenticated
            return await self._caller(call, call.credentials[0])
        except Unauthenticated as error:
            self.counts[error.why] += 1
            raise

    async def _caller(self, call: Call, credential: Credential) -> Caller:
        text = credential.text
        if credential.carrier is Carrier.SIGNED:
            holder = await self._signatures.holder(call, text)
            return self._let_in(holder, Kind.IDENTITY)
        if credential.carrier is Carrier.CERTIFICATE:
            return self._let_in(await certificates.holder(self._records.holder, text), Kind.CERTIFICATE)
        if (key_id := api_keys.key_id_of(text)) is not None:
            caller = await self._of_key(key_id, text)
            if credential.carrier is Carrier.PATH and not caller.plan.key_in_path:
                raise Forbidden("This key's plan does not allow it in the path: send it in a header.")
            return caller
        if credential.carrier is not Carrier.PATH and looks_like(text):
            return await self._of_token(text)
        if is_placeholder(text):
            raise Unauthenticated(Why.PLACEHOLDER, PLACEHOLDER)
        raise Unauthenticated(Why.MALFORMED)

    async def _of_key(self, key_id: str, text: str) -> Caller:
        holder = await self._records.holder(key_id)
        key = holder.key if holder is not None and holder.key.kind is Kind.API_KEY else None
        shown = api_keys.digest(text, self._pepper)
        # Both are compared in any case, so that nobody can tell by the time which of them there is.
        is_current = api_keys.same(shown, key.digest if key else _NOBODY)
        is_former = api_keys.same(shown, (key.former_digest if key else None) or _NOBODY)
        if holder is None or key is None or not (is_current or is_former):
            raise Unauthenticated(Why.UNKNOWN)
        if not is_current and (key.former_until is None or key.former_until <= self._now()):
            raise Unauthenticated(Why.EXPIRED)
        return self._let_in(holder, Kind.API_KEY, former=not is_current)

    def _let_in(self, holder: Holder, kind: Kind, *, former: bool = False) -> Caller:
        now = self._now()
        if (why := holder.refused(now)) is not None:
            raise Unauthenticated(why)
        key = holder.key
        self._records.used(key.id, now, former=former)
        self.counts[kind] += 1
        known = self._callers.get(key.id)
        plan = self._plan(key.plan)
        if known is not None and known[0] is holder and known[2] is plan:
            return known[3]
        return self._remember(holder, None, holder.caller(plan))

    async def _of_token(self, text: str) -> Caller:
        claims = await self._tokens.claims(text)
        if self._records.is_denied(claims.issuer, jti=claims.jti, sub=claims.sub):
            raise Unauthenticated(Why.DENIED)
        belonging = await self._records.belonging(claims.user, claims.team)
        user, team = belonging
        if (why := suspended(user, team)) is not None:
            raise Unauthenticated(why)
        self.counts["token"] += 1
        plan = self._plan(claims.plan or (user.plan if user else None))
        known = self._callers.get(claims.key_id)
        if known is not None and known[0] is claims and known[1] is belonging and known[2] is plan:
            return known[3]
        caller = Caller(
            user=claims.user,
            key_id=claims.key_id,
            plan=plan,
            team=claims.team or (user.team if user else None),
            user_limits=user.limits if user else Limits(),
            team_limits=team.limits if team else Limits(),
        )
        return self._remember(claims, belonging, caller)

    def _plan(self, name: str | None) -> Plan:
        if name is None:
            raise Forbidden("You are known here, and have no plan: ask the owner of the box for one.")
        plan = self._plans.get(name)
        if plan is None:
            raise Forbidden("This key belongs to a plan that this gate does not have.")
        return plan

    def _remember(self, proof: object, belonging: object, caller: Caller) -> Caller:
        """The same caller for the same proof, so that whoever compares callers needs but a look."""
        if len(self._callers) >= MOST_CALLERS:
            self._callers.clear()
        self._callers[caller.key_id] = proof, belonging, caller.plan, caller
        return caller
