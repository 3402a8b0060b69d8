"""Signed tokens (RFC 7519) of issuers whom the owner trusts, checked as RFC 8725 advises.

A token is read strictly before anything else looks at it: what has two readings, or tells us how to find its key, is
refused. PyJWT is only given what has passed, one algorithm and the one key that is meant. Whatever is wrong is
Unauthenticated with its reason, and never any other exception.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proxy.auth.claims import Claims, claims_of
from proxy.auth.issuer_keys import Fetch, IssuerKeys, Pause
from proxy.auth.jose import Unreadable, read_object, unbase64url
from proxy.errors import Misconfigured, Unauthenticated, Why
from proxy.late import late, load
from proxy.vocabulary import Clock, Issuer, Now

if TYPE_CHECKING:
    import jwt

    from proxy.auth.jwks import VerifyingKey
else:
    jwt = late("jwt")

LONGEST = 8192
"""Characters."""
MOST_REMEMBERED = 10_000
LOOK_SECONDS = 1.0
"""From one look at whether keys have to be fetched to the next."""

SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
KID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,255}", re.ASCII)
NOT_IN_HEADER = {
    **dict.fromkeys(("crit", "b64", "zip", "enc"), Why.MALFORMED),
    **dict.fromkeys(("jku", "x5u", "jwk", "x5c"), Why.WRONG_KEY),  # RFC 8725 §3.10: no token brings its own key.
    "cty": Why.WRONG_TYPE,  # A token within a token.
}
_OPTIONS: "jwt.types.Options" = {
    "require": ["exp", "iat", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_jti": False,
    "enforce_minimum_key_length": True,
}
"""``claims`` looks at the rest, with a clock that is given: PyJWT takes more for a time, or a subject, than is one."""


@dataclass(frozen=True, slots=True)
class Token:
    """One that is well formed, and no more than that: nothing that it says has been checked."""

    text: str = field(repr=False)
    algorithm: str
    kid: str | None
    type: str | None
    payload: Mapping[str, Any] = field(repr=False)


def looks_like(text: str) -> bool:
    """Whether it could be a token at all."""
    return len(text) <= LONGEST and SHAPE.fullmatch(text) is not None


def read(text: str) -> Token:
    """What it says, without any check of whether that is so. Raises Unauthenticated."""
    if not looks_like(text):
        raise Unauthenticated(Why.MALFORMED)
    try:
        first, second, third = text.split(".")
        header, payload = read_object(unbase64url(first)), read_object(unbase64url(second))
        unbase64url(third)
    except Unreadable as error:
        raise Unauthenticated(Why.MALFORMED) from error
    for name, why in NOT_IN_HEADER.items():
        if name in header:
            raise Unauthenticated(why)
    algorithm, kid, said = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise Unauthenticated(Why.WRONG_ALGORITHM)
    if "kid" in header and not (isinstance(kid, str) and KID.fullmatch(kid)):
        raise Unauthenticated(Why.WRONG_KEY)
    if "typ" in header and not isinstance(said, str):
        raise Unauthenticated(Why.WRONG_TYPE)
    return Token(text, algorithm, kid, said, payload)


def check(token: Token, issuer: Issuer) -> None:
    """Whether its header says nothing that this issuer does not. Raises Unauthenticated."""
    if token.algorithm not in issuer.algorithms:
        raise Unauthenticated(Why.WRONG_ALGORITHM)
    if token.type is not None and _type(token.type) not in {_type(one) for one in issuer.types}:
        raise Unauthenticated(Why.WRONG_TYPE)


def verify(token: Token, issuer: Issuer, key: "VerifyingKey") -> None:
    """Whether the key signed it, for us. Raises Unauthenticated."""
    try:
        jwt.decode(
            token.text,
            key.key,
            algorithms=[token.algorithm],
            audience=issuer.audiences,
            issuer=issuer.url,
            options=_OPTIONS,
        )
    except jwt.MissingRequiredClaimError as error:
        raise Unauthenticated(Why.WRONG_AUDIENCE if error.claim == "aud" else Why.WRONG_CLAIMS) from error
    except jwt.InvalidAudienceError as error:
        raise Unauthenticated(Why.WRONG_AUDIENCE) from error
    except jwt.InvalidIssuerError as error:
        raise Unauthenticated(Why.WRONG_ISSUER) from error
    except jwt.InvalidAlgorithmError as error:
        raise Unauthenticated(Why.WRONG_ALGORITHM) from error
    except jwt.InvalidKeyError as error:
        raise Unauthenticated(Why.WRONG_KEY) from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:  # Of what has passed so far, only the signature is left.
        raise Unauthenticated(Why.WRONG_SIGNATURE) from error


class Tokens:
    """Knows people by the tokens of all trusted issuers."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        fetch: Fetch,
        *,
        clock: Clock,
        now: Now,
        pause: Pause = asyncio.sleep,
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        """``pause`` tells how long a call may wait for keys.

        Raises Misconfigured where an issuer's key cannot be used, or two are the same.
        """
        self._fetch = fetch
        self._clock = clock
        self._now = now
        self._pause = pause
        self._most_remembered = most_remembered
        self._trusted: dict[str, _Trusted] = {}
        self._remembered: dict[bytes, tuple[Claims, IssuerKeys]] = {}
        self._dropped: list[IssuerKeys] = []
        self.replace(issuers)

    @property
    def keys(self) -> Mapping[str, IssuerKeys]:
        """By the issuer's name, what it signs with, with counts of how that was fetched."""
        return {trusted.issuer.name: trusted.keys for trusted in self._trusted.values()}

    def replace(self, issuers: Sequence[Issuer]) -> None:
        """Trust these from now on and no others. Raises Misconfigured, and then nothing is changed."""
        if len({one.url for one in issuers}) < len(issuers) or len({one.name for one in issuers}) < len(issuers):
            raise Misconfigured("Two issuers have the same name or the same URL.")
        if issuers:
            load(jwt)  # Not by the first token: all others would wait.
        known = self.keys
        trusted = {}
        prefixes = {issuer.user_prefix for issuer in issuers}
        for issuer in issuers:
            keys = known.get(issuer.name)
            if keys is None or not keys.are_those_of(issuer):
                keys = IssuerKeys(issuer, self._fetch, clock=self._clock, pause=self._pause)
            own = issuer.user_prefix
            others = tuple(prefix for prefix in prefixes if prefix != own and prefix.startswith(own))
            trusted[issuer.url] = _Trusted(issuer, keys, others)
        self._trusted = trusted
        kept = set(self.keys.values())
        self._dropped += [keys for keys in known.values() if keys not in kept]
        self._remembered.clear()  # What was true by other rules need not be now.

    async def claims(self, text: str) -> Claims:
        """What the token says, where it is genuine and for us, and its time has come and is not over.

        Raises Unauthenticated, or AuthUnavailable where its issuer's keys are not known (any more).
        """
        if not looks_like(text):
            raise Unauthenticated(Why.MALFORMED)
        digest = hashlib.sha256(text.encode("ascii")).digest()
        if (remembered := self._remembered.get(digest)) is not None:
            claims, keys = remembered
            if self._now().timestamp() < claims.exp and keys.has(claims.key):
                return claims
            self._remembered.pop(digest, None)
        token = read(text)
        url = token.payload.get("iss")
        trusted = self._trusted.get(url) if isinstance(url, str) else None
        if trusted is None:
            raise Unauthenticated(Why.WRONG_ISSUER)
        check(token, trusted.issuer)
        key = await trusted.keys.key_for(token.algorithm, token.kid)
        verify(token, trusted.issuer, key)
        claims = claims_of(token.payload, trusted.issuer, key.mark, self._now().timestamp())
        if claims.user.startswith(trusted.others):
            raise Unauthenticated(Why.WRONG_CLAIMS)
        if self._trusted.get(trusted.issuer.url) is not trusted:  # Replaced while its keys were waited for.
            return await self.claims(text)
        self._remember(digest, claims, trusted.keys)
        return claims

    def _remember(self, digest: bytes, claims: Claims, keys: IssuerKeys) -> None:
        if digest not in self._remembered and len(self._remembered) >= self._most_remembered:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (claims, keys)

    async def keep(self, pause: Pause = asyncio.sleep) -> None:
        """Fetch the issuers' keys whenever it is time to, for ever; cancelled, it gives up what is under way."""
        try:
            while True:
                for keys in self.keys.values():
                    keys.refresh_if_due()
                await self._close_dropped()
                await pause(LOOK_SECONDS)
        finally:
            self._dropped += self.keys.values()
            await self._close_dropped()

    async def _close_dropped(self) -> None:
        while self._dropped:
            await self._dropped.pop().close()


@dataclass(frozen=True, slots=True, eq=False)
class _Trusted:
    issuer: Issuer
    keys: IssuerKeys
    others: tuple[str, ...]
    """What the users of other issuers begin with who could be taken for its own: it does not speak for them."""


def _type(said: str) -> str:
    """RFC 7515 §4.1.9: case means nothing, and ``application/`` may be left out."""
    return said.lower().removeprefix("application/")
