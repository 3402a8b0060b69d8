"""What is measured, standing side by side in front of one upstream: each server is started when it is first wanted."""

import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import gates, servers
from bench.figures import Notes
from bench.gates import BY_NAME, Feature, Gate
from bench.load import UNARY, ask_all, connected
from bench.peers import AIOHTTP, CADDY, LITELLM, NGINX, PORTKEY, NotInstalled, caddy, litellm, nginx, portkey
from bench.redis import RedisServer
from bench.servers import DidNotStart, Plan, Running
from bench.sizes import Size

UPSTREAM = "upstream"
PEERS = {
    NGINX: nginx.plan,
    CADDY: caddy.plan,
    AIOHTTP: lambda folder, before: servers.bare(AIOHTTP, before),
    LITELLM: litellm.plan,
    PORTKEY: portkey.plan,
}
LARGE = (LITELLM, PORTKEY)
WARMING = 50
_BEGAN = time.perf_counter()


def tell(progress: str) -> None:
    """To whoever waits."""
    print(f"bench: {time.perf_counter() - _BEGAN:4.0f} s, {progress}", file=sys.stderr, flush=True)


class Stand:
    """The servers of one run. Leaving the stack ends them."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        size: Size,
        notes: Notes,
        redis: RedisServer | None,
        on_record: tuple[Path, str],
        no_redis: str = "",
    ) -> None:
        """``on_record`` is a folder of a gate that has a key, and this key."""
        self._stack = stack
        self._like, self._key = on_record
        self._numbers = 0
        self.folder = folder
        self.size = size
        self.notes = notes
        self.redis = redis
        self._no_redis = no_redis
        self._running: dict[str, Running] = {}
        self._gates: dict[str, Gate] = {}
        self.upstream = stack.enter_context(servers.running(servers.upstream()))
        self._running[UPSTREAM] = self.upstream

    async def all(self, names: Iterable[str]) -> list[Running]:
        """Those that there are; of any other the notes say why not."""
        return [running for name in names if (running := await self.one(name)) is not None]

    async def one(self, name: str) -> Running | None:
        """Started and warmed up, or None."""
        if name in self._running or name in self.notes.missing:
            return self._running.get(name)
        tell(f"starting {name}")
        try:
            plan = self.plan(name)
            running = self._stack.enter_context(servers.running(plan))
        except (NotInstalled, DidNotStart) as error:
            if isinstance(error, DidNotStart) and name not in PEERS:
                raise
            self.notes.missing[name] = str(error)
            tell(f"{name} is left out: {error}")
            return None
        self._running[name] = running
        self.notes.calls[name] += 1 + await self.warm(running)
        return running

    async def warm(self, running: Running) -> int:
        """After so many calls, whatever is done only once is done."""
        plan = running.plan
        async with connected(plan.port, 8) as connections:
            request = UNARY.request(plan.port, plan.key, plan.fields)
            heard = await ask_all(connections, UNARY, [request], WARMING, 2.0, exact=plan.exact)
        return heard.calls

    def plan(self, name: str) -> Plan:
        """Raises NotInstalled."""
        if name in PEERS:
            if self.size.few and name in LARGE:
                raise NotInstalled("not in a quick run")
            return PEERS[name](self.new_folder(), self.upstream.plan)
        gate = self.gate(BY_NAME[name])
        self._gates[name] = gate
        return gate.plan

    def gate(self, feature: Feature, before: Plan | None = None, like: Path | None = None, **more: Any) -> Gate:
        """A new one of these, not started yet; ``like`` is a folder with other keys. Raises NotInstalled."""
        if feature.in_redis and self.redis is None:
            raise NotInstalled(self._no_redis)
        url = self.redis.url if self.redis else None
        before = before or self.upstream.plan
        return gates.made(feature, self.new_folder(), like or self._like, self._key, before, url, **more)

    def new_folder(self) -> Path:
        """One that is not there yet."""
        self._numbers += 1
        return self.folder / f"server-{self._numbers}"

    def check(self) -> None:
        """What does not meter is not the gate: raises RuntimeError where a ledger is not what was asked."""
        for name, gate in self._gates.items():
            asked = self.notes.calls[name]
            kept, floors = gate.counted(asked)
            if (kept, floors) != (asked, 0):
                raise RuntimeError(
                    f"{name}: the ledger has {kept} of {asked} calls, {floors} of them without exact counts"
                )

    @property
    def told(self) -> Mapping[str, str]:
        """What whoever reads figures should know of each server."""
        return {name: running.plan.note for name, running in self._running.items() if running.plan.note}
