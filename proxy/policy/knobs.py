"""What becomes of the knobs by which one caller can hurt the rest: left, taken out, turned down or refused.

A reload, an eviction, an endless answer or a pinned model is felt by everybody on the box. Nothing here does I/O.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from proxy.errors import KnobRefused
from proxy.policy import images, members
from proxy.vocabulary import Ask, Endpoint, Plan, Rule, Setting, Takes, Tongue, joined


def _most(amount: float) -> Setting:
    return Setting(Rule.CLAMP, amount)


_DROP = Setting(Rule.DROP)

DEFAULTS: Mapping[str, Setting] = MappingProxyType(
    {
        "keep_alive": _DROP,
        "num_ctx": _DROP,
        "num_gpu": _DROP,
        "num_thread": _DROP,
        "num_batch": _DROP,
        "use_mmap": _DROP,
        "main_gpu": _DROP,
        "draft_num_predict": _DROP,
        "shift": _DROP,
        "debug_render": _DROP,
        "web_search": _DROP,  # Claude Code and Codex bring such tools unasked.
        "output_tokens": _most(16384),
        "logprobs": _most(5),
        "embed_inputs": _most(2048),
        "images": _most(16),
        "image_bytes": _most(20 * 2**20),
        "options": _DROP,
    }
)

SAFE_OPTIONS = frozenset(
    "seed num_predict num_keep top_k top_p min_p typical_p repeat_last_n temperature repeat_penalty presence_penalty"
    " frequency_penalty stop".split()
)
LAUNCH_OPTIONS = "num_ctx num_gpu num_thread num_batch use_mmap main_gpu draft_num_predict".split()
"""A value other than the running model's makes Ollama load it again. Each is a knob of the same name."""

NATIVE = ("/api/generate", "/api/chat")
NATIVE_EMBED = ("/api/embed", "/api/embeddings")
MOST_CHANGES = 16

OTHER_OPTIONS = frozenset(
    "numa low_vram f16_kv logits_all vocab_only use_mlock embedding_only num_gqa rope_frequency_base"
    " rope_frequency_scale mirostat mirostat_tau mirostat_eta penalize_newline tfs_z".split()
)
"""What Ollama has or had besides: names that may be told, for those are not the caller's own words."""
_QUIET = {"_debug_render_only": b"false", "logprobs": b"false", "top_logprobs": b"0"}  # Said, but nothing is wanted.
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_LONGEST_DURATION = 100

ENDLESS = 16384
"""Tokens that an answer is taken to have where nothing limits it. What goes beyond is settled, not set aside."""

Clamp = Callable[[bytes, str, float], bytes | None]
"""A value, what it is called and the most: the value that may be sent, or None where it is better not said at all."""


def turned(
    ask: Ask, fields: Mapping[str, bytes], plan: Plan, attached: Sequence[int], room: int | None = None
) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    """The members as the plan lets them be sent, and all ``changes``, with what became different. Raises KnobRefused.

    ``attached`` is the size of each picture and sound in it, see ``images``. Whoever says no limit for the answer gets
    one that fits into ``room``, see ``cost``.
    """
    turn = _TURNS.get(ask.endpoint.path)
    if turn is None or ask.endpoint.takes is not Takes.JSON:
        return fields, ask.changes
    body = _Body(ask.endpoint, fields, plan, attached, room)
    turn(body)
    if not body.changes:
        return fields, ask.changes
    return body.fields, tuple(dict.fromkeys((*ask.changes, *body.changes)))[:MOST_CHANGES]


class _Body:
    """A request body while its knobs are being turned."""

    def __init__(
        self, endpoint: Endpoint, fields: Mapping[str, bytes], plan: Plan, attached: Sequence[int], room: int | None
    ) -> None:
        self.tongue = endpoint.tongue
        self.path = endpoint.path
        self.fields = dict(fields)
        self.changes: list[str] = []
        self.attached = attached
        self._room = room
        self.refuses_truncation = plan.refuses_truncation
        self._knobs = plan.knobs

    def setting(self, knob: str) -> Setting:
        return self._knobs.get(knob, DEFAULTS[knob])

    def tell(self, name: str, became: bytes | str = "dropped") -> None:
        self.changes.append(f"{name}={became.decode() if isinstance(became, bytes) else became}")

    def put(self, name: str, text: bytes) -> None:
        """Make a member say this, unless it does already."""
        if self.fields.get(name, b"").strip() != text:
            self.fields[name] = text
            self.tell(name, text)

    def turn(
        self, within: dict[str, bytes], name: str, knob: str, clamp: Clamp | None = None, prefix: str = ""
    ) -> None:
        """Apply a knob's rule to the member that is it, if there is one."""
        if name not in within:
            return
        text, setting, called = within[name].strip(), self.setting(knob), _called(prefix, name)
        became: bytes | None = text
        match setting.rule:
            case Rule.REFUSE if text not in (b"null", _QUIET.get(name)):
                raise _refused(called)
            case Rule.DROP:
                became = None
            case Rule.CLAMP if text != b"null":
                became = clamp(text, called, setting.most or 0) if clamp else None
        if became is None:
            del within[name]
            self.tell(called)
        elif became != text:
            within[name] = became
            self.tell(called, became)

    def limit_output(self, within: dict[str, bytes], name: str, *others: str, prefix: str = "") -> None:
        """How long the answer may get; unsaid, zero and below are no limit for Ollama, short of ten times the context.

        ``others`` mean the same to clients and nothing to Ollama: the smallest is said under the name that it knows.
        Where none is said, the answer must fit into the room that there is, else no call without a limit of its own
        ever would; what is said is not made smaller for it, so that its caller is told that it never fits.
        """
        setting = self.setting("output_tokens")
        others = tuple(other for other in others if not members.is_nothing(within.get(other, b"null")))
        if setting.rule is Rule.ALLOW and not others and self._room is None:
            return
        said = [_count(within[one], f"{prefix}{one}") for one in (name, *others) if _says(within, one)]
        if said and setting.rule in (Rule.DROP, Rule.REFUSE):
            raise _refused(f"{prefix}{name}")
        limits = [amount for amount in said if amount > 0]
        says_none = not limits
        if setting.rule is Rule.CLAMP:
            limits.append(max(1, int(setting.most or 0)))
        if says_none and self._room is not None and self._room < min(limits, default=ENDLESS):
            limits.append(self._room)
        for other in others:
            del within[other]
        if limits and (not _says(within, name) or _count(within[name], name) != min(limits)):
            within[name] = str(min(limits)).encode()
            self.tell(f"{prefix}{name}", within[name])
        else:
            for other in others:
                self.tell(f"{prefix}{other}")

    def bound(self, knob: str, amount: int, member: str | None, what: str) -> None:
        """A knob that is there as often as the caller has put it there: nothing is thrown away, too much is refused."""
        setting = self.setting(knob)
        most = int(setting.most or 0) if setting.rule is Rule.CLAMP else 0
        if setting.rule is not Rule.ALLOW and amount > most:
            raise KnobRefused(f"A request may hold at most {most} {what}; this one holds {amount}.", param=member)


def _native(body: _Body) -> None:
    _options(body, answers=True)
    body.turn(body.fields, "keep_alive", "keep_alive", _keep_alive)
    body.turn(body.fields, "shift", "shift")
    if body.refuses_truncation:
        body.put("truncate", b"false")  # Not `shift` too: that one makes Ollama load the model again.
    _shared(body)


def _native_embed(body: _Body) -> None:
    _options(body, answers=False)
    body.turn(body.fields, "keep_alive", "keep_alive", _keep_alive)
    body.turn(body.fields, "shift", "shift")
    body.turn(body.fields, "_debug_render_only", "debug_render")
    _embed(body)
    if body.refuses_truncation and body.path == "/api/embed":
        body.put("truncate", b"false")


def _openai(body: _Body) -> None:
    body.limit_output(body.fields, "max_tokens", "max_completion_tokens")
    _shared(body)


def _responses(body: _Body) -> None:
    body.limit_output(body.fields, "max_output_tokens")
    _shared(body)


def _anthropic(body: _Body) -> None:
    body.limit_output(body.fields, "max_tokens")
    _shared(body)


def _embed(body: _Body) -> None:
    inputs = members.value(body.fields.get("input", b"null"))
    body.bound("embed_inputs", len(inputs) if isinstance(inputs, list) else 0, "input", "inputs")


def _shared(body: _Body) -> None:
    """What all that generate have."""
    body.turn(body.fields, "_debug_render_only", "debug_render")
    # There it is a number; elsewhere it is a yes, and the next one the number.
    counted = body.path == "/v1/completions"
    body.turn(body.fields, "logprobs", "logprobs", _at_most if counted else _as_it_is)
    body.turn(body.fields, "top_logprobs", "logprobs", _at_most)
    if body.tongue is not Tongue.OLLAMA:
        _web_search(body)
    place = next((place for place in images.PLACES[body.tongue] if place in body.fields), None)
    body.bound("images", len(body.attached), place, "images")
    body.bound("image_bytes", sum(body.attached), place, "bytes of images")


def _options(body: _Body, *, answers: bool) -> None:
    text = body.fields.get("options", b"null")
    inner = {} if members.is_nothing(text) else members.object_of(text)
    if inner is None:
        raise KnobRefused("'options' must be an object.", param="options")
    before = len(body.changes)
    if answers:
        body.limit_output(inner, "num_predict", prefix="options.")
    for name in LAUNCH_OPTIONS:
        # These two say which and whether, not how much.
        body.turn(inner, name, name, None if name in ("use_mmap", "main_gpu") else _resource, "options.")
    for name in [name for name in inner if name not in SAFE_OPTIONS and name not in LAUNCH_OPTIONS]:
        body.turn(inner, name, "options", None, "options.")
    if len(body.changes) != before:
        body.fields["options"] = joined(inner)


def _web_search(body: _Body) -> None:
    """Ollama would search for the caller in its owner's name, and answer several times over for the price of once."""
    if "tools" not in body.fields:
        return
    rule = body.setting("web_search").rule
    tools = members.list_of(body.fields.get("tools", b"null")) or []
    kept = [tool for tool in tools if not _searches(tool)]
    if rule is Rule.ALLOW or len(kept) == len(tools):
        return
    if rule is Rule.REFUSE:
        raise KnobRefused("This key's plan does not allow web search: leave that tool out.", param="tools")
    if kept:
        body.fields["tools"] = members.list_from(kept)
    else:
        del body.fields["tools"]
    body.tell("web_search")


def _searches(tool: bytes) -> bool:
    read = members.value(tool)
    kinds = [kind for name, kind in read.items() if name.casefold() == "type"] if isinstance(read, dict) else []
    return any(isinstance(kind, str) and kind.startswith("web_search") for kind in kinds)


_TURNS: Mapping[str, Callable[[_Body], None]] = {
    **dict.fromkeys(NATIVE, _native),
    **dict.fromkeys(NATIVE_EMBED, _native_embed),
    "/v1/chat/completions": _openai,
    "/v1/completions": _openai,
    "/v1/embeddings": _embed,
    "/v1/responses": _responses,
    "/v1/messages": _anthropic,
}


def _as_it_is(text: bytes, called: str, most: float) -> bytes:
    return text


def _at_most(text: bytes, called: str, most: float) -> bytes | None:
    return text if _count(text, called) <= most else str(int(most)).encode()


def _resource(text: bytes, called: str, most: float) -> bytes | None:
    """Below zero is "as you like", which is what Ollama does where nothing is said."""
    return None if _count(text, called) < 0 else _at_most(text, called, most)


def _keep_alive(text: bytes, called: str, most: float) -> bytes | None:
    seconds = _seconds(text, called)
    if 0 <= seconds < 1:
        return None  # That unloads the model under everybody: no shorter stay, but none.
    return text if 0 < seconds <= most else str(int(most)).encode()


def _seconds(text: bytes, called: str) -> float:
    """As Go reads a duration, told as a number of seconds or a text such as 1h30m. Below zero is for ever."""
    said = members.value(text) if len(text) <= _LONGEST_DURATION else None
    if isinstance(said, int | float) and not isinstance(said, bool):
        return float(text)
    if said in ("0", "+0", "-0"):
        return 0.0
    if isinstance(said, str) and _DURATION.fullmatch(said):
        total = sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION_PART.findall(said))
        return -total if said.startswith("-") else total
    raise KnobRefused(f"'{called}' must be seconds or a duration such as \"5m\".", param=called)


def _count(text: bytes, called: str) -> int:
    amount = members.whole(text)
    if amount is None:
        raise KnobRefused(f"'{called}' must be an integer, written without a point or quotes.", param=called)
    return amount


def _says(within: Mapping[str, bytes], name: str) -> bool:
    return name in within and not members.is_nothing(within[name])


def _called(prefix: str, name: str) -> str:
    """The name as it may stand in a header, a message and the ledger: never in words that a caller has made up."""
    is_known = not prefix or name in SAFE_OPTIONS or name in LAUNCH_OPTIONS or name in OTHER_OPTIONS
    return f"{prefix}{name}" if is_known else f"{prefix}?"


def _refused(called: str) -> KnobRefused:
    return KnobRefused(f"This key's plan does not allow '{called}': leave it out.", param=called)
