"""What a plan may say: whom it lets do what with which models, and how much; what becomes of pulls and knobs."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    create_model,
    field_validator,
)

from proxy.config import written
from proxy.config.kinds import Octets, Seconds, TimeZone, listed, lower, written_as
from proxy.config.limits import LimitSettings
from proxy.vocabulary import KNOBS, Allowance, Knob, Plan, Pulls, Risk, Rule, Setting, Unit

_REGISTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}(?::[0-9]{1,5})?")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_LONGEST_PROMPT_LOG = 90 * 86_400
_AT_MOST = re.compile(r"at_most *= *(.+)")
_PLAN_MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NeedsOwner(ValueError):
    """A plan was told to grant what is the owner's only."""


def _knob_setting(name: str) -> Callable[[Any], Setting]:
    knob = KNOBS[name]
    rules = [f'"{rule}"' for rule in Rule if rule in knob.rules and rule is not Rule.CLAMP]
    choices = ", ".join(rules + ([f"{{ at_most = {_amounts(knob)} }}"] if knob.unit else []))

    def read(value: Any) -> Setting:
        # A variable of the environment is one text, and `settings` shows one.
        if isinstance(value, str) and (match := _AT_MOST.fullmatch(value.strip())):
            value = {"at_most": match[1].strip("\"' ")}
        match value:
            case Setting():
                return value
            case str() if value.lower() in knob.rules - {Rule.CLAMP}:
                return Setting(Rule(value.lower()))
            case {"at_most": amount} if len(value) == 1 and knob.unit:
                return Setting(Rule.CLAMP, _amount(amount, knob))
        raise ValueError(f"should be one of {choices}")

    return read


def _amounts(knob: Knob) -> str:
    return {Unit.SECONDS: '"10m"', Unit.BYTES: '"5MiB"'}.get(knob.unit or Unit.COUNT, "4096")


def _amount(value: Any, knob: Knob) -> float:
    if knob.unit is Unit.COUNT:
        if not isinstance(value, int | str) or isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", str(value)):
            raise ValueError("should have a whole number as its at_most")
        amount: float = int(value)
    else:
        amount = written_as(written.seconds if knob.unit is Unit.SECONDS else written.size)(value)
    if amount < knob.least:
        raise ValueError(f"should have an at_most of at least {knob.least}")
    return amount


def setting_as_written(name: str, setting: Setting) -> str:
    """A knob's rule, so that writing it in the environment gives the same again."""
    if setting.rule is not Rule.CLAMP or setting.most is None:
        return setting.rule.value
    match KNOBS[name].unit:
        case Unit.SECONDS:
            return f"at_most={written.as_duration(setting.most)}"
        case Unit.BYTES:
            return f"at_most={written.as_size(int(setting.most))}"
    return f"at_most={int(setting.most)}"


def _knob_example(name: str) -> str:
    knob = KNOBS[name]
    return f"{{ at_most = {_amounts(knob)} }}" if knob.unit else '"drop"'


_KNOB_FIELDS: dict[str, Any] = {
    name: (
        Annotated[Setting | None, PlainValidator(_knob_setting(name))],
        Field(default=None, description=f"What becomes of {name}.", examples=[_knob_example(name)]),
    )
    for name in KNOBS
}
KnobSettings = create_model("KnobSettings", __config__=_PLAN_MODEL, **_KNOB_FIELDS)
"""What becomes of the knobs that callers turn, where a plan wants it otherwise than the gate does."""


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise ValueError("should be the host of a registry, with a port or without, such as registry.ollama.ai")
    return text.lower()


def _namespace(text: str) -> str:
    if text != "*" and not _NAMESPACE.fullmatch(text):
        raise ValueError("should be a namespace such as library, or * for any")
    return text.lower()


def _prompt_time(seconds: float) -> float:
    if not 0 < seconds <= _LONGEST_PROMPT_LOG:
        raise ValueError("should be longer than nothing and 90d at the most")
    return seconds


class PullSettings(BaseModel):
    """What a plan that may manage models may pull."""

    model_config = _PLAN_MODEL

    registries: Annotated[tuple[Annotated[str, AfterValidator(_registry)], ...], BeforeValidator(listed)] = Field(
        default=Pulls().registries, description="Where it may pull from.", examples=[["registry.ollama.ai", "hf.co"]]
    )
    namespaces: Annotated[tuple[Annotated[str, AfterValidator(_namespace)], ...], BeforeValidator(listed)] = Field(
        default=Pulls().namespaces, description="Whose models it may pull; * is anybody's.", examples=[["library"]]
    )
    max_size: Octets = Field(
        default=Pulls().most_bytes, gt=0, description="The largest model it may pull.", examples=["20GiB"]
    )


class PlanSettings(BaseModel):
    """A plan as it is written."""

    model_config = _PLAN_MODEL

    models: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=("*",), description="Patterns of the models it may use.", examples=[["llama3.2:*", "gemma3"]]
    )
    cloud: bool = Field(
        default=False,
        description="Whether it may use models that Ollama runs on ollama.com, out of the house.",
        examples=[True],
    )
    owner: bool = Field(
        default=False, description="Whether its keys are only for the owner of the box.", examples=[True]
    )
    grants: Annotated[tuple[Risk, ...], BeforeValidator(listed)] = Field(
        default=(Risk.HEALTH, Risk.READ, Risk.INFERENCE),
        description="What it may do: health, read, inference, manage; for the owner also account, outbound.",
        examples=[["health", "read"]],
    )
    truncation: Annotated[Literal["tell", "refuse"], BeforeValidator(lower)] = Field(
        default="tell",
        description="Whether a prompt that does not fit is cut and the caller told, or refused.",
        examples=["refuse"],
    )
    time_zone: TimeZone | None = Field(
        default=None,
        description="In which its days and months begin; without it, the gate's own.",
        examples=["Europe/Berlin"],
    )
    log_prompts: Annotated[Seconds, AfterValidator(_prompt_time)] | None = Field(
        default=None,
        description="How long what its callers ask is kept, which they are told; without it, it is not kept.",
        examples=["7d"],
    )
    key_in_path: bool = Field(
        default=False,
        description="Whether its keys may stand in a URL, https://gate/k/KEY/v1, for clients that take nothing else.",
        examples=[True],
    )
    pull: PullSettings = Field(
        default=PullSettings(),
        description="What it may pull, if it may manage models.",
        examples=['{ registries = ["registry.ollama.ai"] }'],
    )
    knobs: KnobSettings = Field(  # type: ignore[valid-type]  # Made from the table of knobs.
        default=KnobSettings(),
        description="What becomes of what its callers set and others feel.",
        examples=['{ num_ctx = "drop" }'],
    )
    limits: LimitSettings = Field(
        default=LimitSettings(),
        description="How much each key may have, each user and each team.",
        examples=["{ requests_per_minute = 30 }"],
    )

    @field_validator("grants")
    @classmethod
    def _owners(cls, grants: tuple[Risk, ...], info: ValidationInfo) -> tuple[Risk, ...]:
        reserved = [risk.value for risk in (Risk.ACCOUNT, Risk.OUTBOUND) if risk in grants]
        if reserved and not info.data.get("owner", True):
            raise NeedsOwner(f"has {' and '.join(reserved)}, which only an owner's plan may grant")
        return grants

    def plan(self, name: str, time_zone: str = "UTC", everybodys: tuple[Allowance, ...] = ()) -> Plan:
        """It, as the rest of the gate knows it; the time zone is that of a gate whose plans say none."""
        knobs = {knob: setting for knob in KNOBS if (setting := getattr(self.knobs, knob)) is not None}
        return Plan(
            name=name,
            grants=frozenset(self.grants),
            models=self.models,
            cloud=self.cloud,
            owner=self.owner,
            pulls=Pulls(self.pull.registries, self.pull.namespaces, self.pull.max_size),
            knobs=knobs,
            refuses_truncation=self.truncation == "refuse",
            allowances=self.limits.each(self.time_zone or time_zone) + everybodys,
            log_prompts=self.log_prompts,
            key_in_path=self.key_in_path,
        )
