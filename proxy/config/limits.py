"""What may be said of how much: for each level, for all models together and for those of a pattern."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from proxy.config.kinds import Seconds, lower, whole
from proxy.vocabulary import Allowance, Level, Limits

_LIMITS_MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
# A bucket counts the first in whole numbers that stay exact in Lua too, see ``limits.bucket``.
_Rate = Annotated[int, whole(10**8)] | None
_Places = Annotated[int, whole(10**6)] | None
_Quota = Annotated[int, whole(10**12)] | None
_Time = Annotated[Seconds, Field(gt=0, le=366 * 86_400)] | None


class NeedsRate(ValueError):
    """A burst was told, and not how fast it comes back."""


def _amount(description: str, example: str) -> Any:
    return Field(default=None, description=description, examples=[f"{example}, or leave it out for no limit"])


class AmountSettings(BaseModel):
    """How much."""

    model_config = _LIMITS_MODEL

    requests_per_minute: _Rate = _amount("Requests in a minute.", "30")
    request_burst: _Rate = Field(
        default=None,
        description="Requests that may come at once; without it, as many as in a minute.",
        examples=[10],
    )
    tokens_per_minute: _Rate = _amount("Tokens, of prompts and answers, in a minute.", "20000")
    token_burst: _Rate = Field(
        default=None,
        description="Tokens that may be asked for at once; without it, as many as in a minute.",
        examples=[20000],
    )
    concurrent: _Places = _amount("Calls under way at the same time.", "2")
    tokens_per_day: _Quota = _amount("Tokens from one midnight to the next.", "500000")
    tokens_per_month: _Quota = _amount("Tokens from the first of a month to the first of the next.", "5000000")
    gpu_seconds_per_day: _Time = _amount("How long the GPU may work from one midnight to the next.", "2h")

    @field_validator("request_burst", "token_burst")
    @classmethod
    def _comes_back(cls, burst: int | None, info: ValidationInfo) -> int | None:
        rate = "requests_per_minute" if info.field_name == "request_burst" else "tokens_per_minute"
        if burst is not None and info.data.get(rate, "told wrong") is None:
            raise NeedsRate(f"needs {rate} in the same table, at which it comes back")
        return burst

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in AmountSettings.model_fields})


class LevelSettings(AmountSettings):
    """How much at one level: for all models together, and for those of each pattern."""

    models: dict[str, AmountSettings] = Field(
        default_factory=dict,
        description="How much on the models of a pattern.",
        examples=['"llama3.3:70b" = { concurrent = 1 }'],
    )

    def canonical(self, check: Callable[[str], str]) -> Self:
        """The same, with each pattern in the one form in which it is compared."""
        return self.model_copy(update={"models": {check(name): amounts for name, amounts in self.models.items()}})

    def allowances(self, level: Level, shadow: bool, time_zone: str) -> Iterator[Allowance]:
        """One for each table that says anything."""
        for models, amounts in (("", self), *self.models.items()):
            if amounts.limits != Limits():
                yield Allowance(level, amounts.limits, models, shadow, time_zone)


class EverybodySettings(LevelSettings):
    """How much for everybody together, whatever their plan."""

    mode: Annotated[Literal["enforce", "shadow"], BeforeValidator(lower)] = Field(
        default="enforce",
        description="Whether a call beyond a limit is refused, or only told of in the log and let pass (shadow).",
        examples=["shadow"],
    )

    def everybodys(self, time_zone: str) -> tuple[Allowance, ...]:
        return tuple(self.allowances(Level.EVERYBODY, self.mode == "shadow", time_zone))


class LimitSettings(EverybodySettings):
    """How much a plan lets each key have, all keys of a user, and all of a team."""

    user: LevelSettings = Field(
        default=LevelSettings(), description="All keys of one user.", examples=["{ tokens_per_day = 500000 }"]
    )
    team: LevelSettings = Field(
        default=LevelSettings(), description="All keys of one team.", examples=["{ tokens_per_day = 500000 }"]
    )

    def canonical(self, check: Callable[[str], str]) -> Self:
        levels = {"user": self.user.canonical(check), "team": self.team.canonical(check)}
        return super().canonical(check).model_copy(update=levels)

    def each(self, time_zone: str) -> tuple[Allowance, ...]:
        """Those of a plan, in the order in which they are asked; that of each key also where it only says how a key's
        own are taken."""
        levels = ((Level.KEY, self), (Level.USER, self.user), (Level.TEAM, self.team))
        shadow = self.mode == "shadow"
        said = [one for level, told in levels for one in told.allowances(level, shadow, time_zone)]
        hows = Allowance(Level.KEY, Limits(), shadow=shadow, time_zone=time_zone)
        if not any(one.is_of_each_key for one in said) and hows != Allowance(Level.KEY, Limits()):
            said.insert(0, hows)
        return tuple(said)
