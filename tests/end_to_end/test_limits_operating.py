"""What the owner does about limits while the gate runs, once where it counts in process and once over Redis."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.dialects.counts import floor_of
from tests.end_to_end.gate import Account, Gate, Row, ended, opened, scripted, zone_at_noon
from tests.end_to_end.processes import until
from tests.fakes.redis import RedisServer

MODEL = "llama3.2:1b"
MESSAGES = [{"role": "user", "content": "Say hello."}]
COST = 2 + 6
"""Of one call, in the script's words."""
CHAT = "/v1/chat/completions"
LEFT, LIMIT, REMAINING = "x-ratelimit-remaining-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"
DAILY = "[plans.default.limits]\ntokens_per_day"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted(tmp_path_factory.mktemp("script")) as url:
        yield url


@dataclass
class House:
    """A folder with a configuration, and the gate that runs there."""

    folder: Path
    upstream: str
    common: str
    running: ExitStack
    gate: Gate

    def write(self, tables: str) -> None:
        """What the gate is told, beside where it counts."""
        (self.folder / "llamagate.toml").write_text(f"{self.common}\n{tables}\n")

    def reload(self) -> Row:
        (told,) = self.gate.asked("reload", "--json")
        return dict(told)

    def kill(self) -> None:
        process = self.gate.running.process
        process.kill()

        assert -signal.SIGKILL == process.wait()

    def restart(self) -> None:
        self.gate = self.running.enter_context(opened(self.folder, self.upstream))

    def log(self) -> str:
        return self.gate.running.log.with_name("out.log").read_text() + self.gate.running.log.read_text()

    def rows(self, account: Account) -> list[Row]:
        (told,) = self.gate.asked("limits", "show", account.key_id, "--json")
        return list(told)

    def used(self, account: Account) -> dict[str, int]:
        """Of each limit."""
        rows = self.rows(account)

        assert all(row["live"] for row in rows)

        return {row["limit"]: row["most"] - row["left"] for row in rows}

    def has_written(self, account: Account, calls: int) -> None:
        """A client hears the end of its answer a moment before its call is settled and written."""
        until(lambda: len(self.gate.calls(account)) >= calls or None, 10, f"{calls} lines of the ledger")


@pytest.fixture(params=["in process", "Redis"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def house(
    store: str, upstream: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")  # The name of a socket in it may not be long.
    told = {"time_zone": zone_at_noon()}
    if store == "Redis":
        told["redis_url"] = request.getfixturevalue("redis_server").url
    common = "\n".join(f"{name} = {json.dumps(value)}" for name, value in told.items())
    (folder / "llamagate.toml").write_text(common)
    with ExitStack() as running:
        yield House(folder, upstream, common, running, running.enter_context(opened(folder, upstream)))


@dataclass(frozen=True, slots=True)
class Told:
    status: int
    fields: dict[str, str]
    body: Any


def call(gate: Gate, account: Account, path: str = CHAT, **said: object) -> Told:
    there = urlsplit(gate.url)
    connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=30)
    try:
        body = json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 6, **said})
        connection.request("POST", path, body, {"Content-Type": "application/json", **account.bearer})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Told(answer.status, fields, json.loads(answer.read() or b"null"))
    finally:
        connection.close()


def hold(gate: Gate, account: Account, held: ExitStack, **said: object) -> int:
    """Begin a stream and hear its head; it goes on until the end of the block."""
    there = urlsplit(gate.url)
    connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=30)
    held.callback(connection.close)
    body = json.dumps({"model": MODEL, "stream": True, **said})
    connection.request("POST", CHAT, body, {"Content-Type": "application/json", **account.bearer})
    return connection.getresponse().status


def told_of(gate: Gate, account: Account) -> dict[str, str]:
    """The header fields of a call that counts nothing."""
    return call(gate, account, "/nowhere").fields


def at_rest(gate: Gate, account: Account) -> tuple[str, str]:
    """Tokens that there are, and what is left of them."""
    told = told_of(gate, account)
    return told[LIMIT], told[REMAINING]


def test_a_keys_own_limits_are_told_changed_shown_and_reset(house: House, store: str) -> None:
    gate = house.gate
    account = gate.issue("alice", "--rpm", "1", "--burst", "2", "--tokens-per-day", "1000", "--concurrent", "5")
    (shown,) = gate.asked("keys", "show", account.key_id, "--json")

    assert {"requests_per_minute": 1, "request_burst": 2, "tokens_per_day": 1000, "concurrent": 5} == {
        name: value for name, value in shown["limits"].items() if value is not None
    }

    statuses = [call(gate, account).status for _ in range(3)]
    house.has_written(account, 3)

    assert [200, 200, 429] == statuses
    assert {"requests": 2, "tokens-day": 2 * COST, "concurrent": 0} == house.used(account)

    gate.asked("keys", "update", account.key_id, "--burst", "4", "--concurrent", "none", "--json")
    passed = until(lambda: told if (told := call(gate, account)).status == 200 else None, 10, "a call that passes")

    assert "1" == passed.fields[LEFT], "two of four were used and stay used, and this is the third"

    ((reset,),) = gate.asked("limits", "reset", account.key_id, "--json")

    assert ("key", account.key_id, None) == (reset["level"], reset["whose"], reset["models"])
    assert {"requests": 0, "tokens-day": 0} == house.used(account)
    assert "3" == call(gate, account).fields[LEFT]

    (status,) = gate.asked("limits", "status", "--json")

    assert (store, None, 0) == (status["store"], status["degraded_since"], status["under_way"])
    assert 0 < status["counts"]["refused"]


def test_a_changed_configuration_holds_from_the_next_call_on_and_what_was_used_stays_used(house: House) -> None:
    gate, account = house.gate, house.gate.issue("alice")

    assert 200 == call(gate, account).status
    house.has_written(account, 1)
    assert LIMIT not in told_of(gate, account)

    house.write(f"failed_attempts_per_minute = 61\n{DAILY} = 1000")
    added = house.reload()

    assert ["plans.default.limits.tokens_per_day"] == added["applied"]
    assert (["failed_attempts_per_minute"], []) == (added["waiting"], added["mistakes"])

    before = 1000 - int(told_of(gate, account)[REMAINING])
    estimate = 1000 - before - int(call(gate, account).fields[REMAINING])
    house.has_written(account, 2)
    used = before + COST

    assert before in (COST, 0), "in process the ledger is asked for the day, and Redis counts from now on"

    house.write(f"{DAILY} = 2000")
    house.reload()

    assert ("2000", str(2000 - used)) == at_rest(gate, account)

    house.write(f"{DAILY} = {used + estimate - 1}")
    house.reload()
    refused = call(gate, account)

    assert (429, "false") == (refused.status, refused.fields["x-should-retry"])
    assert (str(used + estimate - 1), str(estimate - 1)) == at_rest(gate, account)

    house.write(f"{DAILY} = 2000\nrequests_per_minute = 1")
    house.reload()
    statuses = [call(gate, account).status for _ in range(2)]
    house.has_written(account, 5)
    used += COST

    assert [200, 429] == statuses
    assert {"requests": 1, "tokens-day": used} == house.used(account)

    house.write("")
    house.reload()

    assert [200, 200] == [call(gate, account).status for _ in range(2)]
    assert LIMIT not in told_of(gate, account)

    house.write(f"{DAILY} = 2000")
    house.reload()

    assert {"tokens-day": used} == house.used(account)


BAD = f"{DAILY} = 0\nrequests_per_second = 1\n[plans.default.limits.team]\nrequest_burst = 3"


def test_a_bad_configuration_is_refused_with_every_mistake_and_the_old_one_goes_on(house: House) -> None:
    gate, account = house.gate, house.gate.issue("alice")
    house.write(f"{DAILY} = 1000")
    house.reload()
    house.write(BAD)
    plain, as_json = ended(house.folder, "reload"), ended(house.folder, "reload", "--json")
    mistakes = json.loads(as_json.stdout)["mistakes"]

    assert (1, 1) == (plain.returncode, as_json.returncode)
    assert "The gate goes on with the configuration that it had." in plain.stderr
    for name in ("limits.tokens_per_day", "limits.requests_per_second", "limits.team.request_burst"):
        assert f"plans.default.{name}" in plain.stderr
        assert 1 == sum(f"plans.default.{name}" in json.dumps(mistake) for mistake in mistakes)
    assert 200 == call(gate, account).status
    assert "1000" == told_of(gate, account)[LIMIT]


def test_the_signal_does_what_the_command_does(house: House) -> None:
    gate, account = house.gate, house.gate.issue("alice")
    process = gate.running.process
    house.write(f"{DAILY} = 1000")
    os.kill(process.pid, signal.SIGHUP)
    until(lambda: told_of(gate, account).get(LIMIT) == "1000" or None, 10, "the limit that was added")

    assert 200 == call(gate, account).status

    house.write(BAD)
    os.kill(process.pid, signal.SIGHUP)
    until(lambda: "reload_refused" in house.log() or None, 10, "a line in the log")

    assert ("1000", None) == (told_of(gate, account)[LIMIT], process.poll())

    house.write(f"{DAILY} = 900")
    os.kill(process.pid, signal.SIGHUP)
    until(lambda: told_of(gate, account)[LIMIT] == "900" or None, 10, "the limit that was changed")
    house.has_written(account, 1)

    assert {"tokens-day": COST} == house.used(account)


def test_a_day_outlives_the_gate_that_is_killed(house: House, store: str) -> None:
    account = house.gate.issue("alice", "--tokens-per-day", "1000", "--tokens-per-month", "5000")
    estimate = 1000 - int(call(house.gate, account).fields[REMAINING])
    call(house.gate, account)
    house.has_written(account, 2)
    house.kill()
    (row,) = [row for row in house.rows(account) if row["limit"] == "tokens-day"]

    assert (store == "Redis", 1000 - 2 * COST) == (row["live"], row["left"]), "else by the ledger"

    house.restart()
    told = call(house.gate, account)
    house.has_written(account, 3)

    assert str(1000 - 2 * COST - estimate) == told.fields[REMAINING]
    assert {"tokens-day": 3 * COST, "tokens-month": 3 * COST} == house.used(account)


def test_the_places_of_a_gate_that_is_killed_come_back_and_each_call_is_charged_its_floor(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A lease lasts a minute from its last renewal, by Redis's clock, and no setting changes that. All that time does
    to it is that its end comes to lie in the past; so here the ends of the dead gate's leases are moved there by hand.
    """
    folders = [tmp_path_factory.mktemp(name) for name in ("killed", "alive", "script")]
    told = {
        "redis_url": redis_server.url,
        "database_url": f"sqlite+aiosqlite:///{folders[0]}/both.db",
        "pepper": "one pepper for both of the replicas",
        "time_zone": zone_at_noon(),
    }
    for folder in folders[:2]:
        (folder / "llamagate.toml").write_text("\n".join(f"{name} = {json.dumps(one)}" for name, one in told.items()))
    long = [{"role": "user", "content": "Say hello, and then some more. " * 50}]
    floor = floor_of({"messages": json.dumps(long).encode()}, ("messages",))
    with (
        scripted(folders[2], pause=1.0) as slow,
        opened(folders[0], slow) as killed,
        opened(folders[1], slow) as alive,
        ExitStack() as held,
    ):
        account = alive.issue("alice", "--concurrent", "3", "--tokens-per-day", "1000000")

        assert [200, 200] == [hold(killed, account, held, messages=long) for _ in range(2)]

        (leases,) = redis_server.say("KEYS", "llamagate:*:h")
        of_the_killed = redis_server.say("ZRANGE", leases, 0, -1)

        assert 200 == hold(alive, account, held, messages=long)
        assert (2, 3) == (len(of_the_killed), redis_server.say("ZCARD", leases))
        assert [429, 429] == [call(gate, account).status for gate in (killed, alive)]

        killed.running.process.kill()
        killed.running.process.wait()

        assert 429 == call(alive, account).status, "nobody can know yet that it does not come back"

        for lease in of_the_killed:
            redis_server.say("ZADD", leases, "XX", 1, lease)

        assert [200, 200] == [hold(alive, account, held, messages=long) for _ in range(2)]
        assert 429 == call(alive, account).status
        assert 3 == redis_server.say("ZCARD", leases)

        held.close()  # All three leave, having heard a word or two.
        until(lambda: redis_server.say("ZCARD", leases) == 0 or None, 10, "the end of the leases")
        until(
            lambda: len([row for row in alive.calls(account) if row["outcome"] == "client_left"]) == 3 or None, 10, "3"
        )
        heard = [row for row in alive.calls(account) if row["outcome"] == "client_left"]
        (row,) = [
            row for row in alive.asked("limits", "show", account.key_id, "--json")[0] if row["limit"] == "tokens-day"
        ]

        assert 0 < floor
        assert row["most"] - row["left"] == 2 * floor + sum(
            one["prompt_tokens"] + one["completion_tokens"] for one in heard
        )
