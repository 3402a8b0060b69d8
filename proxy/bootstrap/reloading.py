"""A new configuration in place of the old, in a gate that goes on: all of what can change, or nothing."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from proxy.admin.reloading import Reloaded
from proxy.bootstrap.authenticating import issuers
from proxy.config import keys
from proxy.config.load import Loaded, Mistakes
from proxy.config.settings import Settings
from proxy.errors import GateError
from proxy.vocabulary import Issuer, Plan

AT_ONCE = frozenset({"plans", "limits", "time_zone", "issuers"})
"""Settings that hold from the next call on; every other one is built into what has been opened."""


class Reloading:
    """Reads again what the gate was told."""

    def __init__(
        self,
        settings: Settings,
        plans: dict[str, Plan],
        trust: Callable[[Sequence[Issuer]], None],
        again: Callable[[], Loaded],
        renew: Callable[[], None] | None = None,
    ) -> None:
        """``plans`` is what the gate looks in at every call; ``trust`` takes whose tokens are believed from now on, or
        raises Misconfigured, and all stays as it was.

        ``renew`` takes what the files of certificates hold now; it raises Misconfigured where that is not good.
        """
        self._settings = settings
        self._plans = plans
        self._trust = trust
        self._again = again
        self._renew = renew
        self._log = logging.getLogger("proxy.config")

    def __call__(self) -> Reloaded:
        try:
            told = self._again().settings
            trusted = issuers(told)
            if self._renew is not None:
                self._renew()
            self._trust(trusted)  # The last that may refuse.
        except Mistakes as error:
            self._log.error("reload_refused", extra={"mistakes": [str(mistake) for mistake in error.mistakes]})
            return Reloaded(mistakes=error.mistakes)
        except GateError as error:
            self._log.error("reload_refused", extra={"error": error.message})
            raise
        changed = [(path, keys.dotted(path)) for path in _changed(self._settings, told)]
        self._plans.clear()
        self._plans.update(told.plan_table())
        self._settings = self._settings.model_copy(update={name: getattr(told, name) for name in AT_ONCE})
        done = Reloaded(
            applied=tuple(name for path, name in changed if path[0] in AT_ONCE),
            waiting=tuple(name for path, name in changed if path[0] not in AT_ONCE),
        )
        self._log.warning("reloaded", extra={"applied": list(done.applied), "waiting": list(done.waiting)})
        return done


def _changed(before: Settings, after: Settings) -> list[keys.Path]:
    told: list[dict[keys.Path, Any]] = [dict(keys.told(settings)) for settings in (before, after)]
    return [path for path in {**told[0], **told[1]} if told[0].get(path) != told[1].get(path)]
