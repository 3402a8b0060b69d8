"""The scripts, each put together from its own file and those it stands on. Read once, when they are first wanted."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from proxy.limits.redis.link import Script

SHARED = ("bucket", "account")


@dataclass(frozen=True, slots=True)
class Scripts:
    """What can be asked of Redis."""

    reserve: Script
    settle: Script
    renew: Script
    look: Script
    reset: Script
    pulse: Script
    repair: Script


def source(name: str) -> str:
    return files("proxy.limits.redis").joinpath(f"{name}.lua").read_text()


@cache
def scripts(clock: str | None = None) -> Scripts:
    """``clock`` is Lua that defines ``now_of``; without it, Redis's own time is what counts."""
    before = "\n".join((clock or source("clock"), *map(source, SHARED)))
    names = ("reserve", "settle", "renew", "look", "reset", "pulse", "repair")
    return Scripts(*(Script(f"{before}\n{source(name)}") for name in names))
