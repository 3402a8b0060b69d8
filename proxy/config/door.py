"""What may be said of the front door: how long clients may take, and how many of them it holds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from proxy.config.kinds import Octets, Seconds, whole


class DoorSettings(BaseModel):
    """What is asked of connections before anything is known of who sends on them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    head_timeout: Seconds = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="How long the header fields of a request may take, and how long its body may fall behind its rate.",
        examples=["10s"],
    )
    body_rate: Octets = Field(
        default=1024, ge=1, le=2**30, description="How much of a body must come in a second.", examples=["1KiB"]
    )
    connections: Annotated[int, whole(1_000_000)] | None = Field(
        default=None,
        description="How many connections there may be; without it, a third as many as files may be open, "
        "and 10000 at the most.",
        examples=[2000],
    )
    connections_per_address: Annotated[int, whole(1_000_000)] = Field(
        default=256,
        description="How many of them one address may have, or one /64 of IPv6; a trusted proxy may have any.",
        examples=[64],
    )
    requests_per_connection: Annotated[int, whole(1_000_000)] = Field(
        default=1000, description="After how many requests a connection is closed.", examples=[1000]
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Whether trusted proxies begin each connection with a preamble of the PROXY protocol.",
        examples=[True],
    )
