"""From what a token claims to who asks, by what its issuer's rows say. Nothing in this module does I/O.

Who signed it is not asked here: ``tokens`` has found that out before. Whatever does not make sense is Unauthenticated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.auth.api_keys import ID_LENGTH, base62
from proxy.errors import Unauthenticated, Why
from proxy.vocabulary import Issuer, one_form

LAST_SECOND = 253_402_300_799
"""Of the year 9999, since the Unix epoch: what a NumericDate (RFC 7519 §2) can sensibly say."""
LONGEST_CLAIM = 255
LONGEST_NAME = 128
"""Of a user or a team."""
_NOTHING = object()
"""In place of a claim that is not there: null is one that is."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that is genuine says of its bearer."""

    issuer: str
    """The owner's word for it."""
    user: str
    team: str | None
    plan: str | None
    """Its name; None where neither a group nor the issuer has one."""
    sub: str
    jti: str | None
    exp: int
    """Seconds since the Unix epoch."""
    key: str
    """The mark of the key that signed it: where its issuer has no such key any more, the token is worth nothing."""
    key_id: str
    """As a key's id: the same for all tokens of this issuer and subject."""


def claims_of(payload: Mapping[str, Any], issuer: Issuer, key: str, now: float) -> Claims:
    """What the payload of a genuine token says; ``now`` is in seconds since the Unix epoch.

    Raises Unauthenticated: EXPIRED, NOT_YET, TOO_LONG or WRONG_CLAIMS.
    """
    exp = _checked_times(payload, issuer, now)
    if not all(_says(payload, claim, values) for claim, values in issuer.require):
        raise Unauthenticated(Why.WRONG_CLAIMS)
    if issuer.user_claim == "email" and not _says(payload, "email_verified", ("true",), without=True):
        raise Unauthenticated(Why.WRONG_CLAIMS)  # Some issuers let people write whatever address they like.
    sub = _text(payload.get("sub"), LONGEST_CLAIM)
    groups = _groups(payload, issuer.groups_claim) if issuer.groups or issuer.teams else frozenset()
    team = _first(issuer.teams, groups)
    if team is None and issuer.team_claim is not None and issuer.team_claim in payload:
        team = _name(payload[issuer.team_claim], "")
    return Claims(
        issuer=issuer.name,
        user=_name(payload.get(issuer.user_claim), issuer.user_prefix),
        team=team and one_form(team),
        plan=_first(issuer.groups, groups) or issuer.plan,
        sub=sub,
        jti=_text(payload["jti"], LONGEST_CLAIM) if "jti" in payload else None,
        exp=exp,
        key=key,
        key_id=key_id_of(issuer.name, sub),
    )


def key_id_of(issuer: str, sub: str) -> str:
    """What stands for a key's id where there is none: it tells nothing of the subject."""
    digest = hashlib.sha256(f"{issuer}\0{sub}".encode()).digest()
    return "jwt-" + base62(int.from_bytes(digest), ID_LENGTH)


def _checked_times(payload: Mapping[str, Any], issuer: Issuer, now: float) -> int:
    """``exp``, where all times are sound (RFC 7519 §4.1.4 to §4.1.6)."""
    exp, iat = _time(payload.get("exp")), _time(payload.get("iat"))
    earliest = max(iat, _time(payload["nbf"])) if "nbf" in payload else iat
    if exp <= now - issuer.leeway:
        raise Unauthenticated(Why.EXPIRED)
    if earliest > now + issuer.leeway:
        raise Unauthenticated(Why.NOT_YET)
    if exp <= iat:
        raise Unauthenticated(Why.WRONG_CLAIMS)
    if exp - iat > issuer.max_lifetime:
        raise Unauthenticated(Why.TOO_LONG)
    return exp


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LAST_SECOND:  # A bool is an int, but no time.
        raise Unauthenticated(Why.WRONG_CLAIMS)
    return value


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable() or value != value.strip():
        raise Unauthenticated(Why.WRONG_CLAIMS)
    return value


def _name(value: object, prefix: str) -> str:
    said = str(value) if type(value) is int else _text(value, LONGEST_NAME)
    return _text(one_form(prefix + said), LONGEST_NAME)


def _at(payload: Mapping[str, Any], claim: str) -> Any:
    """What the claim of exactly this name says, or that to which the dots in it lead; else _NOTHING."""
    found: Any = payload
    for name in (claim,) if claim in payload else claim.split("."):
        if not isinstance(found, dict):
            raise Unauthenticated(Why.WRONG_CLAIMS)
        if name not in found:
            return _NOTHING
        found = found[name]
    return found


def _says(payload: Mapping[str, Any], claim: str, values: Sequence[str], *, without: bool = False) -> bool:
    """Whether the claim is one of the values, or a list with one of them in it; ``without``: what is so of none."""
    if (found := _at(payload, claim)) is _NOTHING:
        return without
    return any(_plain(one) in values for one in (found if isinstance(found, list) else [found]))


def _plain(value: object) -> str | None:
    """As it is written in the configuration."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def _groups(payload: Mapping[str, Any], claim: str) -> frozenset[str]:
    """Empty where there is no such claim."""
    if (found := _at(payload, claim)) is _NOTHING:
        return frozenset()
    if isinstance(found, str):
        return frozenset(found.split())
    if not isinstance(found, list) or not all(isinstance(group, str) for group in found):
        raise Unauthenticated(Why.WRONG_CLAIMS)
    return frozenset(found)


def _first(rows: tuple[tuple[str, str], ...], groups: frozenset[str]) -> str | None:
    return next((meant for group, meant in rows if group in groups), None)
