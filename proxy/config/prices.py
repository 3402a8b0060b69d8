"""What may be said of what things cost: each model's price here, and the reference price elsewhere."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_PRICES_MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

DEAREST = 10**9
"""Beyond that a price is a slip of the hand, and sums of many calls stay numbers."""


def number(most: int, *, above_zero: bool = False) -> BeforeValidator:
    """Zero or more of something, with a fraction or without, kept as it was written. ValueError says what is right."""
    what = f"should be a number {'above 0 and up to' if above_zero else 'from 0 to'} {most}"

    def read(value: Any) -> Decimal:
        is_number = isinstance(value, int | float | str | Decimal) and not isinstance(value, bool)
        if not is_number or not _NUMBER.fullmatch(text := str(value).strip()):
            raise ValueError(what)
        found = Decimal(text)
        if found > most or (above_zero and not found):
            raise ValueError(what)
        return found

    return BeforeValidator(read)


Price = Annotated[Decimal, number(DEAREST)]


class PriceSettings(BaseModel):
    """What the calls on some models cost, in the ledger's currency."""

    model_config = _PRICES_MODEL

    prompt: Price = Field(default=Decimal(0), description="A million tokens of prompts.", examples=["0.10"])
    completion: Price = Field(default=Decimal(0), description="A million tokens of answers.", examples=["0.40"])
    gpu_second: Price = Field(
        default=Decimal(0), description="A second of the GPU, loading included.", examples=["0.0002"]
    )

    @property
    def price(self) -> tuple[float, float, float]:
        """Of one token of a prompt's million, of an answer's million, and of a second."""
        return float(self.prompt), float(self.completion), float(self.gpu_second)


class ElsewhereSettings(BaseModel):
    """What as many tokens would cost elsewhere, whatever the model."""

    model_config = _PRICES_MODEL

    prompt: Price | None = Field(
        default=None, description="A million tokens of prompts elsewhere, to compare with.", examples=["2.50"]
    )
    completion: Price | None = Field(
        default=None, description="A million tokens of answers elsewhere, to compare with.", examples=["10.00"]
    )

    @property
    def price(self) -> tuple[float, float] | None:
        """Of a million tokens of prompts and of answers; None where neither is told, and 0 for one that is not."""
        if self.prompt is None and self.completion is None:
            return None
        return float(self.prompt or 0), float(self.completion or 0)
