"""Whether the gate is there, which anybody may ask, and whether it should be sent calls, which its owner may.

The first answer is a constant: a probe costs no look at anything, and nobody learns anything from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.web import parts as web
from proxy.web.connection import OURS

HEALTH = "/healthz"
READY = "/readyz"
METHODS = ("GET", "HEAD")
GOOD = "ok"


def is_probe(method: str, target: str) -> bool:
    """Whether it asks for ``HEALTH``, spelled so and with nothing behind it: any other spelling is a call."""
    return target == HEALTH and method in METHODS


def alive(request: web.BaseRequest) -> web.Response:
    """That the gate is there."""
    headers = {"Content-Type": "text/plain", "Cache-Control": "no-store", **OURS}
    response = web.Response(body=GOOD.encode(), headers=headers)
    if request.body_exists and not request.content.is_eof():
        response.force_close()  # Nobody will read that body.
    return response


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so for calls to be answered."""

    is_good: bool
    says: str = GOOD
    """How it stands, in a word or two."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the gate should be sent calls."""

    checks: Mapping[str, Check]
    besides: Mapping[str, str] = field(default_factory=dict)
    """What is good to know and changes nothing, as whether the model server answers: no other gate has another one."""

    @property
    def is_ready(self) -> bool:
        return all(check.is_good for check in self.checks.values())

    def told(self) -> Mapping[str, object]:
        """As it is told in JSON."""
        return {
            "ready": self.is_ready,
            "failing": [name for name, check in self.checks.items() if not check.is_good],
            "checks": {name: check.says for name, check in self.checks.items()},
            **self.besides,
        }


Ready = Callable[[], Readiness]
"""Looks at what is known, and waits for nothing."""
