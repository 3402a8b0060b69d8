"""What becomes of a changed configuration: the running gate is asked to read it again, and tells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy.admin.control import ask
from proxy.admin.refusals import NotDone
from proxy.config.layers import Mistake


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What the gate made of it."""

    applied: tuple[str, ...] = ()
    """Settings that changed, by their keys, and hold from now on."""
    waiting: tuple[str, ...] = ()
    """Settings that changed and need a restart."""
    mistakes: tuple[Mistake, ...] = ()
    """Where there are any, nothing was changed."""


async def reload(path: Path) -> Reloaded:
    """Ask the gate behind this socket. Raises NotDone, as where it does not run."""
    return _reloaded(await ask(path, "reload"))


def together(told: Sequence[Any]) -> Mapping[str, Any]:
    """What several processes of one gate made of it, as one would tell it. Raises NotDone."""
    each = [_reloaded(one) for one in told]
    return asdict(
        Reloaded(
            tuple(dict.fromkeys(name for one in each for name in one.applied)),
            tuple(dict.fromkeys(name for one in each for name in one.waiting)),
            tuple(dict.fromkeys(mistake for one in each for mistake in one.mistakes)),
        )
    )


def _reloaded(told: Any) -> Reloaded:
    try:
        return Reloaded(
            tuple(map(str, told["applied"])),
            tuple(map(str, told["waiting"])),
            tuple(Mistake(**mistake) for mistake in told["mistakes"]),
        )
    except (KeyError, TypeError) as error:
        raise NotDone("The gate and this command are of different versions.") from error


def told(reloaded: Reloaded) -> Mapping[str, Any]:
    """How the gate's own handler says it."""
    return asdict(reloaded)
