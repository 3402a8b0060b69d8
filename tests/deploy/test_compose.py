"""What `docker compose up` would start: its security for every profile and override, and what can be run of it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as NotYet

from proxy import __version__
from proxy.config import keys
from proxy.config.load import load
from proxy.config.redis_url import redis_address
from proxy.config.settings import Settings
from proxy.doctor.looking import database as looking_at_databases
from proxy.doctor.looking import redis as looking
from proxy.doctor.redis import findings
from proxy.policy.models import canonical_pattern
from tests.conftest import OpenGate
from tests.deploy.compose import MAIN, OVERRIDES, ROOT, Missing, filled, networks_of, project, variables_in
from tests.deploy.dockerfile import stages
from tests.doctor.shown import shown
from tests.end_to_end.processes import until
from tests.fakes.answers import NATIVE_LINES, NDJSON, question
from tests.fakes.redis import free_port, program
from tests.fakes.upstream import RecordingUpstream, whole

PASSWORD = "3f9c2b7e5d1a4c6b8e0f2a4c6e8b0d1f"
VARIABLES = {
    "REDIS_PASSWORD": PASSWORD,
    "POSTGRES_PASSWORD": "71cd0b92e8",
    "GRAFANA_PASSWORD": "5b1e77a0c4",
    "LLAMAGATE_DOMAIN": "gate.example.org",
}
PROFILES = ("tls", "postgres", "observe", "pull")
FILES = ("nvidia", "amd", "host-ollama", "online")
ENV = (ROOT / ".env.example").read_text()
START_SECONDS = 20.0
PUBLISHED = {"gate": "127.0.0.1", "grafana": "127.0.0.1", "caddy": ""}
"""Who has a port on this machine, and at which of its addresses; Caddy alone is for everybody."""

EVERY = [
    (files, profiles)
    for files in [(), *((one,) for one in FILES), ("nvidia", "online")]
    for count in range(len(PROFILES) + 1)
    for profiles in combinations(PROFILES, count)
]
WAYS = pytest.mark.parametrize(("files", "profiles"), EVERY, ids=lambda words: "+".join(words) or "plain")


def everything() -> dict[str, Any]:
    return project(VARIABLES, profiles=PROFILES)


@WAYS
def test_whatever_is_started_is_shut_in(files: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    services = project(VARIABLES, *files, profiles=profiles)["services"]

    for name, one in services.items():
        assert one["read_only"] is True, name
        assert ["ALL"] == one["cap_drop"], name
        assert (["NET_BIND_SERVICE"] if name == "caddy" else []) == one.get("cap_add", []), name
        assert ["no-new-privileges:true"] == one["security_opt"], name
        assert not {"privileged", "pid", "ipc", "network_mode", "userns_mode"} & one.keys(), name
        assert {"memory", "pids"} <= one["deploy"]["resources"]["limits"].keys(), name
        assert ("no" if name == "pull" else "unless-stopped") == one["restart"], name
        assert [] == [volume for volume in one.get("volumes", []) if "docker.sock" in volume], name
        assert [] == [
            volume for volume in one.get("volumes", []) if volume.startswith("./") and not volume.endswith(":ro")
        ]
        assert not re.search(r":latest$|^[^:@]+$", one["image"]), name
        assert name == "pull" or one["healthcheck"]["interval"], name


@WAYS
def test_only_the_gate_reaches_ollama_and_nobody_from_outside(
    files: tuple[str, ...], profiles: tuple[str, ...]
) -> None:
    whole = project(VARIABLES, *files, profiles=profiles)
    services, networks = whole["services"], whole["networks"]
    if "host-ollama" in files:
        assert "ollama" not in services
        return
    ollama = services["ollama"]

    assert "ports" not in ollama
    assert {"gate", "ollama"} == {name for network in ollama["networks"] for name in networks_of(services, network)}
    assert ["model"] == [name for name in ollama["networks"] if name != "pulling"]
    assert networks["model"]["internal"] is True
    assert ("online" in files) == ("pulling" in ollama["networks"])


@WAYS
def test_nothing_is_published_but_the_doors(files: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    services = project(VARIABLES, *files, profiles=profiles)["services"]
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}

    assert published.keys() <= PUBLISHED.keys()
    for name, ports in published.items():
        addresses = {port.rpartition(":")[0].rpartition(":")[0] for port in ports}
        assert {PUBLISHED[name]} == addresses, name


def test_what_holds_records_has_no_way_out_and_only_the_gate_beside_it() -> None:
    whole = everything()
    services = whole["services"]

    assert {"redis": {"store": None}, "postgres": {"store": None}} == {
        name: services[name]["networks"] for name in ("redis", "postgres")
    }
    assert ["gate", "postgres", "redis"] == networks_of(services, "store")
    assert {"model", "store", "graphs", "proxied", "watched"} == {
        name for name, one in whole["networks"].items() if one.get("internal")
    }


def test_postgresql_is_healthy_once_it_is_asked_as_the_gate_asks_and_not_while_it_makes_its_database() -> None:
    """Its image makes the database with a server that listens on its socket alone, and stops that one again."""
    command = everything()["services"]["postgres"]["healthcheck"]["test"]

    assert "--host=127.0.0.1" in command


def test_whom_the_gate_believes_is_caddy_and_nobody_else_can_be_at_its_address() -> None:
    whole = everything()
    services = whole["services"]
    caddy, gate = (services[name]["networks"]["proxied"]["ipv4_address"] for name in ("caddy", "gate"))
    (net,) = whole["networks"]["proxied"]["ipam"]["config"]

    assert caddy == services["gate"]["environment"]["LLAMAGATE_TRUSTED_PROXIES"]
    assert ["caddy", "gate"] == networks_of(services, "proxied")
    assert f"{gate}:11435" == services["caddy"]["environment"]["GATE"]
    assert ("10.211.43.0/28", "10.211.43.1", "10.211.43.8/29") == (net["subnet"], net["gateway"], net["ip_range"])


def test_metrics_are_told_where_only_prometheus_is() -> None:
    services = everything()["services"]
    address = services["gate"]["networks"]["watched"]["ipv4_address"]
    scraped = yaml.safe_load((OVERRIDES / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]

    assert f"{address}:11436" == services["gate"]["environment"]["LLAMAGATE_ADMIN_LISTEN"]
    assert ["gate", "prometheus"] == networks_of(services, "watched")
    assert [{"targets": ["gate:11436"]}] == scraped["static_configs"]


def settings_of(services: dict[str, Any]) -> Settings:
    """What the gate makes of what it is given: its image's environment, that of compose, and the file."""
    image = stages((ROOT / "deploy/Dockerfile").read_text())[-1].environment
    environment = {**image, **services["gate"]["environment"]}
    file = OVERRIDES / "gate/llamagate.toml"
    return load(
        text=file.read_text(),
        file=str(file),
        environment=environment,
        flags={},
        read_secret=lambda path: Path(path).read_text(),
        check_pattern=canonical_pattern,
    ).settings


@WAYS
def test_the_gate_understands_all_that_it_is_told(files: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    settings = settings_of(project(VARIABLES, *files, profiles=profiles)["services"])

    assert "0.0.0.0:11435" == settings.listen
    assert "/var/lib/llamagate" == str(settings.state_dir)
    assert "postgresql+asyncpg://llamagate:71cd0b92e8@postgres:5432/llamagate" == settings.database
    assert (
        "http://host.docker.internal:11434" if "host-ollama" in files else "http://ollama:11434"
    ) == settings.upstream
    assert settings.redis is not None
    assert ("gate", PASSWORD) == (settings.redis.user, settings.redis.password)
    assert not settings.readable


def test_what_the_doctor_is_told_of_as_private_is_where_only_who_has_to_be_there_is() -> None:
    whole = everything()
    services, networks = whole["services"], whole["networks"]
    told = services["gate"]["environment"]["LLAMAGATE_DOCTOR_PRIVATE"].split()
    settings = settings_of(services)
    assert settings.redis is not None
    assert settings.admin_listen is not None
    asked = {settings.redis.hosts[0][0], *looking_at_databases.hosts(settings.database)}

    assert asked | {settings.admin_listen.rpartition(":")[0]} == set(told)
    assert all([*services[name]["networks"]] == ["store"] for name in asked)
    assert networks["store"]["internal"] is networks["watched"]["internal"] is True


def test_an_image_of_ollama_that_is_told_does_not_take_the_place_of_the_one_for_amd() -> None:
    told = {**VARIABLES, "OLLAMA_IMAGE": "ollama/ollama:0.34.0"}

    assert "ollama/ollama:0.34.0" == project(told)["services"]["ollama"]["image"]
    assert "ollama/ollama:0.33.0-rocm" == project(told, "amd")["services"]["ollama"]["image"]


def test_without_a_password_for_it_postgresql_is_not_asked() -> None:
    services = project({"REDIS_PASSWORD": PASSWORD})["services"]

    assert settings_of(services).database_url is None


def test_without_a_password_for_redis_nothing_is_started_and_the_cure_is_told() -> None:
    with pytest.raises(Missing, match=r"REDIS_PASSWORD is empty: \.env\.example says how"):
        project({})


def test_the_gate_is_given_more_time_to_stop_than_it_takes() -> None:
    services = everything()["services"]
    settings = settings_of(services)
    seconds = int(services["gate"]["stop_grace_period"].removesuffix("s"))

    assert seconds >= settings.drain_delay + settings.drain_timeout + 5


def test_every_variable_of_the_compose_files_is_told_of_in_the_example_and_no_other() -> None:
    asked = {"COMPOSE_PROFILES", "COMPOSE_FILE"}
    for file in (MAIN, *(OVERRIDES / f"{one}.yml" for one in FILES)):
        asked |= variables_in(file.read_text())
    told = set(re.findall(r"^#?([A-Z_]+)=", ENV, re.MULTILINE))

    assert asked - {"HOST_OLLAMA", "VIDEO_GROUP", "RENDER_GROUP"} == told


def test_every_setting_of_the_gate_that_is_named_there_exists() -> None:
    text = MAIN.read_text() + "".join((OVERRIDES / f"{one}.yml").read_text() for one in FILES)
    named = set(re.findall(r"^ +(LLAMAGATE_[A-Z_]+):", text, re.MULTILINE)) - {
        "LLAMAGATE_CONFIG",
        "LLAMAGATE_DOCTOR_PRIVATE",
        "LLAMAGATE_DOMAIN",
    }

    assert len(named) >= 5
    assert [] == [one for one in named if not keys.is_setting(tuple(one.removeprefix(keys.PREFIX).lower().split("__")))]
    assert "LLAMAGATE_DOMAIN" not in everything()["services"]["gate"]["environment"]


def test_the_example_has_the_same_values_as_what_holds_without_it() -> None:
    told = dict(re.findall(r"^#([A-Z_]+)=(.+)$", ENV, re.MULTILINE))
    texts = "".join(file.read_text() for file in (MAIN, *(OVERRIDES / f"{one}.yml" for one in FILES)))
    held = dict(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", texts))

    assert {name: held[name] for name in told if name in held and name != "LLAMAGATE_DOMAIN"} == {
        name: value for name, value in told.items() if name in held and name != "LLAMAGATE_DOMAIN"
    }


def test_the_example_holds_no_password_and_the_line_in_it_makes_one(tmp_path: Path) -> None:
    line = re.search(r"^#   (sed .*)$", ENV, re.MULTILINE)
    assert line is not None
    assert f"#   {line[1]}" in MAIN.read_text()
    shutil.copy(ROOT / ".env.example", tmp_path)
    subprocess.run(["sh", "-euc", line[1]], cwd=tmp_path, check=True)

    assert "REDIS_PASSWORD=\n" in ENV
    assert re.search(r"^REDIS_PASSWORD=[0-9a-f]{64}$", (tmp_path / ".env").read_text(), re.MULTILINE)
    assert 0o600 == (tmp_path / ".env").stat().st_mode & 0o777


def test_every_file_and_folder_that_is_mounted_is_there() -> None:
    services = everything()["services"]
    mounted = {volume.split(":")[0] for one in services.values() for volume in one.get("volumes", [])}

    assert [] == [path for path in mounted if path.startswith("./") and not (ROOT / path).exists()]
    assert mounted - {path for path in mounted if path.startswith("./")} == everything()["volumes"].keys()


def test_the_image_of_the_gate_is_of_this_version() -> None:
    assert f"llamagate:{__version__}" == everything()["services"]["gate"]["image"]


def test_the_plan_of_the_file_is_a_good_one() -> None:
    told = tomllib.loads((OVERRIDES / "gate/llamagate.toml").read_text())

    assert {"limits", "plans"} == told.keys()


def compose() -> list[str] | None:
    """A real one, as a program of its own or a plugin of docker's."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if found := shutil.which("docker-compose", path=path):
        return [found]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    return None


@pytest.mark.parametrize("files", [(), *((one,) for one in FILES)], ids=lambda words: "+".join(words) or "plain")
def test_compose_itself_reads_them_as_these_tests_do(files: tuple[str, ...], tmp_path: Path) -> None:
    program = compose()
    if program is None:
        pytest.skip("there is no docker-compose here, and docker has no such plugin")
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in VARIABLES.items()))
    chosen = [word for file in (MAIN, *(OVERRIDES / f"{one}.yml" for one in files)) for word in ("-f", str(file))]
    profiles = [word for one in PROFILES for word in ("--profile", one)]
    command = [*program, "--env-file", str(tmp_path / "env"), *chosen, *profiles, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    told, ours = json.loads(done.stdout)["services"], project(VARIABLES, *files, profiles=PROFILES)["services"]

    assert "" == done.stderr
    assert told.keys() == ours.keys()
    for name, one in ours.items():
        theirs = told[name]
        assert {key: str(value) for key, value in one.get("environment", {}).items()} == theirs.get(
            "environment", {}
        ), name
        assert one["networks"].keys() == theirs["networks"].keys(), name
        assert [filled(word, {}) if "$$" in word else word for word in theirs.get("entrypoint") or []] == (
            one.get("entrypoint") or []
        ), name
        for key in ("image", "read_only", "cap_drop", "security_opt", "restart", "user"):
            assert one.get(key) == theirs.get(key), (name, key)


@contextmanager
def counting(folder: Path, port: int) -> Iterator[Redis]:
    """The Redis of the compose file, by its own command, but for where it listens and where its files are."""
    service = everything()["services"]["redis"]
    shell, flags, script = service["entrypoint"]
    script = script.replace("dir /data\n", f"dir {folder}\nport {port}\nbind 127.0.0.1\n")
    script = script.replace("exec redis-server", f"exec {program()}")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([shell, flags, script], env=service["environment"], stdout=log, stderr=log, cwd=folder)
    open_to_all = Redis(port=port)

    def answers() -> bool | None:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return bool(open_to_all.ping())
        except NotYet:
            return None

    try:
        until(answers, START_SECONDS, "the Redis of the compose file")
        with Path(f"/proc/{process.pid}/cmdline").open() as line:
            assert PASSWORD not in line.read()
        yield open_to_all
    finally:
        open_to_all.close()
        process.terminate()
        process.wait()
        log.close()


async def test_the_gate_counts_in_the_redis_of_the_compose_file_and_nobody_else_does(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    (folder := tmp_path / "redis").mkdir()
    port = free_port()
    with counting(folder, port) as stranger:
        gate = await open_gate(
            redis_url=f"redis://gate:{PASSWORD}@127.0.0.1:{port}/0",
            limits={"concurrent": 4, "requests_per_minute": 10, "tokens_per_day": 1000},
            on_redis_failure="refuse",
        )
        upstream.says(whole(b"".join(NATIVE_LINES), NDJSON))
        told = await gate.ask(gate.post("/api/chat", question()))
        status = await gate.opened.counting.office.status()
        with pytest.raises(NoPermissionError):
            stranger.keys()
        with pytest.raises(AuthenticationError), Redis(port=port, username="gate", password="guessed") as guessing:
            guessing.ping()
        address = redis_address(f"redis://gate:{PASSWORD}@127.0.0.1:{port}/0")
        looked, _ = await looking.look(address, now=lambda: datetime.now(UTC))
        with Redis(port=port, username="gate", password=PASSWORD) as own:
            kept = own.info("persistence")
            with pytest.raises(NoPermissionError):
                own.flushall()

    assert 200 == told.status
    assert ("Redis", None) == (status.store, status.degraded_since)
    assert 1 == kept["aof_enabled"]
    assert {"ok"} == {*shown(findings(looked)).values()}
    assert [] == [path for path in folder.rglob("*.rdb") if not path.parent.name.startswith("appendonly")]


async def test_the_models_are_pulled_by_a_server_that_ends_with_them(tmp_path: Path) -> None:
    """By the script of the compose file, with a stand-in for the program of Ollama."""
    shell, flags, script, name = everything()["services"]["pull"]["entrypoint"]
    program = tmp_path / "ollama"
    program.write_text(
        '#!/bin/sh\necho "$@" >>"$0.log"\ncase $1 in\n'
        'serve) touch "$0.up"; exec sleep 60;;\nls) test -e "$0.up";;\npull) test "$2" != none;;\nesac\n'
    )
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def pulled(*models: str) -> int:
        return subprocess.run(
            [shell, flags, script, name, *models], env=environment, timeout=30, check=False
        ).returncode

    good = await asyncio.to_thread(pulled, "llama3.2", "gemma3:4b")
    asked = [line for line in (tmp_path / "ollama.log").read_text().splitlines() if line.startswith("pull")]
    bad = await asyncio.to_thread(pulled, "none")

    assert (0, ["pull llama3.2", "pull gemma3:4b"]) == (good, asked)
    assert 0 != bad


def test_grafana_has_no_password_that_everybody_knows() -> None:
    shell, flags, script = everything()["services"]["grafana"]["entrypoint"]
    told = script.replace("exec /run.sh", "echo started")

    def started(password: str) -> subprocess.CompletedProcess[str]:
        environment = {"GF_SECURITY_ADMIN_PASSWORD": password}
        return subprocess.run([shell, flags, told], env=environment, capture_output=True, text=True, check=False)

    assert "started\n" == started("5b1e77a0c4").stdout
    assert (0, "") != (started("").returncode, started("").stderr)
    assert "GRAFANA_PASSWORD" in started("").stderr


def test_grafana_draws_what_prometheus_knows() -> None:
    (source,) = yaml.safe_load((OVERRIDES / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((OVERRIDES / "grafana/dashboards/llamagate.yml").read_text())["providers"]
    services = everything()["services"]

    assert "http://prometheus:9090" == source["url"]
    assert {"grafana", "prometheus"} == set(networks_of(services, "graphs"))
    assert f"./deploy/grafana:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
