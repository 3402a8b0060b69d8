"""The gate's own certificate: is it in force, for how long, and will clients believe it?"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.doctor.findings import Finding, critical, ok, warning

SOON = timedelta(days=14)
"""Whoever renews by itself has done so by then."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the files hold."""

    path: str
    failure: str | None = None
    """Why the gate could not use certificate and key; None where it could."""
    since: datetime | None = None
    until: datetime | None = None
    distrust: str | None = None
    """Why a client that knows only the usual authorities does not believe it; None where it does."""


def findings(certificate: Certificate, now: datetime) -> Iterator[Finding]:
    if certificate.failure is not None:
        yield critical(
            "certificate.usable",
            certificate.failure,
            "The gate does not start with it, and one that runs goes on with what it had.",
            "certificate: the gate's own first, then those that vouch for it; key: that of the first, mode 0600; then "
            "llamagate reload",
        )
        return
    yield ok("certificate.usable", f"The key belongs to the certificate in {certificate.path}.")
    if certificate.since is not None and certificate.until is not None:
        yield _in_force(certificate.path, certificate.since, certificate.until, now)
    if certificate.distrust is not None:
        yield warning(
            "certificate.chain",
            f"Clients that know only the usual authorities do not believe it: {certificate.distrust}.",
            "They refuse to connect, or somebody tells them not to look, and then they believe anybody.",
            "Put the whole chain into the file (fullchain.pem, not cert.pem), or give clients the authority: "
            "SSL_CERT_FILE=ca.pem",
        )
    else:
        yield ok("certificate.chain", "Clients that know the usual authorities believe it.")


def _in_force(path: str, since: datetime, until: datetime, now: datetime) -> Finding:
    if until <= now:
        return critical(
            "certificate.expiry",
            f"The certificate in {path} has ended on {until:%Y-%m-%d}.",
            "Clients refuse to connect.",
            "certbot renew, or whoever else makes it; the gate sees the new file by itself",
        )
    if now < since:
        return critical(
            "certificate.expiry",
            f"The certificate in {path} holds only from {since:%Y-%m-%d %H:%M} UTC on.",
            "Clients refuse to connect until then, or this machine's clock is wrong.",
            "timedatectl",
        )
    if until - now < SOON:
        return warning(
            "certificate.expiry",
            f"The certificate in {path} ends in {(until - now).days} days.",
            "Clients refuse to connect then, and whatever renews it should have done so.",
            "certbot renew --dry-run, or the log of whoever else makes it",
        )
    return ok("certificate.expiry", f"The certificate holds for {(until - now).days} more days.")
