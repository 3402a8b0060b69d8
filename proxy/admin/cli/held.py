"""The commands that are the same for each kind of what is on record: list, show, update, suspend, resume, revoke."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from proxy.admin.amounts import in_words
from proxy.admin.cli.facts import HEADS_OF_KEYS, of_key, row_of_key, say_facts
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    GpuPerDay,
    HeldId,
    Json,
    NewExpires,
    NewModels,
    NewNote,
    NewPlan,
    NewTeam,
    Rpm,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    changes,
    new_terms,
)
from proxy.admin.cli.paper import say, say_json, say_table, told_plainly, when
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.auth import Key

OnOne = Callable[[Desk, str], Awaitable[Key]]


@dataclass(frozen=True, slots=True)
class Held:
    """One kind, and what the desk can do with it. Each method is a command, and its docstring the help of it."""

    noun: str
    none_yet: str
    """What is said where there are none."""
    all: Callable[[Desk], Awaitable[list[Key]]]
    one: OnOne
    changed: Callable[[Desk, str, Mapping[str, Any]], Awaitable[Key]]
    suspended: OnOne
    resumed: OnOne
    revoked: OnOne
    meant: Callable[[str], str] = str
    """From what was typed to what the desk finds it by. Raises NotDone."""

    def listed(self, ctx: typer.Context, as_json: Json = False, config: Config = None) -> None:
        """List them, oldest first."""
        tools: Tools = ctx.obj
        with told_plainly():
            keys = at_desk(tools, tools.load(config, {}).settings, self.all)
        now = tools.now()
        if as_json:
            say_json([of_key(key, now) for key in keys])
        elif keys:
            say_table(HEADS_OF_KEYS, [row_of_key(key, now) for key in keys])
        else:
            say(self.none_yet)

    def show(self, ctx: typer.Context, held_id: HeldId, as_json: Json = False, config: Config = None) -> None:
        """Show what is known of one."""
        tools: Tools = ctx.obj
        key = self._done(tools, self.one, held_id, config)
        facts = of_key(key, tools.now())
        if as_json:
            say_json(facts)
        else:
            say_facts({**facts, "limits": in_words(key.limits) or None})

    def update(
        self,
        ctx: typer.Context,
        held_id: HeldId,
        team: NewTeam = None,
        plan: NewPlan = None,
        models: NewModels = None,
        expires: NewExpires = None,
        note: NewNote = None,
        rpm: Rpm = None,
        burst: Burst = None,
        tpm: Tpm = None,
        concurrent: Concurrent = None,
        tokens_per_day: TokensPerDay = None,
        tokens_per_month: TokensPerMonth = None,
        gpu_seconds_per_day: GpuPerDay = None,
        as_json: Json = False,
        config: Config = None,
    ) -> None:
        """Change what is said of one; the word none takes a team, models, a note or a limit of its own away."""
        tools: Tools = ctx.obj
        told = {
            **new_terms(team, plan, models, expires, note),
            **changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day),
        }
        key = self._done(tools, lambda desk, shown: self.changed(desk, shown, told), held_id, config)
        limits = in_words(key.limits) or "no limits of its own"
        self._tell(tools, key, f"{self._called(key)}, plan {key.plan}: {limits}.", as_json)

    def suspend(self, ctx: typer.Context, held_id: HeldId, as_json: Json = False, config: Config = None) -> None:
        """Refuse one until it is resumed."""
        tools: Tools = ctx.obj
        key = self._done(tools, self.suspended, held_id, config)
        self._tell(tools, key, f"{self._called(key)} is suspended since {when(key.suspended_at)} UTC.", as_json)

    def resume(self, ctx: typer.Context, held_id: HeldId, as_json: Json = False, config: Config = None) -> None:
        """Let a suspended one in again."""
        tools: Tools = ctx.obj
        key = self._done(tools, self.resumed, held_id, config)
        self._tell(tools, key, f"{self._called(key)} is {key.state(tools.now())}.", as_json)

    def revoke(self, ctx: typer.Context, held_id: HeldId, as_json: Json = False, config: Config = None) -> None:
        """Refuse one from now on, for good: the same cannot be added again."""
        tools: Tools = ctx.obj
        key = self._done(tools, self.revoked, held_id, config)
        self._tell(tools, key, f"{self._called(key)} is revoked since {when(key.revoked_at)} UTC.", as_json)

    def _done(self, tools: Tools, act: OnOne, shown: str, config: Config) -> Key:
        with told_plainly():
            meant = self.meant(shown)
            return at_desk(tools, tools.load(config, {}).settings, lambda desk: act(desk, meant))

    def _called(self, key: Key) -> str:
        return f"{self.noun.capitalize()} {key.id} of {key.user}"

    def _tell(self, tools: Tools, key: Key, text: str, as_json: bool) -> None:
        if as_json:
            say_json(of_key(key, tools.now()))
        else:
            say(text)
