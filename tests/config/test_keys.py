import pytest

from proxy.config import keys
from proxy.config.ledger import LedgerSettings
from proxy.config.limits import AmountSettings, LevelSettings, LimitSettings
from proxy.config.plans import KnobSettings, PlanSettings
from proxy.config.prices import ElsewhereSettings, PriceSettings
from proxy.config.settings import Settings

SETTINGS = [
    "listen",
    "plans lab models",
    "plans lab knobs num_ctx",
    "plans lab pull max_size",
    "limits concurrent",
    "limits mode",
    "limits models llama3.3:70b concurrent",
    "plans lab limits mode",
    "plans lab limits models llama3.3:* concurrent",
    "plans lab limits user concurrent",
    "plans lab limits team models * tokens_per_day",
    "ledger required",
    "ledger usage_log_keep",
    "prices llama3.2:* gpu_second",
    "elsewhere prompt",
]
BRANCHES = [
    "plans",
    "plans lab",
    "plans lab knobs",
    "limits",
    "limits models",
    "limits models llama3.3:70b",
    "plans lab limits",
    "plans lab limits user",
    "plans lab limits user models",
    "plans lab limits user models *",
    "ledger",
    "prices",
    "prices llama3.2:*",
    "elsewhere",
]
NEITHER = [
    "listne",
    "listen x",
    "plans lab modles",
    "limits user",
    "limits models * mode",
    "plans lab limits user mode",
    "required",
    "prices prompt x y",
    "elsewhere gpu_second",
]


@pytest.mark.parametrize("path", SETTINGS)
def test_a_setting_has_a_value(path: str) -> None:
    assert keys.is_setting(tuple(path.split()))
    assert not keys.is_branch(tuple(path.split()))


@pytest.mark.parametrize("path", BRANCHES)
def test_a_branch_has_keys_under_it(path: str) -> None:
    assert keys.is_branch(tuple(path.split()))
    assert not keys.is_setting(tuple(path.split()))


@pytest.mark.parametrize("path", NEITHER)
def test_what_is_no_key_is_neither(path: str) -> None:
    assert not keys.is_branch(tuple(path.split()))
    assert not keys.is_setting(tuple(path.split()))


def test_a_plan_has_a_name() -> None:
    assert not keys.is_setting(("plans", "", "models"))
    assert not keys.is_branch(("plans", ""))


@pytest.mark.parametrize(
    ("table", "path"),
    [
        (Settings, "listne"),
        (Settings, "limits"),
        (PlanSettings, "plans lab modles"),
        (KnobSettings, "plans lab knobs num_ctx"),
        (LimitSettings, "plans lab limits usr"),
        (LevelSettings, "plans lab limits user concurent"),
        (AmountSettings, "plans lab limits user models * concurrent"),
        (AmountSettings, "limits models * mode"),
        (LedgerSettings, "ledger require"),
        (PriceSettings, "prices * promt"),
        (ElsewhereSettings, "elsewhere gpu_second"),
    ],
)
def test_a_key_stands_in_a_table_or_would(table: type, path: str) -> None:
    assert table is keys.table(tuple(path.split()))


def test_the_pattern_of_a_model_is_the_last_step() -> None:
    assert keys.is_pattern(("limits", "models", "*"))
    assert keys.is_pattern(("prices", "*"))
    assert not keys.is_pattern(("prices",))
    assert keys.is_pattern(("plans", "lab", "limits", "user", "models", ""))
    assert not keys.is_pattern(("limits", "models"))
    assert not keys.is_pattern(("limits", "models", "*", "concurrent"))
    assert not keys.is_pattern(("plans", "lab"))
    assert not keys.is_pattern(())


def test_what_a_variable_cannot_spell_is_for_the_file() -> None:
    assert keys.is_for_the_file(("limits", "models"))
    assert keys.is_for_the_file(("prices",))
    assert keys.is_for_the_file(("prices", "gemma3", "prompt"))
    assert not keys.is_for_the_file(("elsewhere", "prompt"))
    assert keys.is_for_the_file(("limits", "models", "gemma3", "concurrent"))
    assert keys.is_for_the_file(("plans", "lab", "limits", "team", "models", "gemma3", "x"))
    assert not keys.is_for_the_file(("plans", "lab", "models"))
    assert not keys.is_for_the_file(("plans", "lab", "limits", "concurrent"))


def test_a_path_is_told_as_toml_writes_it() -> None:
    assert "plans.lab-2.models" == keys.dotted(("plans", "lab-2", "models"))
    assert 'limits.models."llama3.3:70b".concurrent' == keys.dotted(("limits", "models", "llama3.3:70b", "concurrent"))
    assert 'limits.models."a\\"b"."ä"' == keys.dotted(("limits", "models", 'a"b', "ä"))


def test_every_variable_is_that_of_a_setting() -> None:
    for name in keys.variables(("plans", "lab", "x", "y")) + keys.variables(("x", "y")):
        assert keys.is_setting(tuple(name.removeprefix(keys.PREFIX).lower().split("__"))), name


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("LLAMAGATE_LISTEN", "listne"),
        ("LLAMAGATE_LISTEN", "listen x"),
        ("LLAMAGATE_LIMITS__CONCURRENT", "limits"),
        ("LLAMAGATE_LEDGER__REQUIRED", "ledger require"),
        ("LLAMAGATE_ELSEWHERE__PROMPT", "elsewhere promt"),
        ("LLAMAGATE_LIMITS__CONCURRENT", "limit concurrent"),
        ("LLAMAGATE_PLANS__LAB__MODELS", "plans"),
        ("LLAMAGATE_PLANS__TWO__MODELS", "plans two"),
        ("LLAMAGATE_PLANS__TWO__KNOBS__SHIFT", "plans two knobs shifts"),
        ("LLAMAGATE_PLANS__TWO__LIMITS__USER__CONCURRENT", "plans two limits usr concurrent"),
    ],
)
def test_a_word_that_is_none_stands_beside_what_could_have_been_meant(variable: str, path: str) -> None:
    assert variable in keys.variables(tuple(path.split()))


def test_what_stands_in_other_tables_was_not_meant_by_a_single_word() -> None:
    assert "LLAMAGATE_LIMITS__CONCURRENT" not in keys.variables(("concurrent",))
    assert "LLAMAGATE_PLANS__LAB__PULL__MAX_SIZE" not in keys.variables(("plans", "lab", "max_size"))


def test_every_setting_has_a_cure() -> None:
    for path, _ in keys.told(Settings()):
        assert keys.cure(path).startswith("for instance "), path


def test_of_a_price_only_what_was_told_is_told_on_and_of_the_ledger_everything() -> None:
    told = dict(keys.told(Settings.model_validate({"prices": {"*": {"prompt": 0}}})))

    assert [("prices", "*", "prompt")] == [path for path in told if path[0] == "prices"]
    assert 8 == len([path for path in told if path[0] == "ledger"])
    assert {None} == {value for path, value in told.items() if path[0] == "elsewhere"}


def test_of_limits_and_knobs_only_what_was_told_is_told_on() -> None:
    settings = Settings.model_validate(
        {"limits": {"mode": "enforce"}, "plans": {"lab": {"limits": {"user": {"models": {"*": {"concurrent": 1}}}}}}}
    )
    told = dict(keys.told(settings))

    assert {
        ("limits", "mode"): "enforce",
        ("plans", "lab", "limits", "user", "models", "*", "concurrent"): 1,
    } == {path: value for path, value in told.items() if "limits" in path}
    assert () == tuple(path for path in told if "knobs" in path)
