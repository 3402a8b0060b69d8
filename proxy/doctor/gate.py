"""The gate itself: does it run, does it keep its ledger, and who reads along?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxy.doctor.findings import AS_THE_GATE, PRIVATE, Finding, critical, info, ok, warning


@dataclass(frozen=True, slots=True)
class Ledger:
    """How the ledger of the running gate fares."""

    is_full: bool = False
    is_failing: bool = False
    behind_seconds: float = 0.0
    lost: int = 0
    """Lines and entries that are nowhere."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What it was told to be, and what it says now."""

    address: str
    """Where callers on this machine find it."""
    listen: str
    is_readable: bool = False
    """Whether keys and prompts come from other machines as anybody on the way could read them."""
    admin_listen: str | None = None
    admin_public: bool = False
    failure: str | None = None
    """Why it says nothing; None where it does."""
    is_running: bool = False
    ledger: Ledger | None = None
    admin_private: bool = False
    """Whether somebody has said that nobody else is in the network where others reach the admin listener."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in the configuration that is wrong."""

    where: str
    key: str
    problem: str
    cure: str


def mistakes(found: Sequence[Mistake]) -> Iterator[Finding]:
    """The configuration as a whole, where it is not good. Else there is no ``Gate`` to look at."""
    for one in found:
        yield critical(
            "config.valid",
            f"{one.where}: {one.key}: {one.problem}.",
            "The gate does not start with this, and one that runs goes on with what it had.",
            one.cure,
        )


def findings(gate: Gate) -> Iterator[Finding]:
    yield ok("config.valid", "The configuration is good.")
    yield from _running(gate)
    if gate.ledger is not None:
        yield from _ledger(gate.ledger)
    if gate.is_readable:
        yield critical(
            "gate.tls",
            f"The gate listens on {gate.listen} without TLS.",
            "Whoever is on the way reads keys and prompts, and uses the keys.",
            '[tls] with certificate = "fullchain.pem" and key = "privkey.pem"; or a proxy that speaks TLS in front, '
            'listen = "127.0.0.1:11435" and trusted_proxies = ["127.0.0.1"]',
        )
    else:
        yield ok("gate.tls", "Nobody on the way can read keys and prompts.")
    if gate.admin_public and gate.admin_private:
        yield info("gate.admin", f"The admin listener is at {gate.admin_listen}, and asks for no key.", PRIVATE)
    elif gate.admin_public:
        yield warning(
            "gate.admin",
            f"The admin listener is reachable from other machines, at {gate.admin_listen}.",
            "It asks for no key, and tells how much is asked for, by model.",
            'admin_listen = "127.0.0.1:11436", or let a firewall admit only Prometheus and the health checks',
        )
    elif gate.admin_listen is not None:
        yield ok("gate.admin", "Only this machine reaches the admin listener.")


def _running(gate: Gate) -> Iterator[Finding]:
    if gate.is_running:
        yield ok("gate.running", f"The gate runs, at {gate.address}.")
    elif gate.failure is not None:
        yield info(
            "gate.running",
            f"Whether the gate runs cannot be told: {gate.failure}",
            "Only the user that it runs as may ask it, and root.",
            f"{AS_THE_GATE}, or as root with the same --config",
        )
    else:
        yield warning(
            "gate.running",
            "The gate does not run here, or with another state_dir.",
            "Nobody is answered.",
            "systemctl start llamagate, docker compose up -d gate, or llamagate serve",
        )


def _ledger(ledger: Ledger) -> Iterator[Finding]:
    if ledger.is_failing or ledger.is_full:
        how = "takes nothing: its disk fails" if ledger.is_failing else "is full"
        yield critical(
            "gate.ledger",
            f"The journal of the ledger {how}.",
            "Calls are refused, or not on record where ledger.required is false.",
            "df -h and df -i on the disk of state_dir; then the database, which empties the journal",
        )
    elif ledger.behind_seconds:
        yield warning(
            "gate.ledger",
            f"The database has taken no line for {ledger.behind_seconds:.0f} s.",
            "The journal keeps them until it is full.",
            "llamagate ledger status; the log of the database",
        )
    elif ledger.lost:
        yield warning(
            "gate.ledger",
            f"{ledger.lost} lines of the ledger were lost since the gate began.",
            "Some calls are on record without their cost, or not at all.",
            "llamagate ledger status tells which kind; the disk of state_dir was full or failed",
        )
    else:
        yield ok("gate.ledger", "Every line of the ledger is written.")
