"""The gate as it is measured: its folder, its settings and its callers, by which of its features are switched on.

Keys and the ledger cannot be switched off, and so even the least gate knows its caller and keeps a line of each call.
"""

import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import limits, proofs
from bench.servers import Plan, clean_environment, free_port

KEPT_SECONDS = 20.0
"""A gate may be so late with the lines of its ledger."""
MANY = 1_000_000
START_SECONDS = 60.0
"""With a million keys on record, on a busy machine."""

Told = Mapping[str, Any]
"""Settings as in the file: values, and tables by their names."""

AT_LEAST: Told = {
    "log_level": "error",
    "log_format": "json",
    "drain_timeout": 0,  # Streams that are open at the end would never end.
    # Each load is of one address, and keeps its connections.
    "door": {"connections_per_address": MANY, "requests_per_connection": MANY},
}
LOG: Told = {"log_level": "info"}
USAGE_LOG: Told = {"ledger": {"usage_log": True}}
LIMITS: Told = limits.told()
PRICES: Told = {
    "prices": {"*": {"prompt": 0.1, "completion": 0.4}},
    "elsewhere": {"prompt": 2.5, "completion": 10.0},
}


@dataclass(frozen=True, slots=True)
class Feature:
    """What is switched on, and what that means."""

    name: str
    told: Told
    in_redis: bool = False
    by_token: bool = False
    """Whether callers show a token of an issuer in place of a key."""


BARE, ALL, ALL_IN_REDIS = "gate, bare", "gate", "gate, Redis"
IN_PROCESS, IN_REDIS = "+ limits in process", "+ limits in Redis"
_ALL: Told = {**LIMITS, **LOG, **PRICES, "ledger": {"usage_log": True, "watts": 350}}

FEATURES = (
    Feature(BARE, {}),
    Feature("+ token for key", {}, by_token=True),
    Feature(IN_PROCESS, LIMITS),
    Feature(IN_REDIS, LIMITS, in_redis=True),
    Feature("+ usage log", USAGE_LOG),
    Feature("+ prices", PRICES),
    Feature("+ log at info", LOG),
    Feature(ALL, _ALL),
    Feature(ALL_IN_REDIS, _ALL, in_redis=True),
)
BY_NAME = {feature.name: feature for feature in FEATURES}


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate's own folder, with its settings and a key."""

    folder: Path
    plan: Plan

    def counted(self, calls: int) -> tuple[int, int]:
        """Calls in the ledger, and how many of them without exact counts, once it has as many or is late."""
        until = time.monotonic() + KEPT_SECONDS
        while (kept := self._kept())[0] < calls and time.monotonic() < until:
            time.sleep(0.1)
        return kept

    def _kept(self) -> tuple[int, int]:
        connection = sqlite3.connect(self.folder / "llamagate.db", timeout=KEPT_SECONDS)
        try:
            calls, inexact = connection.execute("SELECT count(*), coalesce(sum(NOT exact), 0) FROM calls").fetchone()
            return calls, inexact
        finally:
            connection.close()


def made(
    feature: Feature, folder: Path, like: Path, key: str, before: Plan, redis: str | None = None, **more: Any
) -> Gate:
    """One with this feature in a folder that is not there yet, with what is on record in another."""
    shutil.copytree(like, folder)
    port = free_port()
    told: dict[str, Any] = {
        **AT_LEAST,
        "listen": f"127.0.0.1:{port}",
        "upstream": f"http://127.0.0.1:{before.port}",
        "state_dir": str(folder),
        **feature.told,
        **({"redis_url": redis} if redis and feature.in_redis else {}),
        **more,
    }
    if feature.by_token:
        issuer = proofs.by_rsa()
        told["issuers"] = {issuer.name: issuer.told(folder)}
        key = issuer.token()
    config = folder / "llamagate.toml"
    config.write_text("\n".join(written(told)) + "\n")
    command = (sys.executable, "-m", "proxy", "serve", "--config", str(config))
    plan = Plan(feature.name, port, command, clean_environment(), key, start_seconds=START_SECONDS)
    return Gate(folder, replace(plan, tells=b"\r\nratelimit:") if "limits" in feature.told else plan)


def written(told: Told, above: Sequence[str] = ()) -> Iterator[str]:
    """As TOML: first the values, then the tables."""
    tables = {name: value for name, value in told.items() if isinstance(value, Mapping)}
    yield from (f"{name} = {json.dumps(value)}" for name, value in told.items() if name not in tables)
    for name, table in tables.items():
        path = (*above, name if name.replace("_", "").isalnum() else json.dumps(name))
        yield f"[{'.'.join(path)}]"
        yield from written(table, path)
