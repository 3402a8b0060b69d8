"""Put together who knows callers: by what is on record, by what trusted issuers say, by what Ollama's client signs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.admin.proofs import AuthStatus, IssuerStatus
from proxy.auth.authenticator import Authenticator
from proxy.auth.ollama_identity import Signatures
from proxy.auth.remembered import Remembered
from proxy.auth.replays import MemoryReplays, SharedReplays
from proxy.auth.tokens import Tokens
from proxy.backends.fetch import fetching
from proxy.bootstrap import clocks
from proxy.bootstrap.storage import Records, pepper_of
from proxy.config.files import read_secret
from proxy.config.issuers import checked_secret
from proxy.config.settings import Settings
from proxy.errors import Forbidden, Misconfigured, StorageFailed, Unauthenticated
from proxy.late import late
from proxy.vocabulary import Call, Carrier, Credential, Issuer, Plan

if TYPE_CHECKING:
    from proxy.limits.redis import first, link
else:
    first = late("proxy.limits.redis.first")
    link = late("proxy.limits.redis.link")


@dataclass(frozen=True, slots=True)
class Doorkeepers:
    """Who know callers, in one gate."""

    authenticator: Authenticator
    remembered: Remembered
    tokens: Tokens
    replays: MemoryReplays | SharedReplays

    def status(self) -> AuthStatus:
        return AuthStatus(
            counts={**self.authenticator.counts, **self.replays.counts},
            away_seconds=self.remembered.away_seconds,
            issuers=tuple(
                IssuerStatus(name, keys.count, keys.age_seconds, keys.fetches, keys.failures, keys.reason)
                for name, keys in self.tokens.keys.items()
            ),
        )


@asynccontextmanager
async def doorkeepers(settings: Settings, kept: Records, plans: dict[str, Plan]) -> AsyncIterator[Doorkeepers]:
    """Who know callers, and keep what they know new. Leaving it puts on record when keys were used.

    Raises Misconfigured.
    """
    remembered = Remembered(kept.registry, clock=time.monotonic, outage_seconds=settings.auth.outage)
    try:
        await remembered.begin()
    except StorageFailed as error:
        raise Misconfigured(f"The keys cannot be read: {error.why}") from error
    async with fetching() as fetch, _replays(settings) as replays:
        tokens = Tokens(issuers(settings), fetch, clock=time.monotonic, now=clocks.now)
        signatures = Signatures(
            remembered.holder,
            replays,
            now=clocks.now,
            most_seconds=settings.auth.signature_age,
            since=0.0 if settings.redis else time.time(),  # The Redis remembers what came before this gate began.
        )
        authenticator = Authenticator(
            remembered, plans, pepper_of(settings), tokens=tokens, signatures=signatures, now=clocks.now
        )
        keeping = [asyncio.create_task(remembered.keep(asyncio.sleep)), asyncio.create_task(tokens.keep(asyncio.sleep))]
        try:
            yield Doorkeepers(authenticator, remembered, tokens, replays)
        finally:
            async with remembered.at_rest:
                for task in keeping:
                    task.cancel()
            await asyncio.wait(keeping)
            await remembered.tell()


@asynccontextmanager
async def _replays(settings: Settings) -> AsyncIterator[MemoryReplays | SharedReplays]:
    """What notices a signed request that comes again, at any of the gates where they share a Redis."""
    local = MemoryReplays(time.monotonic)
    if settings.redis is None:
        yield local
        return
    shared = link.Link.to(settings.redis)
    try:
        yield SharedReplays(local, first.RedisFirst(shared), settings.on_redis_failure)
    finally:
        await shared.close()


async def explained(settings: Settings, kept: Records, text: str) -> Mapping[str, Any]:
    """What a gate with these settings would make of a token, see ``Tools.explain``. Raises AuthUnavailable."""
    told: dict[str, Any] = dict.fromkeys(("issuer", "user", "team", "plan", "refused"))
    async with fetching() as fetch:
        tokens = Tokens(issuers(settings), fetch, clock=time.monotonic, now=clocks.now)
        records = Remembered(kept.registry, clock=time.monotonic, outage_seconds=0)
        await records.begin()
        authenticator = Authenticator(
            records,
            settings.plan_table(),
            b"",
            tokens=tokens,
            signatures=Signatures(records.holder, MemoryReplays(time.monotonic), now=clocks.now, most_seconds=0),
            now=clocks.now,
        )
        credential = Credential(Carrier.BEARER, text)
        try:
            claims = await tokens.claims(text)
            told |= {"issuer": claims.issuer, "user": claims.user, "team": claims.team, "plan": claims.plan}
            caller = await authenticator.caller(Call("explained", clocks.now(), "GET", "/", (credential,)))
            told |= {"team": caller.team, "plan": caller.plan.name}
        except Unauthenticated as error:
            told["refused"] = str(error.why)
        except Forbidden as error:
            told["refused"] = error.message
    return told


def issuers(settings: Settings) -> Sequence[Issuer]:
    """Those that are trusted, with what their files hold. Raises Misconfigured."""
    return [
        told.issuer(
            name,
            pem=None if told.key_file is None else _read(told.key_file),
            secret=None if told.secret_file is None else _secret(told.secret_file, told.algorithms),
        )
        for name, told in settings.issuers.items()
    ]


def _secret(file: Path, algorithms: tuple[str, ...]) -> bytes:
    def exposed(path: str) -> None:
        logging.getLogger("proxy.config").warning("secret_open_to_others", extra={"file": path})

    try:
        text = read_secret(str(file), exposed=exposed)
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Misconfigured(f"{file} is not text.") from None
    try:
        return checked_secret(text.rstrip("\r\n"), algorithms)
    except ValueError as error:
        raise Misconfigured(f"The secret in {file} {error}.") from None


def _read(file: Path) -> str:
    try:
        return file.expanduser().read_text("utf-8-sig")
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Misconfigured(f"{file} is not text.") from None
