from dataclasses import replace

import pytest
from pydantic import SecretStr, ValidationError

from proxy.config.plans import PlanSettings
from proxy.config.settings import Settings
from proxy.vocabulary import Allowance, Level, Limits, Plan, RedisAddress, Risk

PEPPER = "0123456789abcdef" * 4


def test_told_nothing_the_gate_listens_on_this_machine_only() -> None:
    settings = Settings()

    assert ("127.0.0.1", 11435) == (settings.host, settings.port)
    assert not settings.public
    assert "http://127.0.0.1:11434" == settings.upstream
    assert 600.0 == settings.first_byte_timeout
    assert 32 * 2**20 == settings.max_body


def test_the_environment_is_not_read_behind_our_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN", "0.0.0.0:1")
    monkeypatch.setenv("LLAMAGATE_LISTEN", "0.0.0.0:1")

    assert "127.0.0.1:11435" == Settings().listen


@pytest.mark.parametrize(
    "text",
    ["", "11435", ":11435", "127.0.0.1", "::1:80", "[::1]", "[x]:80", "h:65536", "h:-1", "h:٣", "a b:1", "h\n:1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Settings(listen=text)


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.168.0.2:1", "box.lan:1"])
def test_an_address_that_others_can_reach_is_public(listen: str) -> None:
    assert Settings(listen=listen).public


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_an_address_of_this_machine_only_is_not_public(listen: str) -> None:
    assert not Settings(listen=listen).public


@pytest.mark.parametrize(
    ("address", "listen"),
    [
        ("http://127.0.0.1:1", "0.0.0.0:1"),
        ("http://[::1]:1", "[::]:1"),
        ("http://[fd00::1]:1", "[fd00::1]:1"),
        ("http://box:1", "box:1"),
    ],
)
def test_the_address_that_is_told_can_be_called(address: str, listen: str) -> None:
    assert address == Settings(listen=listen).address


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11434",
        "ftp://host",
        "http://",
        "http://host/v1",
        "http://host?x=1",
        "http://host?",
        "http://host#x",
        "http://user:word@host",
        "http://host:0",
        "http://host:99999",
        "http://ho st",
        "http://host\r\n",
        "http://[::1",
        "unix:",
        "unix:ollama.sock",
        "unix://host/ollama.sock",
        "unix:/run/ollama.sock?",
        "unix:/run/%6f",
    ],
)
def test_what_is_no_upstream_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(upstream=url)


def test_a_slash_at_the_end_of_the_upstream_is_dropped() -> None:
    assert "https://gpu.lan" == Settings(upstream="https://gpu.lan/").upstream


@pytest.mark.parametrize("url", ["unix:/run/ollama.sock", "unix:///run/ollama.sock"])
def test_an_upstream_may_be_a_socket_in_the_file_system(url: str) -> None:
    assert "unix:/run/ollama.sock" == Settings(upstream=url).upstream


@pytest.mark.parametrize(
    ("listen", "upstream"),
    [
        ("127.0.0.1:80", "http://localhost"),
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("box:443", "https://box"),
        ("[::1]:11434", "http://[::1]:11434"),
    ],
)
def test_a_gate_in_front_of_itself_is_refused(listen: str, upstream: str) -> None:
    with pytest.raises(ValidationError, match="itself"):
        Settings(listen=listen, upstream=upstream)


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        ("sqlite+aiosqlite:////var/x.db", "sqlite:////var/x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgres://u:p@h/d"),
    ],
)
def test_a_database_is_reached_by_the_driver_we_use(driver: str, url: str) -> None:
    assert driver == Settings(database_url=SecretStr(url)).database


@pytest.mark.parametrize("path", ["/srv/what?", "/srv/gate?mode=ro/state", "~nobody-of-here/gate", "a\0b"])
def test_what_is_no_state_directory_is_refused(path: str) -> None:
    """A question mark would end the name of the database's file in its URL, and keys would go elsewhere."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"state_dir": path})


def test_without_a_database_there_is_a_file_in_the_state_directory() -> None:
    settings = Settings.model_validate({"state_dir": "/srv/gate"})

    assert "sqlite+aiosqlite:////srv/gate/llamagate.db" == settings.database


@pytest.mark.parametrize("url", ["", "x", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://u:hush@h/d"])
def test_what_is_no_database_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=SecretStr(url))

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("pepper", ["", "short", "changeme" * 8, "x" * 64, "please-Change-Me-0123456789abcdefgh"])
def test_a_pepper_that_can_be_guessed_is_refused_and_not_repeated(pepper: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(pepper=SecretStr(pepper))

    assert not pepper or pepper not in str(refused.value)


def test_a_redis_is_found_by_its_url() -> None:
    assert None is Settings().redis
    assert RedisAddress((("127.0.0.1", 6379),)) == Settings(redis_url=SecretStr("redis://127.0.0.1")).redis


@pytest.mark.parametrize("url", ["", "redis://redis.lan", "redis://127.0.0.1,h", "redis://:hush@redis.lan", "hush"])
def test_a_redis_that_is_none_or_open_to_all_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(redis_url=SecretStr(url))

    assert "hush" not in str(refused.value)
    assert ".lan" not in str(refused.value)


def test_a_redis_may_be_open_to_all_where_that_is_meant() -> None:
    assert Settings(redis_url=SecretStr("redis://redis.lan"), redis_insecure=True).redis


def test_what_holds_without_a_redis_can_be_said_without_one() -> None:
    settings = Settings.model_validate({"on_redis_failure": "Refuse", "replicas": "3"})

    assert ("refuse", 3, None) == (settings.on_redis_failure, settings.replicas, settings.redis)


@pytest.mark.parametrize(
    "told", [{"replicas": 0}, {"replicas": 1001}, {"replicas": True}, {"on_redis_failure": "open"}]
)
def test_what_makes_no_sense_of_several_gates_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(told)


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings(pepper=SecretStr(PEPPER), database_url=SecretStr("postgresql://u:hush@h/d"))
    settings = settings.model_copy(update={"redis_url": SecretStr("rediss://:hush@h")})

    assert PEPPER not in repr(settings)
    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.redis)


@pytest.mark.parametrize("value", [0, -1, True, float("inf"), float("nan"), "0s", None, ["5s"]])
def test_a_timeout_is_some_time(value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"idle_timeout": value})


def test_the_default_plan_exists_without_being_written() -> None:
    table = Settings(plans={"lab": PlanSettings(models=("gemma3",), grants=(Risk.READ,), cloud=True)}).plan_table()

    assert {
        "default": Plan("default"),
        "lab": Plan("lab", frozenset({Risk.READ}), ("gemma3",), cloud=True),
    } == table


def test_the_default_plan_can_be_written_otherwise() -> None:
    table = Settings(plans={"default": PlanSettings(grants=(Risk.HEALTH,))}).plan_table()

    assert {"default": Plan("default", frozenset({Risk.HEALTH}))} == table


@pytest.mark.parametrize("name", ["", "Lab", "a b", "a__b", "-a", "a\n", "a" * 65, "ä"])
def test_a_plan_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings(plans={name: PlanSettings()})


def test_the_limits_of_everybody_are_in_every_plan_after_its_own() -> None:
    settings = Settings.model_validate(
        {
            "time_zone": "Europe/Berlin",
            "limits": {"concurrent": 16, "mode": "shadow"},
            "plans": {
                "lab": {"time_zone": "Asia/Tokyo", "limits": {"team": {"concurrent": 2}}},
                "two": {"limits": {"concurrent": 1}},
            },
        }
    )
    everybodys = Allowance(Level.EVERYBODY, Limits(concurrent=16), shadow=True, time_zone="Europe/Berlin")
    own = {
        "lab": Allowance(Level.TEAM, Limits(concurrent=2), time_zone="Asia/Tokyo"),
        "two": Allowance(Level.KEY, Limits(concurrent=1), time_zone="Europe/Berlin"),
    }

    hows = Allowance(Level.KEY, Limits(), time_zone="Europe/Berlin")

    assert {
        "default": (hows, everybodys),
        "lab": (replace(hows, time_zone="Asia/Tokyo"), own["lab"], everybodys),
        "two": (own["two"], everybodys),
    } == {name: plan.allowances for name, plan in settings.plan_table().items()}


def test_what_things_cost_is_handed_over_in_plain_numbers() -> None:
    settings = Settings.model_validate(
        {
            "prices": {"a": {"prompt": "0.1", "completion": 0.4}, "b": {"gpu_second": 1}},
            "elsewhere": {"completion": "10.00"},
            "ledger": {"watts": "350"},
        }
    )

    assert {"a": (0.1, 0.4, 0.0), "b": (0.0, 0.0, 1.0)} == settings.price_table()
    assert ((0.0, 10.0), 350.0) == (settings.reference_price, settings.watts)
    assert ["a", "b"] == list(settings.price_table())


def test_told_nothing_nothing_costs_anything() -> None:
    assert ({}, None, None) == (Settings().price_table(), Settings().reference_price, Settings().watts)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:changeme@h/d",
        "postgresql://u:change%6De@h/d",
        "postgresql://h/d?user=u&password=changeme",
        "postgresql://changeme:password@[::1]:5432/d",
    ],
)
def test_a_database_with_a_placeholder_for_a_password_is_refused_and_never_quoted(url: str) -> None:
    with pytest.raises(ValidationError, match="placeholder") as raised:
        Settings(database_url=SecretStr(url))

    assert url not in str(raised.value)
    assert "change" not in str(raised.value)


@pytest.mark.parametrize("url", ["postgresql://u:p@h/d", "postgresql://u@h/changeme", "postgresql://changeme@h/d"])
def test_a_short_password_may_not_be_the_owners_to_choose(url: str) -> None:
    assert Settings(database_url=SecretStr(url)).database_url


@pytest.mark.parametrize(
    "url",
    [
        "rediss://gate:changeme@redis.lan",
        "redis://:password@127.0.0.1",
        "rediss+sentinel://:good-enough-9@a/main?sentinel_password=changeme",
    ],
)
def test_a_redis_with_a_placeholder_for_a_password_is_refused_and_never_quoted(url: str) -> None:
    with pytest.raises(ValidationError, match="placeholder") as raised:
        Settings(redis_url=SecretStr(url))

    assert url not in str(raised.value)


def test_the_admin_listener_has_an_address_of_its_own() -> None:
    with pytest.raises(ValidationError, match="an address of its own"):
        Settings(listen="127.0.0.1:9", admin_listen="127.0.0.1:9")

    assert "127.0.0.1:0" == Settings(listen="127.0.0.1:0", admin_listen="127.0.0.1:0").admin_listen


@pytest.mark.parametrize(("address", "is_public"), [(None, False), ("localhost:1", False), ("0.0.0.0:1", True)])
def test_an_admin_listener_on_loopback_is_not_public(address: str | None, is_public: bool) -> None:
    assert is_public == Settings(admin_listen=address).admin_public


def test_one_process_answers_unless_more_can_count_together() -> None:
    shared = {"redis_url": "redis://127.0.0.1"}

    assert 1 == Settings().workers
    assert 4 == Settings.model_validate({**shared, "workers": "4"}).workers
    assert 1 == Settings.model_validate({"workers": 1}).workers
    with pytest.raises(ValidationError, match="needs redis_url: without a Redis each process would grant every limit"):
        Settings.model_validate({"workers": 2})
    with pytest.raises(ValidationError, match="whole number from 1 to 256"):
        Settings.model_validate({**shared, "workers": 257})
