"""What may be said of those who say who people are: where their keys are, and what becomes of their claims."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

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
    model_validator,
)

from proxy.config.addresses import is_loopback
from proxy.config.kinds import Seconds, is_placeholder, listed
from proxy.config.tls import PemFile
from proxy.vocabulary import Issuer

_ISSUERS_MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
_DAY = 86_400.0
_YEAR = 366 * _DAY

SIGNED = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""By a private key that only the issuer has (RFC 7518 §3.3 to 3.5, RFC 8037)."""
SHARED: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""By a secret that the gate has too, and how many bytes it needs (RFC 7518 §3.2)."""
SOURCES = ("jwks_url", "key_file", "secret", "secret_file")
"""Where an issuer's keys may come from, besides OIDC discovery."""
MOST_NAMES = 1000

IssuerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:[_-][a-z0-9]+)*$", max_length=32)]


class OpenWire(ValueError):
    """Keys were to come by plain HTTP from another machine."""


class OneSource(ValueError):
    """An issuer's keys were told to come from two places."""


def _url(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has blanks or other signs in it that no URL has")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("should begin with https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.fragment or text.endswith("#"):
        raise ValueError("should have no user, password or # in it")
    return text


def is_open(url: str) -> bool:
    """Whether somebody on the way could put other keys in place of the issuer's."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    known = (*SIGNED, *SHARED)
    if wrong := [name for name in names if name not in known]:
        raise ValueError(f"has {wrong[0]!r} in it; there are {', '.join(known)}")
    if any(name in SHARED for name in names) and any(name in SIGNED for name in names):
        raise ValueError("should not mix those of a shared secret (HS…) with those of a key pair")
    return names


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(name.strip() for name in names):
        raise ValueError("should name one at the least")
    return names


def _pairs(value: Any) -> Any:
    """A variable of the environment holds one text: pairs with commas between them, ``ml-team=lab, staff=default``."""
    if not isinstance(value, str):
        return value
    pairs = _split(value)
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"has {twice!r} twice, and it can mean one thing only")
    return dict(pairs)


def _split(text: str) -> list[tuple[str, str]]:
    """None at all is a mistake: an empty variable, as a compose file has it, would undo what the file requires."""
    pairs = [one.partition("=") for one in text.split(",")]
    if not all(sign and name.strip() and meaning.strip() for name, sign, meaning in pairs):
        raise ValueError("should be pairs such as ml-team=lab, with commas between them")
    return [(name.strip(), meaning.strip()) for name, _, meaning in pairs]


def _claims(value: Any) -> Any:
    """One value may stand without a list, true and false without quotes; in a variable a claim may come again."""
    if isinstance(value, str):
        found: dict[str, list[str]] = {}
        for name, meaning in _split(value):
            found.setdefault(name, []).append(meaning)
        return found
    if not isinstance(value, dict):
        return value
    return {name: _values(said) for name, said in value.items()}


def _values(said: Any) -> list[Any]:
    values = list(said) if isinstance(said, list | tuple) else [said]
    return ["true" if one is True else "false" if one is False else one for one in values]


def _told_values(claims: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, values in claims.items():
        if not name.strip() or not values or not all(values):
            raise ValueError("should name claims, and for each of them one value at the least")
    return claims


def _few(pairs: dict[str, str]) -> dict[str, str]:
    if len(pairs) > MOST_NAMES:
        raise ValueError(f"should have {MOST_NAMES} groups at the most")
    return pairs


_Names = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_some)]
_Pairs = Annotated[dict[str, str], BeforeValidator(_pairs), AfterValidator(_few)]
_Claims = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_claims), AfterValidator(_told_values)]


class IssuerSettings(BaseModel):
    """Whose tokens are believed, and what they say."""

    model_config = _ISSUERS_MODEL

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="What its tokens have in iss, to the letter.", examples=["https://sso.example.org/realms/main"]
    )
    audience: _Names = Field(
        description="What its tokens have in aud, one of these at the least.", examples=[["llamagate"]]
    )
    algorithms: Annotated[
        tuple[str, ...], BeforeValidator(listed), AfterValidator(_some), AfterValidator(_algorithms)
    ] = Field(default=("RS256",), description="How its tokens may be signed.", examples=[["RS256", "ES256"]])
    insecure: bool = Field(
        default=False,
        description="Whether its keys may be fetched from another machine without TLS.",
        examples=[True],
    )
    jwks_url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="Where its keys are; without this, a file or a secret, they are found by OIDC discovery.",
        examples=["https://sso.example.org/realms/main/protocol/openid-connect/certs"],
    )
    key_file: PemFile | None = Field(
        default=None, description="A PEM file with its public key or certificate.", examples=["/etc/llamagate/sso.pem"]
    )
    secret: SecretStr | None = Field(
        default=None,
        description="What it signs with where that is a secret shared with the gate (HS256 and the like).",
        examples=["the output of: openssl rand -hex 32"],
    )
    secret_file: PemFile | None = Field(
        default=None, description="The file that holds this secret.", examples=["/run/secrets/sso"]
    )
    types: _Names = Field(
        default=("JWT", "at+jwt"),
        description="What the header typ of its tokens may say, where they have one.",
        examples=[["at+jwt"]],
    )
    user_claim: str = Field(default="sub", min_length=1, description="Which claim names the user.", examples=["email"])
    user_prefix: str | None = Field(
        default=None,
        max_length=64,
        description="What stands before it, so that no two issuers share users; else the issuer's name and a colon.",
        examples=["sso:"],
    )
    team_claim: str | None = Field(default=None, description="Which claim names the team.", examples=["department"])
    groups_claim: str = Field(
        default="groups",
        min_length=1,
        description="Which claim lists the groups; dots lead into objects.",
        examples=["realm_access.roles"],
    )
    groups: _Pairs = Field(
        default_factory=dict,
        description="The plan of a group; of several groups the one counts that stands first here.",
        examples=['{ "ml-team" = "lab" }'],
    )
    teams: _Pairs = Field(
        default_factory=dict,
        description="The team of a group; of several groups the one counts that stands first here.",
        examples=['{ "ml-team" = "ml" }'],
    )
    plan: str | None = Field(
        default=None,
        description="The plan of whom no group has one; without it, they are refused.",
        examples=["default"],
    )
    require: _Claims = Field(
        default_factory=dict,
        description="What claims have to say, each one of its values here; dots lead into objects.",
        examples=['{ "hd" = "example.org" }'],
    )
    max_lifetime: Seconds = Field(
        default=_DAY, gt=0, le=_YEAR, description="How long its tokens may live.", examples=["24h"]
    )
    leeway: Seconds = Field(
        default=10.0, ge=0, le=300, description="By how much its clock may differ from ours.", examples=["10s"]
    )
    refresh: Seconds = Field(
        default=600.0, ge=30, le=_DAY, description="How often its keys are fetched again.", examples=["10m"]
    )
    max_stale: Seconds = Field(
        default=_DAY,
        ge=60,
        le=30 * _DAY,
        description="How long the last keys are believed while it cannot be reached.",
        examples=["24h"],
    )

    @field_validator("jwks_url")
    @classmethod
    def _closed(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None and is_open(url) and info.data.get("insecure") is False:
            raise OpenWire("goes by plain HTTP to another machine, so that anybody on the way could put in other keys")
        return url

    @field_validator("secret")
    @classmethod
    def _no_placeholder(cls, secret: SecretStr | None) -> SecretStr | None:
        """Never says what was written."""
        if secret is not None:
            checked_secret(secret.get_secret_value(), ())
        return secret

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        told = [name for name in SOURCES if getattr(self, name) is not None]
        if len(told) > 1:
            raise OneSource(f"has {' and '.join(told)}, and its keys can come from one place only")
        is_shared = self.algorithms[0] in SHARED
        if is_shared and not (self.secret or self.secret_file):
            raise OneSource(f"is told to sign with {self.algorithms[0]}, which needs secret or secret_file")
        if not is_shared and (self.secret or self.secret_file):
            raise OneSource("has a secret, which needs algorithms = HS256, HS384 or HS512")
        if not told and is_open(self.url) and not self.insecure:
            raise OpenWire(
                "is found by plain HTTP on another machine, where anybody on the way could put in other keys"
            )
        if self.secret is not None:
            checked_secret(self.secret.get_secret_value(), self.algorithms)
        return self

    def issuer(self, name: str, *, pem: str | None = None, secret: bytes | None = None) -> Issuer:
        """It, as the rest of the gate knows it, with what its files hold."""
        return Issuer(
            name=name,
            url=self.url,
            audiences=self.audience,
            algorithms=self.algorithms,
            jwks_url=self.jwks_url,
            pem=pem,
            secret=self.secret.get_secret_value().encode() if self.secret is not None else secret,
            types=self.types,
            user_claim=self.user_claim,
            user_prefix=f"{name}:" if self.user_prefix is None else self.user_prefix,
            team_claim=self.team_claim,
            groups_claim=self.groups_claim,
            groups=tuple(self.groups.items()),
            teams=tuple(self.teams.items()),
            plan=self.plan,
            require=tuple(self.require.items()),
            max_lifetime=self.max_lifetime,
            leeway=self.leeway,
            refresh=self.refresh,
            max_stale=self.max_stale,
            insecure=self.insecure,
        )


def checked_secret(text: str, algorithms: tuple[str, ...]) -> bytes:
    """What tokens are signed with. Raises ValueError, without what was written, where it is short or a placeholder."""
    least = max((SHARED.get(name, 0) for name in algorithms), default=32)
    if len(text.encode()) < least:
        raise ValueError(f"has {len(text.encode())} bytes and needs at least {least}")
    if is_placeholder(text) or len(set(text)) < 8:
        raise ValueError("is a placeholder, which anyone could guess")
    return text.encode()
