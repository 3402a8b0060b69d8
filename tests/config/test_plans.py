import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config.plans import KnobSettings, PlanSettings, setting_as_written
from proxy.vocabulary import KNOBS, Plan, Pulls, Risk, Rule, Setting, Unit


def read(name: str, value: object) -> Setting | None:
    said: Setting | None = getattr(KnobSettings.model_validate({name: value}), name)
    return said


def test_a_plan_with_nothing_written_is_the_plan_that_holds_when_nothing_is_told() -> None:
    assert Plan("lab") == PlanSettings().plan("lab")


def test_what_is_written_is_what_the_gate_knows() -> None:
    written = PlanSettings.model_validate(
        {
            "owner": True,
            "grants": ["manage", "account", "outbound"],
            "truncation": "Refuse",
            "pull": {"registries": ["HF.co", "reg.lan:5000"], "namespaces": ["*"], "max_size": "1GiB"},
            "knobs": {"num_ctx": {"at_most": 8192}, "keep_alive": {"at_most": "10m"}, "shift": "allow"},
        }
    )

    assert Plan(
        "lab",
        frozenset({Risk.MANAGE, Risk.ACCOUNT, Risk.OUTBOUND}),
        owner=True,
        pulls=Pulls(("hf.co", "reg.lan:5000"), ("*",), 2**30),
        knobs={
            "keep_alive": Setting(Rule.CLAMP, 600),
            "num_ctx": Setting(Rule.CLAMP, 8192),
            "shift": Setting(Rule.ALLOW),
        },
        refuses_truncation=True,
    ) == written.plan("lab")


@pytest.mark.parametrize("risk", ["account", "outbound"])
def test_what_is_the_owners_is_granted_by_an_owners_plan_only(risk: str) -> None:
    with pytest.raises(ValidationError, match=f"has {risk}, which only an owner's plan"):
        PlanSettings.model_validate({"grants": ["read", risk]})

    assert Risk(risk) in PlanSettings.model_validate({"grants": [risk], "owner": True}).grants


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        (Setting(Rule.DROP), "num_ctx", "drop"),
        (Setting(Rule.REFUSE), "use_mmap", "REFUSE"),
        (Setting(Rule.CLAMP, 512), "num_ctx", {"at_most": 512}),
        (Setting(Rule.CLAMP, 512), "num_ctx", "at_most=512"),
        (Setting(Rule.CLAMP, 512), "num_ctx", "at_most = 512"),
        (Setting(Rule.CLAMP, 600), "keep_alive", {"at_most": "10m"}),
        (Setting(Rule.CLAMP, 600), "keep_alive", {"at_most": 600}),
        (Setting(Rule.CLAMP, 5 * 2**20), "image_bytes", {"at_most": "5MiB"}),
        (Setting(Rule.CLAMP, 0), "images", {"at_most": 0}),
    ],
)
def test_a_knob_has_a_rule_or_a_most(setting: Setting, name: str, value: object) -> None:
    assert setting == read(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_ctx", "clamp"),
        ("num_ctx", "maybe"),
        ("num_ctx", 8192),
        ("num_ctx", True),
        ("num_ctx", None),
        ("num_ctx", ["drop"]),
        ("num_ctx", {}),
        ("num_ctx", {"most": 1}),
        ("num_ctx", {"at_most": 512, "at_least": 1}),
        ("num_ctx", {"at_most": 512.0}),
        ("num_ctx", {"at_most": True}),
        ("num_ctx", {"at_most": -1}),
        ("num_ctx", {"at_most": "8KiB"}),
        ("num_ctx", {"at_most": 0}),
        ("keep_alive", {"at_most": "0s"}),
        ("keep_alive", {"at_most": "soon"}),
        ("keep_alive", {"at_most": float("inf")}),
        ("use_mmap", {"at_most": 1}),
        ("output_tokens", "drop"),
        ("output_tokens", {"at_most": 0}),
        ("images", "drop"),
        ("embed_inputs", "refuse"),
        ("image_bytes", {"at_most": "5M"}),
    ],
)
def test_what_makes_no_sense_of_a_knob_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        read(name, value)


@given(st.sampled_from(list(KNOBS)), st.sampled_from(list(Rule)), st.integers(4, 10**9 - 1))
def test_what_is_shown_of_a_knob_can_be_written(name: str, rule: Rule, most: int) -> None:
    if rule not in KNOBS[name].rules:
        return
    setting = Setting(rule, most if rule is Rule.CLAMP else None)

    assert setting == read(name, setting_as_written(name, setting))


def test_only_a_knob_with_a_unit_can_have_a_most() -> None:
    for name, knob in KNOBS.items():
        assert (Rule.CLAMP in knob.rules) == isinstance(knob.unit, Unit), name


@pytest.mark.parametrize(
    "pull",
    [
        {"registries": ["*"]},
        {"registries": ["https://hf.co"]},
        {"registries": ["hf.co/x"]},
        {"registries": ["hf.co\n"]},
        {"registries": [""]},
        {"namespaces": ["a/b"]},
        {"namespaces": ["lib*"]},
        {"max_size": 0},
        {"max_size": "much"},
        {"insecure": True},
    ],
)
def test_what_makes_no_sense_of_a_pull_is_refused(pull: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PlanSettings.model_validate({"pull": pull})


def test_prompts_are_logged_only_where_a_plan_says_for_how_long() -> None:
    assert PlanSettings().plan("lab").log_prompts is None
    assert 7 * 86_400.0 == PlanSettings.model_validate({"log_prompts": "7d"}).plan("lab").log_prompts


@pytest.mark.parametrize("time", ["0s", "91d", "90d1s", -1, True, "always"])
def test_prompts_are_kept_for_no_time_that_makes_no_sense(time: object) -> None:
    with pytest.raises(ValidationError):
        PlanSettings.model_validate({"log_prompts": time})
