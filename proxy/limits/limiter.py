"""What the story meets: a call is let in with what it may cost set aside, and settles what it did cost."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from proxy.errors import GateError, NeverFits, PromptNeverFits, RateLimited
from proxy.limits import Account, Claim, Cost, Decision, Moment, State, Store, accounts
from proxy.limits.accounts import Covers
from proxy.limits.fields import duration, fields
from proxy.limits.verdict import Kind, Standing, after, standings
from proxy.vocabulary import Ask, Caller, Level, Tell, Tongue, Usage

BUSY = 1_000_000
"""Microseconds after which to try again where nobody knows when a call ends."""

_WHOSE = {
    Level.KEY: "of this key",
    Level.USER: "of this user",
    Level.TEAM: "of this team",
    Level.EVERYBODY: "of everybody on this gate together",
}


class Admission:
    """A call that was let in."""

    cost = Cost()

    def settle(self, usage: Usage, gpu_seconds: float) -> None:
        """What it really cost; called once, before the admission is left."""
        self.cost = Cost(usage.tokens, round(gpu_seconds * 1000))


class Limiter:
    """Decides by a store, and says so."""

    def __init__(self, store: Store, covers: Covers, new_id: Callable[[], str]) -> None:
        self._store = store
        self._covers = covers
        self._new_id = new_id
        self._log = logging.getLogger("proxy.limits")
        self.counts: Counter[str] = Counter()

    def telling(self, caller: Caller, tongue: Tongue, tell: Tell) -> "_Telling":
        """One call of this caller, who is told what is left on whatever becomes of it."""
        return _Telling(Turnstile(self, caller, tongue, tell))

    async def look(self, caller: Caller, tongue: Tongue, tell: Tell) -> None:
        """Tell what is left, where somebody can say."""
        asked = accounts.of(caller, "", self._covers)
        if not asked:
            return
        try:
            moment, states = await self._store.look(asked)
        except GateError:
            return  # There is an error to be told already.
        tell(fields(_every(asked, states, moment), moment, tongue))

    async def standings(self, caller: Caller) -> list[Standing]:
        """How every limit stands that this caller has a share in, whatever it asks for. Raises as ``Store.look``."""
        asked = accounts.every(caller)
        if not asked:
            return []
        moment, states = await self._store.look(asked)
        return _every(asked, states, moment)

    async def reserve(self, caller: Caller, ask: Ask, tongue: Tongue, tell: Tell) -> Claim | None:
        """None where there is nothing to settle."""
        if ask.endpoint.own:
            await self.look(caller, tongue, tell)
            return None  # Who has nothing left must still be able to ask what that is.
        asked = accounts.of(caller, ask.model, self._covers)
        if not asked:
            return None
        claim = Claim(self._new_id(), asked, ask.most_tokens, ask.prompt_floor)
        _must_fit(claim, ask)
        decision = await self._store.reserve(claim)
        try:
            self._say(caller, decision, tongue, tell)
        except BaseException:
            if decision.admitted:
                self.settle(claim, Cost())  # Nothing stays set aside for a call that never begins.
            raise
        return claim

    def _say(self, caller: Caller, decision: Decision, tongue: Tongue, tell: Tell) -> None:
        """What is left, and whom it was too much for. Raises RateLimited where that is the caller."""
        tell(fields(_left(decision), decision.moment, tongue))
        over = _over(decision)
        self._log_shadows(caller, over)
        if not decision.admitted:
            self.counts["refused"] += 1
            raise _refusal([one for one in over if one.refuses])

    def settle(self, claim: Claim, cost: Cost) -> None:
        self._store.settle(claim, cost)

    def _log_shadows(self, caller: Caller, over: Sequence[Standing]) -> None:
        for one in over:
            if one.account.shadow:
                self.counts["shadowed"] += 1
                facts = {"limit": one.name, "models": one.account.models, "user": caller.user, "key_id": caller.key_id}
                self._log.warning("limit_shadowed", extra=facts)


class Turnstile:
    """Where one call asks to be let in."""

    def __init__(self, limiter: Limiter, caller: Caller, tongue: Tongue, tell: Tell) -> None:
        self._limiter = limiter
        self._caller = caller
        self._tongue = tongue
        self._tell = tell
        self.has_told = False

    def admit(self, ask: Ask) -> "_Admitting":
        """A place for this call. Raises RateLimited, NeverFits or StoreFailed; leaving settles it."""
        return _Admitting(self, ask)

    async def reserve(self, ask: Ask) -> Claim | None:
        """None where there is nothing to settle."""
        return await self._limiter.reserve(self._caller, ask, self._tongue, self._told)

    def settle(self, claim: Claim, cost: Cost) -> None:
        """What was set aside goes back, and what it did cost is charged."""
        self._limiter.settle(claim, cost)

    async def tell_at_last(self) -> None:
        """Where nothing has been told yet."""
        if not self.has_told:
            await self._limiter.look(self._caller, self._tongue, self._tell)

    def _told(self, said: Mapping[str, str]) -> None:
        self.has_told = True
        self._tell(said)


class _Telling:
    """See ``Limiter.telling``."""

    __slots__ = ("_turnstile",)

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile

    async def __aenter__(self) -> Turnstile:
        return self._turnstile

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GateError):
            await self._turnstile.tell_at_last()


class _Admitting:
    """See ``Turnstile.admit``."""

    __slots__ = ("_admission", "_ask", "_claim", "_turnstile")

    def __init__(self, turnstile: Turnstile, ask: Ask) -> None:
        self._turnstile = turnstile
        self._ask = ask
        self._claim: Claim | None = None
        self._admission = Admission()

    async def __aenter__(self) -> Admission:
        self._claim = await self._turnstile.reserve(self._ask)
        return self._admission

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._claim is not None:
            self._turnstile.settle(self._claim, self._admission.cost)


def _must_fit(claim: Claim, ask: Ask) -> None:
    """Raises NeverFits where no waiting could help."""
    bound = accounts.most_at_once(claim.accounts)
    if bound is None or claim.most_tokens <= bound:
        return
    prompt = ask.prompt_most
    if prompt >= bound:
        raise PromptNeverFits(f"The prompt has about {prompt} tokens; the limits allow {bound} for a call. Shorten it.")
    raise NeverFits(
        f"The prompt has about {prompt} tokens and the answer may have {claim.most_tokens - prompt};"
        f" the limits allow {bound} for both. Ask for an answer of at most {bound - prompt} tokens."
    )


def _every(asked: Sequence[Account], states: Sequence[State], moment: Moment) -> list[Standing]:
    every: list[Standing] = []
    for account, state in zip(asked, states, strict=True):
        every += standings(account, state, moment)
    return every


def _left(decision: Decision) -> list[Standing]:
    """What is left once the claim is set aside, if it is."""
    claim, states = decision.claim, decision.states
    if decision.admitted:
        states = tuple([after(state, claim) for state in states])
    return _every(claim.accounts, states, decision.moment)


def _over(decision: Decision) -> list[Standing]:
    """Where the claim did not fit; once it is admitted, that can only be in shadow."""
    over: list[Standing] = []
    for account, state in zip(decision.claim.accounts, decision.states, strict=True):
        if account.shadow or not decision.admitted:
            over += [one for one in standings(account, state, decision.moment, decision.claim) if one.wait != 0]
    return over


def _refusal(over: Sequence[Standing]) -> RateLimited:
    """For the limit that takes longest to let the call pass; until then no other one could be of use."""
    worst = max(over, key=lambda one: BUSY if one.wait is None else one.wait)
    wait = BUSY if worst.wait is None else worst.wait
    counts = "requests" if worst.kind in (Kind.REQUESTS, Kind.CONCURRENT) else "tokens"
    return RateLimited(f"{_said(worst)} {_again(worst)}", wait=wait, counts=counts, limit=worst.name)


def _said(one: Standing) -> str:
    whose, limits = _WHOSE[one.account.level], one.account.limits
    models = " for this model" if one.account.models else ""
    match one.kind:
        case Kind.REQUESTS:
            what = f"{limits.requests_per_minute} requests per minute, {one.most} at once"
        case Kind.TOKENS:
            what = f"{limits.tokens_per_minute} tokens per minute, {one.most} at once"
        case Kind.CONCURRENT:
            what = f"{one.most} calls at the same time"
        case Kind.DAY_TOKENS:
            what = f"{one.most} tokens per day"
        case Kind.MONTH_TOKENS:
            what = f"{one.most} tokens per month"
        case _:
            what = f"{one.most / 1000:g} seconds of the GPU per day"
    return f"Limit reached {whose}{models}: {what}."


def _again(one: Standing) -> str:
    if one.wait is None:
        return "Try again when one of them has ended."
    return f"Try again in {duration(one.wait)}."
