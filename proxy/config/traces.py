"""What may be said of traces: who takes them, of how many calls, and whose trace a call may belong to."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from proxy.config.kinds import lower
from proxy.config.prices import number


def _endpoint(text: str) -> str:
    """Never says what was written: the text may hold a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has blanks, control characters or others in it that no URL has")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("should begin with http:// or https:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("should have no user, password or query in it: what a collector asks for goes into a header")
    if parts.path in ("", "/"):
        raise ValueError("should be the whole address, which mostly ends with /v1/traces")
    return text


class TracesSettings(BaseModel):
    """Without an endpoint nothing is traced."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        description="Where a collector takes OpenTelemetry's traces, by OTLP over HTTP; without it, nothing is traced.",
        examples=["http://127.0.0.1:4318/v1/traces"],
    )
    sample: Annotated[Decimal, number(1)] = Field(
        default=Decimal(1),
        description="Which part of all calls is traced; where a traceparent is believed, it decides for its call.",
        examples=[0.1],
    )
    honour_traceparent: Annotated[Literal["nobody", "proxies", "everybody"], BeforeValidator(lower)] = Field(
        default="nobody",
        description="Who may say to which trace a call belongs: nobody, the trusted_proxies (proxies), or everybody.",
        examples=["proxies"],
    )
    pass_traceparent: bool = Field(
        default=False, description="Whether Ollama is told to which trace a call belongs.", examples=[True]
    )
    callers: Annotated[Literal["none", "hash"], BeforeValidator(lower)] = Field(
        default="none",
        description="How callers stand in traces: not at all (none), or as a keyed hash of the user and one of the key "
        "(hash).",
        examples=["hash"],
    )

    @model_validator(mode="after")
    def _traced(self) -> Self:
        if self.endpoint is None and (self.honour_traceparent != "nobody" or self.pass_traceparent):
            told = "pass_traceparent" if self.pass_traceparent else "honour_traceparent"
            raise ValueError(f"has {told}, and without an endpoint nothing is traced")
        return self
