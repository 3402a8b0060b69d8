"""The nouns: every value that crosses a border between two folders.

All are frozen and hold standard-library types only, so that any folder may import them and none needs another.
"""

import enum
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any
from zoneinfo import ZoneInfo

Clock = Callable[[], float]
"""Seconds on a monotonic clock."""

Now = Callable[[], datetime]
"""The wall clock, always with a time zone."""

Tell = Callable[[Mapping[str, str]], None]
"""Takes header fields that the answer shall have, whatever it will be."""


Later = Coroutine[Any, Any, None]
"""What is left to wait for where something could not be done at once. Whoever is given it awaits it, or closes it."""

Take = Callable[[bytes], Later | None]
"""Takes a piece of an answer; nothing else comes before what it gives back, if anything, is done."""


_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
"""What begins small is a file beside the zones: the machine's own, those with leap seconds."""


def zone_named(name: str) -> ZoneInfo:
    """The time zone that IANA gave this name. Raises ValueError where this machine knows none."""
    try:
        return ZoneInfo(name if _ZONE.fullmatch(name) else "")
    except (KeyError, ValueError, OSError):  # Unknown, no name at all, or that of a folder of zones.
        raise ValueError("is not a time zone that this machine knows") from None


def one_form(name: str) -> str:
    """The name of a user or a team in the one form in which it is kept and compared (NFC, UAX #15).

    What looks the same on every screen may be typed in several ways: é is one character, or an e and an accent.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Risk(enum.StrEnum):
    """What the box's owner risks by letting a caller use an endpoint; plans grant whole classes."""

    HEALTH = "health"
    READ = "read"
    INFERENCE = "inference"
    MANAGE = "manage"
    """Fills or empties the disk, and changes what everybody gets under a name."""
    ACCOUNT = "account"
    """The owner's account at ollama.com and the box's settings."""
    OUTBOUND = "outbound"
    """Makes the box fetch from elsewhere, in the owner's name."""


class Tongue(enum.StrEnum):
    """The shape in which an endpoint is asked, answers and refuses."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    RESPONSES = "responses"
    TRANSCRIPTION = "transcription"
    ANTHROPIC = "anthropic"


class ModelIn(enum.StrEnum):
    """Where an endpoint is told which model is meant."""

    NOWHERE = "nowhere"
    BODY = "body"
    """The member ``model``."""
    BODY_OR_NAME = "body or name"
    """The member ``model``, or ``name`` where that is empty: Ollama's older word."""
    COPY = "source and destination"
    PATH = "path"
    FORM = "form"
    """The multipart field ``model``. Ollama prefers ``?model=``, so the query never travels."""


class UsageIn(enum.StrEnum):
    """Where an endpoint tells what an answer cost."""

    NOWHERE = "nowhere"
    """It costs no tokens."""
    UNTOLD = "untold"
    """It costs tokens and never says how many: an estimate stands for them."""
    DONE = "done"
    """On the object with ``"done":true``, the last line of a stream."""
    USAGE = "usage"
    """The member ``usage``; in a stream the last that is not all zeros."""
    MESSAGE_DELTA = "message_delta"
    COMPLETED = "response.completed"


class Takes(enum.StrEnum):
    """What kind of body an endpoint takes."""

    NOTHING = "nothing"
    JSON = "json"
    FORM = "form"
    BYTES = "bytes"


SEGMENT = "{segment}"
"""The one place in a path that differs from call to call."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table of routes: a method and a path that Ollama serves and the gate knows, or the gate's own."""

    method: str
    path: str
    """Sent upstream as it stands here; only a ``{segment}`` is ever filled in, with what was checked."""
    tongue: Tongue
    risk: Risk
    takes: Takes = Takes.NOTHING
    model_in: ModelIn = ModelIn.NOWHERE
    usage_in: UsageIn = UsageIn.NOWHERE
    streams: bool | None = None
    """What an absent ``stream`` means; None where the endpoint never streams."""
    own: bool = False
    """The gate itself answers, at no cost to any limit; nothing of it is ever asked upstream."""
    query: tuple[str, ...] = ()
    """The parameters that one of the gate's own takes in its query. Everywhere else a query is not even looked at."""


class Rule(enum.StrEnum):
    """What becomes of a knob that a caller has set."""

    ALLOW = "allow"
    DROP = "drop"
    CLAMP = "clamp"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Setting:
    """A plan's rule for one knob."""

    rule: Rule
    most: float | None = None
    """For ``clamp`` the largest value that passes, in the knob's own unit (seconds, tokens, a count, bytes)."""


class Unit(enum.StrEnum):
    """In what the largest value of a knob is told."""

    COUNT = "count"
    SECONDS = "seconds"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Knob:
    """What a plan may say of one knob."""

    rules: frozenset[Rule] = frozenset(Rule) - {Rule.CLAMP}
    unit: Unit | None = None
    """None where there is no more and less of it, and so nothing to clamp."""
    least: int = 0
    """The smallest ``most`` that makes sense."""


_ANY = frozenset(Rule)
_WHOLE = _ANY - {Rule.DROP}  # Nobody's pictures are thrown away behind their back.
_BOUND = frozenset({Rule.ALLOW, Rule.CLAMP})

KNOBS: Mapping[str, Knob] = {
    "keep_alive": Knob(_ANY, Unit.SECONDS, 1),
    "num_ctx": Knob(_ANY, Unit.COUNT, 4),
    "num_gpu": Knob(_ANY, Unit.COUNT),
    "num_thread": Knob(_ANY, Unit.COUNT, 1),
    "num_batch": Knob(_ANY, Unit.COUNT, 1),
    "use_mmap": Knob(),
    "main_gpu": Knob(),
    "draft_num_predict": Knob(_ANY, Unit.COUNT),
    "shift": Knob(),
    "debug_render": Knob(),
    "web_search": Knob(),
    "output_tokens": Knob(_BOUND, Unit.COUNT, 1),
    "logprobs": Knob(_ANY, Unit.COUNT),
    "embed_inputs": Knob(_BOUND, Unit.COUNT, 1),
    "images": Knob(_WHOLE, Unit.COUNT),
    "image_bytes": Knob(_BOUND, Unit.BYTES, 1),
    "options": Knob(),
}
"""What callers can set that others feel; ``options`` are those members of Ollama's ``options`` without a row here."""


@dataclass(frozen=True, slots=True)
class Pulls:
    """From where and how much a plan that may manage models may pull."""

    registries: tuple[str, ...] = ("registry.ollama.ai",)
    namespaces: tuple[str, ...] = ("library",)
    """``*`` is any."""
    most_bytes: int = 20 * 2**30


class Level(enum.StrEnum):
    """Whose calls a limit counts together."""

    KEY = "key"
    USER = "user"
    TEAM = "team"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much; None where there is no limit."""

    requests_per_minute: int | None = None
    request_burst: int | None = None
    """Requests that may come at once; None: as many as in a minute."""
    tokens_per_minute: int | None = None
    token_burst: int | None = None
    """Tokens, of prompt and answer, that may be asked for at once; None: as many as in a minute."""
    concurrent: int | None = None
    """Calls under way."""
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    gpu_seconds_per_day: float | None = None

    def over(self, other: "Limits") -> "Limits":
        """What these say, and for the rest what the other ones do. A rate told anew brings its own burst."""
        told = {one.name: said for one in fields(self) if (said := getattr(self, one.name)) is not None}
        for rate, burst in (("requests_per_minute", "request_burst"), ("tokens_per_minute", "token_burst")):
            if rate in told:
                told.setdefault(burst, None)
        return replace(other, **told)

    @property
    def most_at_once(self) -> int | None:
        """The most tokens that one call can ever ask for; None where there is no limit."""
        burst = self.tokens_per_minute if self.token_burst is None else self.token_burst
        bounds = (burst, self.tokens_per_day, self.tokens_per_month)
        return min((bound for bound in bounds if bound is not None), default=None)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a plan allows at one level, for all models together or for those of one pattern."""

    level: Level
    limits: Limits
    models: str = ""
    """A canonical pattern, see ``policy.models``; empty: all models, and calls that name none."""
    shadow: bool = False
    """Who goes beyond is told of in the log, and let pass."""
    time_zone: str = "UTC"
    """In which days and months begin, as IANA names it."""

    @property
    def is_of_each_key(self) -> bool:
        """Whether it is what a key's own limits stand over."""
        return self.level is Level.KEY and not self.models


@dataclass(frozen=True, slots=True)
class Plan:
    """What a caller may do. A key names one and may narrow it."""

    name: str
    grants: frozenset[Risk] = frozenset({Risk.HEALTH, Risk.READ, Risk.INFERENCE})
    models: tuple[str, ...] = ("*",)
    """Patterns over canonical model names, see ``policy.models``."""
    cloud: bool = False
    """May ask for models that Ollama would run on ollama.com, out of the house."""
    owner: bool = False
    """Its keys are the box's owner's: only such a plan can grant ``account`` and ``outbound``."""
    pulls: Pulls = Pulls()
    knobs: Mapping[str, Setting] = field(default_factory=dict)
    """Where the plan differs from ``policy.knobs.DEFAULTS``, by the knob's name."""
    refuses_truncation: bool = False
    """A prompt that does not fit is refused instead of cut, where Ollama has a switch for that."""
    allowances: tuple[Allowance, ...] = ()
    """How much; those of everybody on the box are in every plan. That of each key may say nothing but how the limits
    that a key has of its own are taken."""
    log_prompts: float | None = None
    """For how many seconds what its callers ask is kept, word for word; None: not at all."""
    key_in_path: bool = False
    """Its keys may stand in the path of a URL, where more people see them than in a header."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, however they proved it."""

    user: str
    key_id: str
    """Of an API key, an Ollama identity or a certificate its id on record; of a token one that its issuer and subject
    always have."""
    plan: Plan
    team: str | None = None
    models: tuple[str, ...] | None = None
    """The key's own narrowing of ``plan.models``; None where it has none."""
    limits: Limits = Limits()
    """The key's own; what it says stands in place of what the plan says of each key."""
    user_limits: Limits = Limits()
    """The user's own; what they say stands in place of what the plan says of each user."""
    team_limits: Limits = Limits()
    """The team's own; what they say stands in place of what the plan says of each team."""

    allowances: tuple[Allowance, ...] = field(init=False, repr=False, compare=False)
    """The plan's, with the own limits of the key, the user and the team over those that the plan has for each.

    A team's only for who has one. Reckoned once, for a caller is remembered and makes many calls.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowances", tuple(self._allowances()))

    def _allowances(self) -> Iterator[Allowance]:
        said = self.plan.allowances
        key = next((one for one in said if one.is_of_each_key), Allowance(Level.KEY, Limits()))
        own = {Level.KEY: self.limits, Level.USER: self.user_limits, Level.TEAM: self.team_limits}
        missing = [
            replace(key, level=level, limits=Limits())
            for level in own
            if not any(one.level is level and not one.models for one in said)
        ]
        for one in sorted((*missing, *said), key=lambda one: _LEVELS.index(one.level)):
            is_own = one.level in own and not one.models
            merged = replace(one, limits=own[one.level].over(one.limits)) if is_own else one
            if merged.limits != Limits() and not (one.level is Level.TEAM and self.team is None):
                yield merged


_LEVELS = tuple(Level)


class Carrier(enum.StrEnum):
    """Where in a request a credential stood."""

    BEARER = "bearer"
    """``Authorization: Bearer``, RFC 6750 §2.1."""
    HEADER = "x-api-key"
    """As the Anthropic clients say it."""
    BASIC = "basic"
    """``Authorization: Basic``, RFC 7617: what clients make of ``https://user:key@host``."""
    SIGNED = "signed"
    """``Authorization`` without a scheme: a request that Ollama's own client has signed."""
    PATH = "path"
    """``/k/KEY`` before the route, for clients that take nothing but a URL."""
    CERTIFICATE = "certificate"
    """A certificate of its own that the client has shown while it connected; its text is the SHA-256 in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody showed as a proof of who they are."""

    carrier: Carrier
    text: str = field(repr=False)
    """Empty where it was malformed: an attempt all the same."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody else who says who people are, in signed tokens (RFC 7519), and whom the owner trusts with it.

    Its keys come from one of four places: discovery where nothing else is said, a JWKS, a PEM file, a shared secret.
    """

    name: str
    """The owner's word for it."""
    url: str
    """Exactly the claim ``iss``."""
    audiences: tuple[str, ...]
    """At least one of them has to be in the claim ``aud``."""
    algorithms: tuple[str, ...] = ("RS256",)
    jwks_url: str | None = None
    pem: str | None = None
    """A public key, or a certificate."""
    secret: bytes | None = field(default=None, repr=False)
    types: tuple[str, ...] = ("JWT", "at+jwt")
    """What the header ``typ`` may say, where it says anything; compared without ``application/`` and case."""
    user_claim: str = "sub"
    user_prefix: str = ""
    """Stands before what the claim says, so that the users of one issuer are not those of another."""
    team_claim: str | None = None
    groups_claim: str = "groups"
    groups: tuple[tuple[str, str], ...] = ()
    """By group, the name of a plan; of several the first counts."""
    teams: tuple[tuple[str, str], ...] = ()
    """By group, the name of a team; of several the first counts."""
    plan: str | None = None
    """That of whom no group has one; None: they are refused."""
    require: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By claim, what it may say; a token in which one of them says something else, or nothing, is refused."""
    max_lifetime: float = 86_400.0
    """Seconds between ``iat`` and ``exp`` at the most."""
    leeway: float = 10.0
    """Seconds by which its clock and ours may differ."""
    refresh: float = 600.0
    """Seconds between two looks at its keys."""
    max_stale: float = 86_400.0
    """Seconds for which the last good keys are believed while it cannot be reached."""
    insecure: bool = False
    """Its keys may come by plain HTTP from other machines too."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came through the door, before anything is known of it."""

    id: str
    at: datetime
    method: str
    path: str
    """The raw path without its query and without a key before the route: untrusted text, to be matched and never to be
    sent or logged."""
    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    """Everything that was presented, in order; more than one is a mistake."""
    peer: str = ""
    content_type: str = ""
    query: str = field(default="", repr=False)
    """The raw text behind the path's ``?``, as untrusted as the path. It never travels: see ``Endpoint.query``."""

    @property
    def parameters(self) -> str:
        """The query without what is part of a proof: whoever signs a request says there when."""
        if not any(one.carrier is Carrier.SIGNED for one in self.credentials):
            return self.query
        return "&".join(one for one in self.query.split("&") if not one.startswith("ts="))


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a multipart form."""

    name: str
    data: bytes = field(repr=False)
    filename: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is passed on as it comes."""

    pieces: AsyncIterator[bytes] = field(repr=False)
    """Raises BodyTooLarge, BodyTooSlow, NotUnderstood or ClientGone where it cannot go on."""
    length: int | None = None
    """Bytes, as the client announced them; None where it comes in chunks."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call asks for, told alike for every tongue, and the body that will be sent for it."""

    endpoint: Endpoint
    model: str = ""
    """As it was asked for, then, once it is permitted, the canonical name; empty where the endpoint names no model."""
    spelling: str = ""
    """The permitted model as it is said upstream."""
    stream: bool = False
    fields: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The body's members in order: name to JSON text, each value's bytes as the caller wrote them."""
    hides_usage: bool = False
    """The gate asked for the counts on the caller's behalf and takes them out of the answer again."""
    prompt_floor: int = 0
    """Tokens that the prompt has at the least, by its length: charged when no count ever comes."""
    prompt_bytes: int = 0
    """Bytes of the members that make the prompt, as they stand in the body."""
    prompt_most: int = 0
    """Tokens that the prompt is taken to have at the most; see ``policy.cost``."""
    most_tokens: int = 0
    """Tokens of prompt and answer that it is taken to cost at the most, until that is known; see ``policy.cost``."""
    segment: str = ""
    """What stands in the path's ``{segment}``, checked."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What one of the gate's own endpoints is told beside its path, each parameter once; never sent to anybody."""
    peer: str = ""
    """Who asks one of the gate's own endpoints, by address; empty elsewhere."""
    parts: tuple[Part, ...] = field(default=(), repr=False)
    """A form's parts in order, without the one that names the model."""
    most_bytes: int | None = None
    """What a transfer may move at the most; None where there is no bound."""
    changes: tuple[str, ...] = ()
    """What the gate made different from what was asked, each as ``knob=value`` or ``knob=dropped``."""

    @property
    def path(self) -> str:
        """What is asked upstream: the table's own constant, with what was checked in the one place it may have."""
        return self.endpoint.path.replace(SEGMENT, self.segment)

    @property
    def body(self) -> bytes | None:
        """What is sent upstream: written anew from what was checked, never the bytes that came in.

        None where the endpoint takes no body, or takes one as it comes.
        """
        match self.endpoint.takes:
            case Takes.JSON:
                return joined(self.fields)
            case Takes.FORM:
                return form_of((Part("model", self.spelling.encode()), *self.parts))
            case _:
                return None


BOUNDARY = "llamagate-4b1d2e0f6a"
"""Ends the parts of every form that the gate writes."""


def form_of(parts: Iterable[Part]) -> bytes:
    """The parts as ``multipart/form-data`` (RFC 7578)."""
    written = []
    for part in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part.name}"'
        if part.filename is not None:
            head += f'; filename="{part.filename}"'
        if part.content_type is not None:
            head += f"\r\nContent-Type: {part.content_type}"
        written += [head.encode(), b"\r\n\r\n", part.data, b"\r\n"]
    return b"".join(written) + f"--{BOUNDARY}--\r\n".encode()


def joined(members: Mapping[str, bytes]) -> bytes:
    """The JSON object that has exactly these members."""
    return b"{" + b",".join([_quoted(name).encode() + b":" + text for name, text in members.items()]) + b"}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A server that can answer."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is, and how it is asked."""

    hosts: tuple[tuple[str, int], ...] = ()
    """One; of sentinels and clusters all that were told. None where there is a socket in the file system."""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    authorities: str = ""
    """Path of a file of CA certificates, for TLS only; empty: those that this machine trusts."""
    number: int = 0
    """Of the database."""
    service: str = ""
    """What the sentinels call it; empty where there are none."""
    sentinel_user: str = ""
    """The sentinels' own, as is the password: they are never told those of the Redis."""
    sentinel_password: str = field(default="", repr=False)
    cluster: bool = False
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens and in seconds of the backend's own phases (None where it tells none)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    exact: bool = True
    """False marks an estimate, and one that the truth never falls below: the caller left or the answer broke off before
    the counts came, or the endpoint tells none."""
    suspicious: bool = False
    """What the backend told could not be, and stands here cut down to what could."""
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    completion_seconds: float | None = None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def phases_seconds(self) -> float | None:
        """The phases together; None where the backend tells none of them."""
        load, prompt, completion = self.load_seconds, self.prompt_seconds, self.completion_seconds
        if load is None and prompt is None and completion is None:
            return None
        return (load or 0.0) + (prompt or 0.0) + (completion or 0.0)


class Outcome(enum.StrEnum):
    """How a call ended."""

    SERVED = "served"
    REFUSED = "refused"
    CLIENT_LEFT = "client_left"
    CLIENT_STALLED = "client_stalled"
    BACKEND_FAILED = "backend_failed"
    TRUNCATED = "truncated"
    GATE_FAILED = "gate_failed"
    """Our own mistake, or the gate was stopped under the call."""
    LOST = "lost"
    """The gate died under the call; what it cost at the least was found at the next start."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    id: str
    at: datetime
    endpoint: str
    outcome: Outcome
    status: int | None
    """What the caller was told; None where they left before hearing it."""
    reason: str | None = None
    """The code of the refusal or failure, see ``errors``."""
    user: str | None = None
    team: str | None = None
    key_id: str | None = None
    plan: str | None = None
    model: str | None = None
    stream: bool = False
    usage: Usage = Usage()
    gpu_seconds: float = 0.0
    """The backend's own phases together; where it tells none, how long it was busy with the call."""
    first_byte_seconds: float | None = None
    total_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    peer: str = ""
    changes: tuple[str, ...] = ()
    """What the gate made different from what was asked, see ``Ask``."""
    prompt_cut: bool = False
    """The prompt reached the model's context length, so that Ollama may have dropped its beginning."""
    cost: float | None = None
    """In the owner's currency, at the prices of that time; None where the model has none."""
    elsewhere: float | None = None
    """What as many tokens would have cost at the reference price; None where there is none."""
    watt_hours: float | None = None
    """None where nobody has said what the GPU draws."""
