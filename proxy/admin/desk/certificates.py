"""Certificates at the desk: what clients show while they connect."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from proxy.admin.amounts import NO_LIMITS
from proxy.admin.desk.credentials import Credentials
from proxy.admin.refusals import NotDone
from proxy.admin.rules import Terms
from proxy.auth import Key, Kind
from proxy.auth.certificates import Certificate, of_client
from proxy.vocabulary import Limits


class Certificates(Credentials):
    """The certificate in PEM will do wherever an id is asked for. Errors as of ``Credentials``."""

    async def add_certificate(
        self,
        pem: str,
        user: str,
        team: str | None = None,
        plan: str | None = None,
        models: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
        note: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Key:
        """Let in who shows this certificate, until it ends at the latest; see ``create_key``."""
        certificate = _read(pem)
        before = await self._registry.find(certificate.key_id)
        if before is not None:
            raise _there_already(before.key)
        left = certificate.until - self._now()
        if left <= timedelta(0):
            raise NotDone(f"This certificate has ended, on {certificate.until:%Y-%m-%d %H:%M} UTC.")
        terms = self._rules.terms(Terms(user, team, plan, models, lifetime, note, limits))
        terms = replace(terms, lifetime=min(left, terms.lifetime or left))
        return await self._put(terms, Kind.CERTIFICATE, lambda: (certificate.key_id, certificate.digest))

    async def certificates(self) -> list[Key]:
        """Every certificate, oldest first."""
        return await self._all(Kind.CERTIFICATE)

    async def certificate(self, shown: str) -> Key:
        return await self._known(Kind.CERTIFICATE, _id(shown))

    async def update_certificate(self, shown: str, told: Mapping[str, Any]) -> Key:
        """As ``update_key``."""
        return await self._changed(Kind.CERTIFICATE, _id(shown), told)

    async def suspend_certificate(self, shown: str) -> Key:
        """As ``suspend_key``."""
        return await self._suspended(Kind.CERTIFICATE, _id(shown))

    async def resume_certificate(self, shown: str) -> Key:
        """As ``resume_key``."""
        return await self._resumed(Kind.CERTIFICATE, _id(shown))

    async def revoke_certificate(self, shown: str) -> Key:
        """From now on it is refused, for good: the same certificate cannot be added again."""
        return await self._revoked(Kind.CERTIFICATE, _id(shown))


def _read(pem: str) -> Certificate:
    try:
        return of_client(pem)
    except ValueError as error:
        raise NotDone(str(error)) from None


def _id(shown: str) -> str:
    return _read(shown).key_id if "-----BEGIN" in shown else shown.strip()


def _there_already(key: Key) -> NotDone:
    if key.kind is not Kind.CERTIFICATE:
        return NotDone(f"The id {key.id} of this certificate is taken by something else: a new one is needed.")
    if key.revoked_at is not None:
        return NotDone(
            f"This was the certificate {key.id} of {key.user}, which is revoked, and that is for good:"
            " whoever shall be let in needs a new one."
        )
    return NotDone(f"This certificate is on record already, as {key.id} of {key.user}.")
