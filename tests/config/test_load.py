import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.load import Loaded, Mistake, Mistakes, effective, load
from proxy.config.settings import Settings

PEPPER = "0123456789abcdef" * 4


def read_secret(path: str) -> str:
    match path:
        case "/run/pepper":
            return PEPPER + "\n"
        case "/run/noise":
            return b"\xff".decode()
    raise FileNotFoundError(2, "No such file or directory", path)


def loaded(
    text: str = "", environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Loaded:
    return load(
        text=text, file="llamagate.toml", environment=environment or {}, flags=flags or {}, read_secret=read_secret
    )


def mistakes(
    text: str = "", environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> list[Mistake]:
    with pytest.raises(Mistakes) as raised:
        loaded(text, environment, flags)
    return list(raised.value.mistakes)


def test_nothing_told_means_the_defaults() -> None:
    told = load(text=None, file=None, environment={}, flags={}, read_secret=read_secret)

    assert Settings() == told.settings
    assert {} == told.origins


def test_flags_go_before_the_environment_and_that_before_the_file() -> None:
    text = 'listen = "h:1"\nupstream = "http://h:1"\nidle_timeout = "1m"'
    environment = {"LLAMAGATE_LISTEN": "h:2", "LLAMAGATE_UPSTREAM": "http://h:2"}
    told = loaded(text, environment, {"listen": "h:3"})

    assert ("h:3", "http://h:2", 60.0) == (told.settings.listen, told.settings.upstream, told.settings.idle_timeout)
    assert {
        "listen": "command line --listen",
        "upstream": "environment LLAMAGATE_UPSTREAM",
        "idle_timeout": "llamagate.toml",
    } == told.origins


def test_what_is_written_in_the_file_is_read() -> None:
    text = """
        max_body = "10MB"
        body_timeout = 7
        log_level = "WARNING"
        [plans.lab]
        models = ["llama3.2:*", "gemma3"]
        cloud = true
        grants = ["health"]
    """
    settings = loaded(text).settings

    assert (10_000_000, 7.0, "warning") == (settings.max_body, settings.body_timeout, settings.log_level)
    assert ("llama3.2:*", "gemma3") == settings.plans["lab"].models
    assert settings.plans["lab"].cloud
    assert ("health",) == settings.plans["lab"].grants
    assert "default" in settings.plans


PULLS = """
    [plans.lab]
    truncation = "refuse"
    grants = ["read", "manage"]
    [plans.lab.pull]
    registries = ["hf.co"]
    [plans.lab.knobs]
    num_ctx = { at_most = 8192 }
    keep_alive = { at_most = "10m" }
    image_bytes = { at_most = "5MiB" }
    use_mmap = "refuse"
"""


def test_what_a_plan_says_of_pulls_and_knobs_is_read_and_shown() -> None:
    told = loaded(
        PULLS, {"LLAMAGATE_PLANS__LAB__KNOBS__KEEP_ALIVE": "at_most=2m", "LLAMAGATE_PLANS__LAB__PULL__MAX_SIZE": "1GiB"}
    )
    rows = [row for row in effective(told) if row[0].startswith("plans.lab.")]

    assert [
        ("plans.lab.models", "*", "default"),
        ("plans.lab.cloud", "false", "default"),
        ("plans.lab.owner", "false", "default"),
        ("plans.lab.grants", "read, manage", "llamagate.toml"),
        ("plans.lab.truncation", "refuse", "llamagate.toml"),
        ("plans.lab.time_zone", "(not set)", "default"),
        ("plans.lab.log_prompts", "(not set)", "default"),
        ("plans.lab.key_in_path", "false", "default"),
        ("plans.lab.pull.registries", "hf.co", "llamagate.toml"),
        ("plans.lab.pull.namespaces", "library", "default"),
        ("plans.lab.pull.max_size", "1GiB", "environment LLAMAGATE_PLANS__LAB__PULL__MAX_SIZE"),
        ("plans.lab.knobs.keep_alive", "at_most=2m", "environment LLAMAGATE_PLANS__LAB__KNOBS__KEEP_ALIVE"),
        ("plans.lab.knobs.num_ctx", "at_most=8192", "llamagate.toml"),
        ("plans.lab.knobs.use_mmap", "refuse", "llamagate.toml"),
        ("plans.lab.knobs.image_bytes", "at_most=5MiB", "llamagate.toml"),
    ] == rows


def test_every_mistake_in_a_plan_is_told_at_once_with_what_would_be_right() -> None:
    text = """
        [plans.lab]
        grants = ["account"]
        truncation = "cut"
        [plans.lab.pull]
        registry = ["hf.co"]
        namespaces = ["a/b"]
        [plans.lab.knobs]
        num_ctxt = "drop"
        num_gpu = "sometimes"
        keep_alive = { at_most = "soon" }
        [plans.two]
        knobs = "drop"
    """
    environment = {
        "LLAMAGATE_PLANS__LAB__KNOBS__SHIFT": "",
        "LLAMAGATE_PLANS__LAB__KNOBS__SHIFTS": "drop",
        "LLAMAGATE_PLANS__LAB__KNOBS": "drop",
    }
    told = {mistake.key: (mistake.problem, mistake.cure) for mistake in mistakes(text, environment)}

    assert {
        "plans.lab.grants",
        "plans.lab.truncation",
        "plans.lab.pull.registry",
        "plans.lab.pull.namespaces",
        "plans.lab.knobs.num_ctxt",
        "plans.lab.knobs.num_gpu",
        "plans.lab.knobs.keep_alive",
        "plans.two.knobs",
        "LLAMAGATE_PLANS__LAB__KNOBS__SHIFT",
        "LLAMAGATE_PLANS__LAB__KNOBS__SHIFTS",
        "LLAMAGATE_PLANS__LAB__KNOBS",
    } == told.keys()
    assert "owner = true" in told["plans.lab.grants"][1]
    assert "did you mean num_ctx?" == told["plans.lab.knobs.num_ctxt"][1]
    assert "did you mean registries?" == told["plans.lab.pull.registry"][1]
    assert "did you mean LLAMAGATE_PLANS__LAB__KNOBS__SHIFT?" == told["LLAMAGATE_PLANS__LAB__KNOBS__SHIFTS"][1]
    assert ("should be a table", 'for instance { num_ctx = "drop" }') == told["plans.two.knobs"]
    assert '"allow", "drop", "refuse", { at_most = 4096 }' in told["plans.lab.knobs.num_gpu"][0]


def test_a_grant_is_the_owners_whoever_tells_it() -> None:
    (mistake,) = mistakes("[plans.lab]\nowner = false", {"LLAMAGATE_PLANS__LAB__GRANTS": "outbound"})

    assert "LLAMAGATE_PLANS__LAB__GRANTS" == mistake.key
    told = loaded("[plans.lab]\nowner = true", {"LLAMAGATE_PLANS__LAB__GRANTS": "outbound"})
    assert ("outbound",) == told.settings.plans["lab"].grants


@pytest.mark.parametrize("written", ["llama3.2:*, gemma3", '["llama3.2:*", "gemma3"]'])
def test_the_environment_can_write_part_of_a_plan(written: str) -> None:
    text = '[plans.lab]\nmodels = ["x"]\ncloud = true'
    told = loaded(text, {"LLAMAGATE_PLANS__LAB__MODELS": written})

    assert ("llama3.2:*", "gemma3") == told.settings.plans["lab"].models
    assert told.settings.plans["lab"].cloud
    assert "environment LLAMAGATE_PLANS__LAB__MODELS" == told.origins["plans.lab.models"]
    assert "llamagate.toml" == told.origins["plans.lab.cloud"]
    assert "plans.lab.grants" not in told.origins


def test_a_secret_can_stand_in_a_file_of_its_own() -> None:
    told = loaded('pepper = "ffffffffffffffffffffffffffffffff"', {"LLAMAGATE_PEPPER_FILE": "/run/pepper"})

    assert told.settings.pepper is not None
    assert PEPPER == told.settings.pepper.get_secret_value()
    assert "environment LLAMAGATE_PEPPER_FILE" == told.origins["pepper"]


def test_a_secret_told_twice_is_a_mistake() -> None:
    environment = {"LLAMAGATE_PEPPER_FILE": "/run/pepper", "LLAMAGATE_PEPPER": PEPPER}

    assert [
        Mistake("environment", "LLAMAGATE_PEPPER_FILE", "is set, and LLAMAGATE_PEPPER too", "set one of the two")
    ] == mistakes("", environment)


@pytest.mark.parametrize(("file", "problem"), [("/run/none", "No such file"), ("/run/noise", "not text")])
def test_a_secret_file_that_cannot_be_read_is_a_mistake(file: str, problem: str) -> None:
    (mistake,) = mistakes("", {"LLAMAGATE_DATABASE_URL_FILE": file})

    assert ("environment", "LLAMAGATE_DATABASE_URL_FILE") == (mistake.where, mistake.key)
    assert problem in mistake.problem


def test_every_mistake_is_told_at_once() -> None:
    text = """
        listne = "x"
        idle_timeout = "soon"
        [plans.lab]
        modles = []
        grants = ["read", "root"]
        [plans.Lab]
    """
    environment = {"LLAMAGATE_LISTNE": "x", "LLAMAGATE_MAX_BODY": "32M", "LLAMAGATE_PLANS__LAB__CLOUDS": "1"}
    told = mistakes(text, environment, {"listen": "nowhere"})

    assert {
        ("llamagate.toml", "listne"),
        ("llamagate.toml", "idle_timeout"),
        ("llamagate.toml", "plans.lab.modles"),
        ("llamagate.toml", "plans.lab.grants"),
        ("llamagate.toml", "plans.Lab"),
        ("environment", "LLAMAGATE_LISTNE"),
        ("environment", "LLAMAGATE_MAX_BODY"),
        ("environment", "LLAMAGATE_PLANS__LAB__CLOUDS"),
        ("command line", "--listen"),
    } == {(mistake.where, mistake.key) for mistake in told}
    assert all(mistake.problem and mistake.cure for mistake in told)


@pytest.mark.parametrize(
    ("cure", "text", "environment"),
    [
        ("did you mean listen?", 'listne = "x"', {}),
        ("did you mean idle_timeout?", "idle-timeout = 1", {}),
        ("did you mean models?", "[plans.lab]\nmodel = []", {}),
        ("did you mean LLAMAGATE_UPSTREAM?", "", {"LLAMAGATE_UPSTREM": "x"}),
        ("did you mean LLAMAGATE_PLANS__LAB__MODELS?", "", {"LLAMAGATE_PLANS__LAB__MODEL": "x"}),
    ],
)
def test_what_was_meant_is_guessed(cure: str, text: str, environment: Mapping[str, str]) -> None:
    assert [cure] == [mistake.cure for mistake in mistakes(text, environment)]


def test_a_mistake_is_blamed_on_the_place_that_made_it() -> None:
    (mistake,) = mistakes('idle_timeout = "5m"', {"LLAMAGATE_IDLE_TIMEOUT": "soon"})

    assert ("environment", "LLAMAGATE_IDLE_TIMEOUT") == (mistake.where, mistake.key)


def test_a_mistake_that_nobody_wrote_is_blamed_on_the_default() -> None:
    (mistake,) = mistakes('listen = "127.0.0.1:11434"')

    assert ("default", "upstream") == (mistake.where, mistake.key)
    assert "another" in mistake.cure


def test_bad_syntax_is_told_with_its_line_and_beside_other_mistakes() -> None:
    syntax, other = mistakes('listen = "h:1"\nupstream = \n', {"LLAMAGATE_LISTEN": "x"})

    assert ("llamagate.toml", "line 2, column 12") == (syntax.where, syntax.key)
    assert "LLAMAGATE_LISTEN" == other.key


def test_an_empty_variable_is_not_set_but_an_empty_list_of_models_is_a_mistake() -> None:
    (mistake,) = mistakes("", {"LLAMAGATE_LISTEN": "", "LLAMAGATE_PEPPER": "", "LLAMAGATE_PLANS__LAB__MODELS": ""})

    assert "LLAMAGATE_PLANS__LAB__MODELS" == mistake.key


def test_variables_that_are_not_ours_to_read_are_let_be() -> None:
    environment = {
        "LLAMAGATE_CONFIG": "x",
        "LLAMAGATE_VENV": "x",
        "LLAMAGATE_DOCTOR_KEY": "x",
        "LLAMAGATE_DOCTOR_PRIVATE": "x",
        "PATH": "x",
        "LLAMAGATE_SERVICE_HOST": "10.0.0.1",
        "LLAMAGATE_SERVICE_PORT_HTTP": "80",
        "LLAMAGATE_PORT": "tcp://10.0.0.1:80",
        "LLAMAGATE_PORT_80_TCP_ADDR": "10.0.0.1",
    }

    assert Settings() == loaded("", environment).settings
    assert 1 == len(mistakes("", {"LLAMAGATE_PORT": "80"}))


@pytest.mark.parametrize("text", ["plans = 3", "[plans]\nlab = 3", "[[plans]]", "plans.lab.models = 3", "[listen]"])
def test_the_wrong_kind_of_value_is_a_mistake_and_no_crash(text: str) -> None:
    assert 1 == len(mistakes(text))


def test_model_patterns_are_checked_and_made_canonical() -> None:
    def check(pattern: str) -> str:
        if "!" in pattern:
            raise ValueError("it shouts")
        return pattern.lower()

    def told(text: str) -> Loaded:
        return load(text=text, file="f", environment={}, flags={}, read_secret=read_secret, check_pattern=check)

    assert ("gemma3",) == told('[plans.lab]\nmodels = ["Gemma3"]').settings.plans["lab"].models
    with pytest.raises(Mistakes) as raised:
        told('listen = 1\n[plans.lab]\nmodels = ["ok", "no!"]')
    assert ["listen", "plans.lab.models"] == [mistake.key for mistake in raised.value.mistakes]


@pytest.mark.parametrize(
    "environment",
    [
        {"LLAMAGATE_PEPPER": "hush-hush"},
        {"LLAMAGATE_DATABASE_URL": "mysql://u:hush-hush@h/d"},
        {"LLAMAGATE_UPSTREAM": "http://u:hush-hush@h"},
        {"LLAMAGATE_REDIS_URL": "redis://u:hush-hush@h@h"},
        {"LLAMAGATE_REDIS_URL": "hush-hush"},
        {"LLAMAGATE_REDIS_URL": "redis://:hush@h"},
    ],
)
def test_a_mistake_does_not_repeat_a_secret(environment: Mapping[str, str]) -> None:
    with pytest.raises(Mistakes) as raised:
        loaded("", environment)

    assert "hush" not in raised.value.message
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_what_holds_is_shown_with_secrets_masked_and_where_it_came_from() -> None:
    environment = {"LLAMAGATE_PEPPER_FILE": "/run/pepper", "LLAMAGATE_DATABASE_URL": "postgresql://u:hush@h/d"}
    environment |= {"LLAMAGATE_REDIS_URL": "rediss://:hush@h"}
    rows = effective(loaded('drain_timeout = "90s"\n[plans.lab]\nmodels = []', environment))

    assert ("listen", "127.0.0.1:11435", "default") in rows
    assert ("drain_timeout", "1m30s", "llamagate.toml") in rows
    assert ("max_body", "32MiB", "default") in rows
    assert ("pepper", "********", "environment LLAMAGATE_PEPPER_FILE") in rows
    assert ("database_url", "********", "environment LLAMAGATE_DATABASE_URL") in rows
    assert ("redis_url", "********", "environment LLAMAGATE_REDIS_URL") in rows
    assert ("plans.lab.models", "(none)", "llamagate.toml") in rows
    assert ("plans.default.models", "*", "default") in rows
    assert "hush" not in repr(rows)


LIMITS = """
    [limits]
    concurrent = 16
    [limits.models."llama3.3:70b"]
    concurrent = 1
    [plans.lab.limits]
    requests_per_minute = 1024
    gpu_seconds_per_day = "2h"
    mode = "shadow"
    [plans.lab.limits.team.models."*"]
    tokens_per_day = 500000
"""


def test_what_is_said_of_limits_is_read_and_only_that_is_shown() -> None:
    environment = {
        "LLAMAGATE_LIMITS__CONCURRENT": "8",
        "LLAMAGATE_PLANS__LAB__LIMITS__USER__TOKENS_PER_DAY": "1000",
        "LLAMAGATE_TIME_ZONE": "Europe/Berlin",
    }
    rows = [row for row in effective(loaded(LIMITS, environment)) if "limits" in row[0] or row[0] == "time_zone"]

    assert [
        ("time_zone", "Europe/Berlin", "environment LLAMAGATE_TIME_ZONE"),
        ("limits.concurrent", "8", "environment LLAMAGATE_LIMITS__CONCURRENT"),
        ('limits.models."llama3.3:70b".concurrent', "1", "llamagate.toml"),
        ("plans.lab.limits.requests_per_minute", "1024", "llamagate.toml"),
        ("plans.lab.limits.gpu_seconds_per_day", "2h", "llamagate.toml"),
        ("plans.lab.limits.mode", "shadow", "llamagate.toml"),
        (
            "plans.lab.limits.user.tokens_per_day",
            "1000",
            "environment LLAMAGATE_PLANS__LAB__LIMITS__USER__TOKENS_PER_DAY",
        ),
        ('plans.lab.limits.team.models."*".tokens_per_day', "500000", "llamagate.toml"),
    ] == rows


def test_every_mistake_in_limits_is_told_at_once_with_what_would_be_right() -> None:
    text = """
        time_zone = "../etc/passwd"
        replicas = 0
        [limits]
        concurent = 1
        request_burst = 5
        [limits.user]
        concurrent = 1
        [plans.lab.limits]
        requests_per_minute = 0
        request_burst = 5
        [plans.lab.limits.user.models."llama3.3:70b"]
        concurrent = 1.0
        mode = "shadow"
        [plans.two]
        limits = 3
        [plans.three.limits.models]
        "gemma3" = 1
    """
    environment = {
        "LLAMAGATE_LIMIT__CONCURRENT": "1",
        "LLAMAGATE_LIMITS__CONCURRENT": "",
        "LLAMAGATE_LIMITS__MODELS__GEMMA3__CONCURRENT": "1",
        "LLAMAGATE_PLANS__LAB__LIMITS": "1",
        "LLAMAGATE_PLANS__LAB__LIMITS__USER__TOKENS_A_DAY": "1",
    }
    told = {mistake.key: (mistake.problem, mistake.cure) for mistake in mistakes(text, environment)}
    whole = "should be a whole number from 1 to"

    assert {
        "time_zone": ("is not a time zone that this machine knows", "for instance Europe/Berlin"),
        "replicas": (f"{whole} 1000", "for instance 3"),
        "limits.concurent": ("is not a setting", "did you mean concurrent?"),
        "limits.request_burst": (
            "needs requests_per_minute in the same table, at which it comes back",
            "say both, or leave the burst out",
        ),
        "limits.user": ("is not a setting", told["limits.user"][1]),
        "plans.lab.limits.requests_per_minute": (
            f"{whole} 100000000",
            "for instance 30, or leave it out for no limit",
        ),
        'plans.lab.limits.user.models."llama3.3:70b".concurrent': (
            f"{whole} 1000000",
            "for instance 2, or leave it out for no limit",
        ),
        'plans.lab.limits.user.models."llama3.3:70b".mode': (
            "is not a setting",
            told['plans.lab.limits.user.models."llama3.3:70b".mode'][1],
        ),
        "plans.two.limits": ("should be a table", "for instance { requests_per_minute = 30 }"),
        "plans.three.limits.models.gemma3": (
            "should be a table",
            'for instance "llama3.3:70b" = { concurrent = 1 }',
        ),
        "LLAMAGATE_LIMIT__CONCURRENT": ("is not a setting", "did you mean LLAMAGATE_LIMITS__CONCURRENT?"),
        "LLAMAGATE_LIMITS__CONCURRENT": (f"{whole} 1000000", "for instance 2, or leave it out for no limit"),
        "LLAMAGATE_LIMITS__MODELS__GEMMA3__CONCURRENT": ("cannot name the pattern of a model", "write it in the file"),
        "LLAMAGATE_PLANS__LAB__LIMITS": ("is not a setting", told["LLAMAGATE_PLANS__LAB__LIMITS"][1]),
        "LLAMAGATE_PLANS__LAB__LIMITS__USER__TOKENS_A_DAY": (
            "is not a setting",
            "did you mean LLAMAGATE_PLANS__LAB__LIMITS__USER__TOKENS_PER_DAY?",
        ),
    } == told
    assert told["limits.user"][1].startswith("there are requests_per_minute, ")


def test_the_patterns_of_limits_are_checked_and_made_canonical() -> None:
    def check(pattern: str) -> str:
        if not pattern or "!" in pattern:
            raise ValueError(f"{pattern!r} is no pattern")
        return pattern.lower().removesuffix(":latest")

    def told(text: str) -> Loaded:
        return load(text=text, file="f", environment={}, flags={}, read_secret=read_secret, check_pattern=check)

    good = told('[limits.models."Gemma3:latest"]\nconcurrent = 1\n[plans.lab.limits.user.models.A]\nconcurrent = 2')
    with pytest.raises(Mistakes) as raised:
        told("""
            [limits.models]
            "no!" = { concurrent = 1 }
            "" = { concurrent = 1 }
            [plans.lab.limits.team.models]
            gemma3 = { concurrent = 1 }
            "gemma3:latest" = { concurrent = 2 }
            [plans.lab.limits.user.models]
            gemma3 = { concurrent = 1 }
        """)

    assert ["gemma3"] == list(good.settings.limits.models)
    assert ["a"] == list(good.settings.plans["lab"].limits.user.models)
    assert "f" == good.origins["limits.models.gemma3.concurrent"]
    assert [
        ('limits.models."no!"', "'no!' is no pattern"),
        ('limits.models.""', "'' is no pattern"),
        ('plans.lab.limits.team.models."gemma3:latest"', "is the same pattern as 'gemma3'"),
    ] == [(mistake.key, mistake.problem) for mistake in raised.value.mistakes]


LEDGER = """
    [ledger]
    keep = "90d"
    watts = 350
    [prices."llama3.2:*"]
    prompt = 0.10
    completion = 0.0000004
    [prices."*"]
    gpu_second = 0
    [elsewhere]
    prompt = 2.5
"""


def test_what_is_said_of_the_ledger_and_of_prices_is_read_and_shown() -> None:
    environment = {
        "LLAMAGATE_LEDGER__REQUIRED": "false",
        "LLAMAGATE_LEDGER__SPOOL": "1GiB",
        "LLAMAGATE_LEDGER__USAGE_LOG_KEEP": "forever",
        "LLAMAGATE_LEDGER__CURRENCY": "USD",
        "LLAMAGATE_ELSEWHERE__COMPLETION": "10.00",
    }
    told = loaded(LEDGER, environment)
    rows = [row for row in effective(told) if row[0].startswith(("ledger", "prices", "elsewhere"))]

    assert [
        ("ledger.required", "false", "environment LLAMAGATE_LEDGER__REQUIRED"),
        ("ledger.spool", "1GiB", "environment LLAMAGATE_LEDGER__SPOOL"),
        ("ledger.keep", "90d", "llamagate.toml"),
        ("ledger.usage_log", "false", "default"),
        ("ledger.usage_log_keep", "forever", "environment LLAMAGATE_LEDGER__USAGE_LOG_KEEP"),
        ("ledger.hash_addresses", "false", "default"),
        ("ledger.currency", "USD", "environment LLAMAGATE_LEDGER__CURRENCY"),
        ("ledger.watts", "350", "llamagate.toml"),
        ('prices."llama3.2:*".prompt', "0.1", "llamagate.toml"),
        ('prices."llama3.2:*".completion', "4E-7", "llamagate.toml"),
        ('prices."*".gpu_second', "0", "llamagate.toml"),
        ("elsewhere.prompt", "2.5", "llamagate.toml"),
        ("elsewhere.completion", "10.00", "environment LLAMAGATE_ELSEWHERE__COMPLETION"),
    ] == rows
    assert {"llama3.2:*": (0.1, 4e-07, 0.0), "*": (0.0, 0.0, 0.0)} == told.settings.price_table()


def test_every_mistake_of_the_ledger_and_of_prices_is_told_at_once_with_what_would_be_right() -> None:
    text = """
        [ledger]
        keep = "1m"
        spool = "1KiB"
        currency = "EUR 2"
        watts = 0
        requierd = true
        [prices."llama3.2:*"]
        prompt = -1
        promt = 1
        [prices]
        gemma3 = 1
    """
    environment = {
        "LLAMAGATE_LEDGER__USAGE_LOG": "sometimes",
        "LLAMAGATE_LEDGER__HASH_ADDRESS": "true",
        "LLAMAGATE_LEDGER": "x",
        "LLAMAGATE_PRICES__GEMMA3__PROMPT": "1",
        "LLAMAGATE_ELSEWHERE__PROMPT": "",
    }
    told = {mistake.key: (mistake.problem, mistake.cure) for mistake in mistakes(text, environment)}

    assert {
        "ledger.keep": ("should be an hour or more, or forever", "for instance 90d"),
        "ledger.spool": ("should be greater than or equal to 1048576", "for instance 256MiB"),
        "ledger.currency": ("should be 1 to 8 letters", "for instance EUR"),
        "ledger.watts": ("should be a number above 0 and up to 1000000", "for instance 350"),
        "ledger.requierd": ("is not a setting", "did you mean required?"),
        'prices."llama3.2:*".prompt': ("should be a number from 0 to 1000000000", "for instance 0.10"),
        'prices."llama3.2:*".promt': ("is not a setting", "did you mean prompt?"),
        "prices.gemma3": (
            "should be a table",
            'for instance "llama3.2:*" = { prompt = 0.10, completion = 0.40 }',
        ),
        "LLAMAGATE_LEDGER__USAGE_LOG": (told["LLAMAGATE_LEDGER__USAGE_LOG"][0], "for instance true"),
        "LLAMAGATE_LEDGER__HASH_ADDRESS": (
            "is not a setting",
            "did you mean LLAMAGATE_LEDGER__HASH_ADDRESSES?",
        ),
        "LLAMAGATE_LEDGER": ("is not a setting", told["LLAMAGATE_LEDGER"][1]),
        "LLAMAGATE_PRICES__GEMMA3__PROMPT": ("cannot name the pattern of a model", "write it in the file"),
        "LLAMAGATE_ELSEWHERE__PROMPT": ("should be a number from 0 to 1000000000", "for instance 2.50"),
    } == told


def test_the_patterns_of_prices_are_checked_and_made_canonical() -> None:
    def check(pattern: str) -> str:
        if not pattern or "!" in pattern:
            raise ValueError(f"{pattern!r} is no pattern")
        return pattern.lower().removesuffix(":latest")

    def told(text: str) -> Loaded:
        return load(text=text, file="f", environment={}, flags={}, read_secret=read_secret, check_pattern=check)

    good = told('[prices."Gemma3:latest"]\nprompt = 1\n[prices.B]\nprompt = 2')
    with pytest.raises(Mistakes) as raised:
        told('[prices]\n"no!" = { prompt = 1 }\n"" = {}\ngemma3 = {}\n"gemma3:latest" = { prompt = 2 }')

    assert ["gemma3", "b"] == list(good.settings.prices)
    assert "f" == good.origins["prices.gemma3.prompt"]
    assert [
        ('prices."no!"', "'no!' is no pattern"),
        ('prices.""', "'' is no pattern"),
        ('prices."gemma3:latest"', "is the same pattern as 'gemma3'"),
    ] == [(mistake.key, mistake.problem) for mistake in raised.value.mistakes]


def test_a_redis_that_is_open_to_all_has_to_be_meant() -> None:
    (mistake,) = mistakes("", {"LLAMAGATE_REDIS_URL": "redis://redis.lan"})

    assert "LLAMAGATE_REDIS_URL" == mistake.key
    assert "redis_insecure = true" in mistake.cure
    assert loaded("redis_insecure = true", {"LLAMAGATE_REDIS_URL": "redis://redis.lan"}).settings.redis_url


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-10, 10**6), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "",
                    *"lab models cloud grants knobs pull num_ctx at_most limits user mode concurrent X".split(),
                    *"required spool keep watts prompt gpu_second".split(),
                ]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
KEYS = st.one_of(st.sampled_from(list(Settings.model_fields)), st.text("abc_", min_size=1, max_size=5))


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return str(value).lower()


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_the_file_says_it_is_settings_or_mistakes(tables: Mapping[str, object]) -> None:
    text = "\n".join(f"{key} = {as_toml(value)}" for key, value in tables.items())
    tomllib.loads(text)
    try:
        told = loaded(text)
    except Mistakes as error:
        rows = [str(mistake) for mistake in error.mistakes]
    else:
        rows = [key for key, _, _ in effective(told)]

    assert rows


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "LISTEN",
                "PLANS",
                "PLANS__A__MODELS",
                "PLANS__A__KNOBS",
                "PLANS__A__KNOBS__SHIFT",
                "PLANS____MODELS",
                "PLANS__A__LIMITS",
                "PLANS__A__LIMITS__USER__CONCURRENT",
                "LIMITS__MODELS__A__CONCURRENT",
                "LIMITS____",
                "LEDGER",
                "LEDGER__SPOOL",
                "LEDGER__KEEP",
                "LEDGER__WATTS",
                "PRICES__A__PROMPT",
                "ELSEWHERE__PROMPT",
                "_",
                "",
            ]
        ),
        st.text(),
    )
)
def test_whatever_the_environment_says_it_is_settings_or_mistakes(variables: Mapping[str, str]) -> None:
    try:
        told = loaded("", {f"LLAMAGATE_{name}": value for name, value in variables.items()})
    except Mistakes as error:
        rows = [str(mistake) for mistake in error.mistakes]
    else:
        rows = [key for key, _, _ in effective(told)]

    assert rows


def test_several_processes_without_a_redis_are_a_mistake_with_its_cure() -> None:
    (mistake,) = mistakes("workers = 2")

    assert ("llamagate.toml", "workers") == (mistake.where, mistake.key)
    assert "needs redis_url" in mistake.problem
    assert "redis_url" in mistake.cure


def test_a_redis_that_is_a_mistake_is_told_once() -> None:
    (mistake,) = mistakes('workers = 2\nredis_url = "hush"')

    assert "redis_url" == mistake.key


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000], ids=["deep", "long"])
def test_a_file_that_no_parser_gets_through_is_a_mistake(text: str) -> None:
    (mistake,) = mistakes(text)

    assert "is not TOML that can be read" in mistake.problem
