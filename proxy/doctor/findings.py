"""What the doctor says of one thing, and how bad all of it is together."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

AS_THE_GATE = "sudo -u llamagate /opt/llamagate/bin/llamagate doctor --config /etc/llamagate/llamagate.toml"
"""Where docs/quickstart.md puts both. Without the file that user would look into another state directory."""
PRIVATE = "That network was told to be the gate's and its own (--private), which cannot be seen from here."
"""Why no more than a note is made of what would be read along elsewhere."""


class Severity(enum.StrEnum):
    """From good to bad."""

    OK = "ok"
    INFO = "info"
    """Good to know; nothing has to be done."""
    WARNING = "warning"
    """It works, and something about it should be changed."""
    CRITICAL = "critical"
    """It does not work, or lets in who should stay out."""


_IN_ORDER = tuple(Severity)
_EXIT_CODES = {Severity.WARNING: 1, Severity.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Never holds a secret."""

    id: str
    """Stable, as ``subject.thing``."""
    severity: Severity
    what: str
    """How it is."""
    why: str = ""
    """What comes of that."""
    cure: str = ""
    """What to type or to set, word for word."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Those of equal severity in the order in which they came."""
    return sorted(findings, key=lambda one: -_IN_ORDER.index(one.severity))


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where all is well, 1 after a warning, 2 after something critical."""
    return max((_EXIT_CODES.get(one.severity, 0) for one in findings), default=0)


def ok(id: str, what: str) -> Finding:
    return Finding(id, Severity.OK, what)


def info(id: str, what: str, why: str = "", cure: str = "") -> Finding:
    return Finding(id, Severity.INFO, what, why, cure)


def warning(id: str, what: str, why: str, cure: str) -> Finding:
    return Finding(id, Severity.WARNING, what, why, cure)


def critical(id: str, what: str, why: str, cure: str) -> Finding:
    return Finding(id, Severity.CRITICAL, what, why, cure)
