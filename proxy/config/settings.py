"""What may be told, what each value must look like, and what holds when nothing is told. Reads nothing by itself.

But for the time zones of the machine, which only it can tell.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from proxy.config.addresses import Network, host_and_port, is_loopback, is_unspecified, network
from proxy.config.auth import AuthSettings
from proxy.config.door import DoorSettings
from proxy.config.issuers import IssuerName, IssuerSettings
from proxy.config.kinds import Octets, Seconds, TimeZone, expanded, is_guessable, is_placeholder, listed, lower, whole
from proxy.config.ledger import LedgerSettings
from proxy.config.limits import EverybodySettings
from proxy.config.plans import PlanSettings
from proxy.config.prices import ElsewhereSettings, PriceSettings
from proxy.config.redis_url import OpenToAll, is_open_to_all, redis_address
from proxy.config.tls import TlsSettings
from proxy.config.traces import TracesSettings
from proxy.vocabulary import Plan, RedisAddress

DEFAULT_PLAN = "default"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9_.:\[\]*-]+|null|\*")
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class AsksItself(ValueError):
    """The gate was told to stand in front of itself."""


class NobodyTrusted(ValueError):
    """Something was told that only a trusted proxy can do."""


class NeedsRedis(ValueError):
    """Several processes were told to count, and nothing in which they could count together."""


class NoSuchPlan(ValueError):
    """A plan was named that nobody has described."""


def _listen(text: str) -> str:
    host_and_port(text)
    return text


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("should hold origins as browsers say them, scheme://host or scheme://host:port, or *")
    return origins


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        network(text)
    return texts


def _upstream(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError("has blanks or control characters in it")
    if text.startswith("unix:"):
        path = text.removeprefix("unix://").removeprefix("unix:")
        if not path.startswith("/") or any(sign in path for sign in "?#%"):
            raise ValueError("should name a socket by its whole path, as unix:/run/ollama.sock does")
        return f"unix:{path}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("should begin with http:// or https:// and name a host, or be unix: and a path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("should have no user or password in it: Ollama asks for none")
    if parts.path not in ("", "/") or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("should end after the host and port: the gate adds the path")
    if port == 0:
        raise ValueError("needs a port from 1 to 65535")
    return f"{parts.scheme}://{parts.netloc}"


def _database_url(secret: SecretStr) -> SecretStr:
    """Never says what was written: the text may hold a password."""
    text = secret.get_secret_value()
    scheme, divider, rest = text.partition("://")
    if not divider or scheme not in _DRIVERS or not text.isprintable():
        raise ValueError("should begin with sqlite:/// or postgresql://")
    if _DRIVERS[scheme].startswith("sqlite"):
        file = rest.removeprefix("/").partition("?")[0]
        if not rest.startswith("/") or not file or ":memory:" in rest:
            # The command line and the gate are two processes: they have to meet in a file.
            raise ValueError("should name a file after sqlite:///")
    elif not rest.strip("/"):
        raise ValueError("should name a host and a database after postgresql://")
    elif any(map(is_guessable, _passwords(rest))):
        raise ValueError("has a placeholder for a password, which anyone could guess")
    return secret


def _passwords(rest: str) -> Iterator[str]:
    """Those in what stands after a database's ``scheme://``: before the host, and in the query."""
    place, _, query = rest.partition("?")
    before, at, _ = place.partition("/")[0].rpartition("@")
    if at:
        yield unquote(before.partition(":")[2])
    yield from (value for name, value in parse_qsl(query) if name == "password")


def _pepper(secret: SecretStr) -> SecretStr:
    """Never says what was written."""
    text = secret.get_secret_value()
    if len(text) < 32:
        raise ValueError(f"has {len(text)} characters and needs at least 32")
    if is_placeholder(text) or len(set(text)) < 8:
        raise ValueError("is a placeholder, which anyone could guess")
    return secret


def _state_dir(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("is not a path")
    path = expanded(path)
    if "?" in str(path):  # In a URL the name of the database's file would end there.
        raise ValueError("should have no ? in it")
    return path


PlanName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:[_-][a-z0-9]+)*$", max_length=64)]


class Settings(BaseModel):
    """Everything that can be told. Made from nothing, it is the defaults: the environment is read by ``load`` only."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:11435", description="Where the gate listens.", examples=["127.0.0.1:11435", "[::1]:11435"]
    )
    admin_listen: Annotated[str, AfterValidator(_listen)] | None = Field(
        default=None,
        description="Where readiness and metrics are told to whoever asks; without it, nowhere.",
        examples=["127.0.0.1:11436"],
    )
    upstream: Annotated[str, AfterValidator(_upstream)] = Field(
        default="http://127.0.0.1:11434",
        description="The Ollama behind the gate.",
        examples=["http://127.0.0.1:11434", "https://gpu.lan", "unix:/run/ollama.sock"],
    )
    state_dir: Annotated[Path, AfterValidator(_state_dir)] = Field(
        default_factory=lambda: Path(platformdirs.user_state_dir("llamagate", appauthor=False)),
        description="Where keys, the ledger and the pepper are kept.",
        examples=["/var/lib/llamagate"],
    )
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = Field(
        default=None,
        description="Where the database is; without it, the file llamagate.db in the state directory.",
        examples=["sqlite:////var/lib/llamagate/llamagate.db", "postgresql://user:password@host/llamagate"],
    )
    pepper: Annotated[SecretStr, AfterValidator(_pepper)] | None = Field(
        default=None,
        description="Mixed into the digests of keys; without it, one is made and kept in the state directory.",
        examples=["the output of: openssl rand -hex 32"],
    )
    log_format: Annotated[Literal["auto", "json", "pretty"], BeforeValidator(lower)] = Field(
        default="auto",
        description="How log lines look; auto is pretty on a terminal and JSON elsewhere.",
        examples=["json"],
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        default="info", description="The least that is logged.", examples=["info"]
    )
    max_body: Octets = Field(
        default=32 * 2**20, ge=1024, le=2**40, description="The largest request body.", examples=["32MiB"]
    )
    connect_timeout: Seconds = Field(
        default=5.0, gt=0, description="How long Ollama may take to be reached.", examples=["5s"]
    )
    first_byte_timeout: Seconds = Field(
        default=600.0,
        gt=0,
        description="How long Ollama may take to begin its answer; a cold start is slow.",
        examples=["10m"],
    )
    idle_timeout: Seconds = Field(
        default=300.0, gt=0, description="How long Ollama may pause within an answer.", examples=["5m"]
    )
    stall_timeout: Seconds = Field(
        default=30.0, gt=0, description="How long a caller may read nothing.", examples=["30s"]
    )
    body_timeout: Seconds = Field(default=60.0, gt=0, description="How long a request body may take.", examples=["60s"])
    drain_timeout: Seconds = Field(
        default=30.0, ge=0, description="How long calls may go on after the gate was told to stop.", examples=["30s"]
    )
    drain_delay: Seconds = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="How long the gate goes on as before, and says that it is not ready, once it was told to stop.",
        examples=["5s"],
    )
    failed_attempts_per_minute: Annotated[int, whole(1_000_000)] = Field(
        default=60,
        description="How many calls without a valid key one address may make in a minute before it is told to wait.",
        examples=[60],
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_origins)] = Field(
        default=(),
        description="The web pages that may ask from a browser, by scheme, host and port; * is any page.",
        examples=[["https://chat.example.org"]],
    )
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_networks)] = Field(
        default=(),
        description="The addresses and networks of proxies that are believed about whom they speak for.",
        examples=[["127.0.0.1", "10.0.0.0/8"]],
    )
    redis_insecure: bool = Field(
        default=False,
        description="Whether a Redis that others could reach may do without TLS and without a good password.",
        examples=[True],
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="The Redis in which several gates count together; without it, each counts for itself.",
        examples=["rediss://gate:password@redis.lan:6379/0"],
    )
    on_redis_failure: Annotated[Literal["local", "refuse", "allow"], BeforeValidator(lower)] = Field(
        default="local",
        description="What holds while the Redis does not answer: the gate's own share of each limit (local), "
        "no call that has a limit (refuse), or no limit (allow).",
        examples=["local"],
    )
    replicas: Annotated[int, whole(1000)] = Field(
        default=1,
        description="How many gates share the Redis at the least; a gate's own share is a limit divided by it.",
        examples=[3],
    )
    workers: Annotated[int, whole(256)] = Field(
        default=1,
        description="How many processes answer, one for each core at the most; several count in a Redis together.",
        examples=[4],
    )
    time_zone: TimeZone = Field(
        default="UTC", description="In which days and months begin.", examples=["Europe/Berlin"]
    )
    tls: TlsSettings = Field(
        default=TlsSettings(),
        description="How the gate itself speaks TLS.",
        examples=['{ certificate = "fullchain.pem", key = "privkey.pem" }'],
    )
    door: DoorSettings = Field(
        default=DoorSettings(),
        description="What is asked of connections.",
        examples=["{ connections_per_address = 256 }"],
    )
    ledger: LedgerSettings = Field(
        default=LedgerSettings(), description="What is kept of each call.", examples=['{ keep = "90d" }']
    )
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict,
        description="What calls on the models of a pattern cost.",
        examples=['"llama3.2:*" = { prompt = 0.10, completion = 0.40 }'],
    )
    elsewhere: ElsewhereSettings = Field(
        default=ElsewhereSettings(),
        description="What as many tokens would cost elsewhere.",
        examples=["{ prompt = 2.50, completion = 10.00 }"],
    )
    limits: EverybodySettings = Field(
        default=EverybodySettings(),
        description="How much everybody together may have.",
        examples=["{ concurrent = 16 }"],
    )
    plans: dict[PlanName, PlanSettings] = Field(
        default_factory=dict,
        description="What keys may do, by the name of their plan; a plan 'default' always exists.",
        examples=['[plans.lab] with models = ["llama3.2:*"] under it'],
    )
    auth: AuthSettings = Field(
        default=AuthSettings(), description="How proofs are taken.", examples=['{ outage = "15m" }']
    )
    issuers: dict[IssuerName, IssuerSettings] = Field(
        default_factory=dict,
        description="Whose tokens are believed, by the owner's word for them.",
        examples=['[issuers.sso] with url = "https://sso.example.org" and audience = "llamagate" under it'],
    )

    traces: TracesSettings = Field(
        default=TracesSettings(),
        description="Who is told of each call as a trace.",
        examples=['{ endpoint = "http://127.0.0.1:4318/v1/traces" }'],
    )

    @field_validator("upstream")
    @classmethod
    def _asks_another(cls, upstream: str, info: ValidationInfo) -> str:
        if "listen" not in info.data:
            return upstream
        host, port = host_and_port(info.data["listen"])
        parts = urlsplit(upstream)
        there = parts.hostname or ""
        same = there == host or (is_loopback(there) and (is_loopback(host) or is_unspecified(host)))
        if same and port and port == (parts.port or (443 if parts.scheme == "https" else 80)):
            raise AsksItself("is where the gate itself listens: it would ask itself for ever")
        return upstream

    @field_validator("admin_listen")
    @classmethod
    def _apart(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None and info.data.get("listen") == address and host_and_port(address)[1]:
            raise ValueError("is where the gate listens: it needs an address of its own")
        return address

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Never says what was written."""
        if secret is not None:
            told = redis_address(secret.get_secret_value())
            if any(map(is_guessable, (told.password, told.sentinel_password))):
                raise ValueError("has a placeholder for a password, which anyone could guess")
        is_open = secret is not None and is_open_to_all(redis_address(secret.get_secret_value()))
        if is_open and info.data.get("redis_insecure") is False:
            raise OpenToAll("has neither TLS nor a good password, so that the Redis is everybody's who reaches it")
        return secret

    @field_validator("workers")
    @classmethod
    def _count_together(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1 and info.data.get("redis_url", ...) is None:
            raise NeedsRedis("needs redis_url: without a Redis each process would grant every limit anew")
        return workers

    @field_validator("door")
    @classmethod
    def _preambles(cls, door: DoorSettings, info: ValidationInfo) -> DoorSettings:
        if door.proxy_protocol and not info.data.get("trusted_proxies", True):
            raise NobodyTrusted("has proxy_protocol, and without trusted_proxies nobody is believed")
        if door.proxy_protocol and "tls" in info.data and info.data["tls"].certificate is not None:
            raise ValueError("has proxy_protocol, and a preamble cannot come before TLS here: let the proxy speak TLS")
        return door

    @field_validator("plans")
    @classmethod
    def _default_plan(cls, plans: dict[str, PlanSettings]) -> dict[str, PlanSettings]:
        return plans if DEFAULT_PLAN in plans else {DEFAULT_PLAN: PlanSettings(), **plans}

    @field_validator("issuers")
    @classmethod
    def _known_plans(cls, issuers: dict[str, IssuerSettings], info: ValidationInfo) -> dict[str, IssuerSettings]:
        plans = info.data.get("plans")
        if plans is None:  # What is wrong with them is told already.
            return issuers
        for name, issuer in issuers.items():
            named = [issuer.plan] if issuer.plan else []
            for plan in (*named, *issuer.groups.values()):
                if plan not in plans:
                    raise NoSuchPlan(f"has {plan!r} as a plan of {name}, and there are {', '.join(sorted(plans))}")
        urls = [issuer.url for issuer in issuers.values()]
        if twice := next((url for url in urls if urls.count(url) > 1), None):
            raise ValueError(f"has {twice} twice, and each issuer can stand here once")
        return issuers

    @field_validator("traces")
    @classmethod
    def _proxies_to_believe(cls, traces: TracesSettings, info: ValidationInfo) -> TracesSettings:
        if traces.honour_traceparent == "proxies" and not info.data.get("trusted_proxies", True):
            raise ValueError("has honour_traceparent = proxies, and without trusted_proxies nobody is believed")
        return traces

    @property
    def host(self) -> str:
        return host_and_port(self.listen)[0]

    @property
    def port(self) -> int:
        return host_and_port(self.listen)[1]

    @property
    def public(self) -> bool:
        """Whether other machines may reach the gate."""
        return not is_loopback(self.host)

    @property
    def readable(self) -> bool:
        """Whether keys and prompts come from other machines as anybody on the way could read them.

        Behind a proxy that is trusted, TLS is the proxy's to speak. One on this machine needs no public address.
        """
        has_proxy_elsewhere = any(not proxy.is_loopback for proxy in self.trusted_networks)
        return self.public and self.tls.certificate is None and not has_proxy_elsewhere

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """Those of ``trusted_proxies``."""
        return tuple(map(network, self.trusted_proxies))

    @property
    def admin_public(self) -> bool:
        """Whether other machines may reach the admin listener."""
        return self.admin_listen is not None and not is_loopback(host_and_port(self.admin_listen)[0])

    @property
    def address(self) -> str:
        """Where a caller on this machine finds the gate: nobody can call 0.0.0.0 everywhere."""
        host = self.host
        if is_unspecified(host):
            host = "::1" if ":" in host else "127.0.0.1"
        scheme = "http" if self.tls.certificate is None else "https"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def database(self) -> str:
        """The database's URL with the driver that is used for it. May hold a password."""
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{self.state_dir / 'llamagate.db'}"
        scheme, _, rest = self.database_url.get_secret_value().partition("://")
        return f"{_DRIVERS[scheme]}://{rest}"

    @property
    def redis(self) -> RedisAddress | None:
        return redis_address(self.redis_url.get_secret_value()) if self.redis_url else None

    def plan_table(self) -> dict[str, Plan]:
        """The plans as the rest of the gate knows them."""
        everybodys = self.limits.everybodys(self.time_zone)
        return {name: plan.plan(name, self.time_zone, everybodys) for name, plan in self.plans.items()}

    def price_table(self) -> dict[str, tuple[float, float, float]]:
        """By model pattern, what a million tokens of prompts and of answers cost, and a second of the GPU."""
        return {pattern: told.price for pattern, told in self.prices.items()}

    @property
    def reference_price(self) -> tuple[float, float] | None:
        """What a million tokens of prompts and of answers cost elsewhere; None where nobody has said."""
        return self.elsewhere.price

    @property
    def watts(self) -> float | None:
        """What the GPU draws while it works; None where nobody has said."""
        return None if self.ledger.watts is None else float(self.ledger.watts)
