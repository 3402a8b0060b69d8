"""``GET /v1/key``: what may the caller do, and what is left?"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from proxy.errors import StorageFailed, StoreFailed
from proxy.limits.verdict import Kind, Standing
from proxy.own.bounded import Bounded
from proxy.policy import models
from proxy.vocabulary import Caller

MICROS = 1_000_000


class Limits(Protocol):
    async def standings(self, caller: Caller) -> list[Standing]:
        """How every limit stands that this caller has a share in. Raises StoreFailed or StorageFailed."""


class OwnKey:
    """An ``Own``."""

    def __init__(self, limits: Limits, bounded: Bounded) -> None:
        self._limits = limits
        self._bounded = bounded

    async def __call__(self, caller: Caller, query: Mapping[str, str]) -> bytes:
        async def find() -> bytes:
            try:
                standings = await self._limits.standings(caller)
            except (StoreFailed, StorageFailed):
                standings = None  # Nobody can tell at the moment; the rest is true all the same.
            return json.dumps(told(caller, standings)).encode()

        return await self._bounded.answer(caller.key_id, caller, find)


def told(caller: Caller, standings: Iterable[Standing] | None) -> Mapping[str, Any]:
    """The key's facts; its limits are null where nobody can tell them."""
    return {
        "object": "key",
        "id": caller.key_id,
        "user": caller.user,
        "team": caller.team,
        "plan": caller.plan.name,
        "models": [models.shortest(one) for one in models.both(caller.plan.models, caller.models)],
        "grants": sorted(risk.value for risk in caller.plan.grants),
        "limits": None if standings is None else [_limit(one) for one in standings],
    }


def _limit(one: Standing) -> Mapping[str, Any]:
    """Of calls at once nobody knows when the next one ends, and the GPU's time is told in seconds."""
    unit = 1000 if one.kind is Kind.DAY_GPU else 1
    is_timeless = one.kind is Kind.CONCURRENT
    return {
        "name": one.name,
        "limit": one.most / unit if unit > 1 else one.most,
        "remaining": one.left / unit if unit > 1 else one.left,
        "reset_seconds": None if is_timeless else -(-one.full // MICROS),
        "window_seconds": None if is_timeless else -(-one.window // MICROS),
        **({"models": models.shortest(one.account.models)} if one.account.models else {}),
        **({"shadow": True} if one.account.shadow else {}),
    }
