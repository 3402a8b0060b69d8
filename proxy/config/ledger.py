"""What may be said of the ledger: how much of it is kept, for how long, where, and in which currency it reckons."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.config import written
from proxy.config.kinds import Octets, written_as
from proxy.config.prices import number

FOREVER = "forever"
_CURRENCY = re.compile("[A-Za-z]{1,8}")
_MOST_WATTS = 10**6
_seconds = written_as(written.seconds)


def _kept(value: Any) -> float | None:
    """TOML and variables have no word for None, so it needs one of its own."""
    if value is None or (isinstance(value, str) and value.strip().lower() == FOREVER):
        return None
    kept = _seconds(value)
    if kept < 3600:
        raise ValueError(f"should be an hour or more, or {FOREVER}")
    return kept


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise ValueError("should be 1 to 8 letters")
    return text


_Kept = Annotated[float | None, BeforeValidator(_kept)]


class LedgerSettings(BaseModel):
    """What the gate keeps of each call."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    required: bool = Field(
        default=True, description="Whether calls are refused while no line can be kept for them.", examples=[True]
    )
    spool: Octets = Field(
        default=256 * 2**20,
        ge=2**20,
        le=2**40,
        description="How much may wait on disk for the database.",
        examples=["256MiB"],
    )
    keep: _Kept = Field(
        default=None,
        description="After which time lines are forgotten; their sums stay.",
        examples=["90d"],
    )
    usage_log: bool = Field(
        default=False, description="Whether each line is also written to a file of its day.", examples=[True]
    )
    usage_log_keep: _Kept = Field(
        default=30 * 86_400.0, description="After which time such a file is deleted.", examples=["30d"]
    )
    hash_addresses: bool = Field(
        default=False,
        description="Whether a keyed hash stands in the place of each caller's network address.",
        examples=[True],
    )
    currency: Annotated[str, AfterValidator(_currency)] = Field(
        default="EUR", description="In which prices are told and costs are shown.", examples=["EUR"]
    )
    watts: Annotated[Decimal, number(_MOST_WATTS, above_zero=True)] | None = Field(
        default=None, description="What the GPU draws while it works; without it, no power is reckoned.", examples=[350]
    )
