import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.config.load import Loaded, load
from proxy.config.settings import Settings
from proxy.doctor.findings import Finding
from proxy.doctor.gate import Gate, Ledger
from proxy.doctor.looking.everything import Means, inside, outside
from tests.conftest import Gate as RunningGate
from tests.doctor.looking.ollama_server import FakeOllama, running
from tests.doctor.looking.proxies import Habits, proxy
from tests.fakes.redis import NewRedis, free_port

PASSWORD = "rather-long-pw-7f3a"


async def idle(settings: Settings) -> Gate:
    return Gate(settings.address, settings.listen)


async def busy(settings: Settings) -> Gate:
    return Gate(settings.address, settings.listen, is_running=True, ledger=Ledger())


def means(**told: Any) -> Means:
    return Means(
        **{
            "now": lambda: datetime.now(UTC),
            "clock": time.monotonic,
            "running": idle,
            "addresses": lambda: ["127.0.0.2"],
            **told,
        }
    )


def loaded(folder: Path, **told: str) -> Loaded:
    environment: Mapping[str, str] = {f"LLAMAGATE_{name.upper()}": value for name, value in told.items()}
    return load(
        text=None,
        file=None,
        environment={"LLAMAGATE_STATE_DIR": str(folder), **environment},
        flags={},
        read_secret=lambda path: Path(path).read_text(),
    )


def names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


def bad(findings: list[Finding]) -> dict[str, str]:
    return {one.id: one.severity.value for one in findings if one.severity.value not in ("ok", "info")}


async def test_with_nothing_there_it_tells_what_is_missing_and_touches_nothing(tmp_path: Path) -> None:
    upstream = f"http://127.0.0.1:{free_port()}"
    found = await inside(loaded(tmp_path / "state", upstream=upstream), means())

    assert {"ollama.reachable": "critical", "gate.running": "warning"} == bad(found)
    assert [] == names_in(tmp_path)


async def test_where_all_is_well_nothing_bad_is_told(tmp_path: Path, migrated: Path, new_redis: NewRedis) -> None:
    redis = new_redis("appendonly yes", password=PASSWORD)
    async with running(FakeOllama()) as ollama:
        told = loaded(tmp_path, upstream=ollama.url, redis_url=redis.url, database_url=f"sqlite:///{migrated}")
        found = await inside(told, means(running=busy))

    assert {"gate.keys": "warning"} == bad(found)
    assert {"redis.reachable", "database.reachable", "clock.redis", "gate.ledger", "machine.disk"} <= {
        one.id for one in found
    }
    assert PASSWORD not in str(found)


async def test_all_that_hangs_together_takes_no_longer_than_one_of_them(tmp_path: Path, new_redis: NewRedis) -> None:
    redis = new_redis()
    async with running(FakeOllama(is_mute=True)) as ollama, running(FakeOllama(is_mute=True)) as other:
        url = f"postgresql://gate:{PASSWORD}@127.0.0.1:{other.port}/x"
        told = loaded(tmp_path, upstream=ollama.url, redis_url=redis.url, database_url=url)
        with redis.paused():
            began = time.monotonic()
            found = await inside(told, means(patience=0.5))
            took = time.monotonic() - began

    assert {"ollama.reachable", "redis.reachable", "database.reachable"} <= bad(found).keys()
    assert took < 3
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("told", "id"),
    [({"listen": "0.0.0.0:11435"}, "gate.tls"), ({"admin_listen": "0.0.0.0:11436"}, "gate.admin")],
)
async def test_what_the_settings_open_to_others_is_told(tmp_path: Path, told: dict[str, str], id: str) -> None:
    async def open_(settings: Settings) -> Gate:
        return Gate(
            settings.address,
            settings.listen,
            is_readable=settings.readable,
            admin_listen=settings.admin_listen,
            admin_public=settings.admin_public,
        )

    upstream = f"http://127.0.0.1:{free_port()}"
    found = await inside(loaded(tmp_path, upstream=upstream, **told), means(running=open_))

    assert id in bad(found)


@pytest.mark.parametrize(
    ("private", "severity"), [(["127.1", "10.211.44.3"], "info"), (["127.1"], "warning"), ([], "warning")]
)
async def test_what_goes_plainly_over_a_network_that_was_told_to_be_its_own_is_a_note(
    tmp_path: Path, new_redis: NewRedis, private: list[str], severity: str
) -> None:
    """As in compose. 127.1 is loopback to the system, and some host to the doctor."""
    redis = new_redis("appendonly yes", password=PASSWORD)
    url = redis.url.replace("127.0.0.1", "127.1")
    upstream = f"http://127.0.0.1:{free_port()}"

    async def open_(settings: Settings) -> Gate:
        return Gate(
            settings.address, settings.listen, admin_listen=settings.admin_listen, admin_public=settings.admin_public
        )

    told = loaded(tmp_path, upstream=upstream, redis_url=url, admin_listen="10.211.44.3:11436")
    found = {one.id: one.severity for one in await inside(told, means(running=open_, private=frozenset(private)))}

    assert severity == found["gate.admin"]
    assert ("info" if private else "warning") == found["redis.tls"]


async def test_from_outside_the_way_to_the_gate_is_looked_at(gate: RunningGate) -> None:
    async with proxy(gate.standing.address, Habits(drops="authorization")) as url:
        found = await outside(url, gate.key, 0.0, means())

    assert {"front.key": "critical"} == bad(found)
    assert gate.key not in str(found)


async def test_from_outside_a_url_must_be_one() -> None:
    with pytest.raises(ValueError, match="http"):
        await outside("gate.example", None, 0.0, means())
