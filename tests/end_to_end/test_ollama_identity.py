"""Ollama's own client as somebody who is known by their key pair: what it sends for each command, and who copies it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from proxy.auth.ollama_identity import key_id_of
from proxy.demo.real import NAME as MODEL
from tests.end_to_end.gate import Account, Gate, opened, scripted
from tests.end_to_end.processes import until
from tests.fakes.databases import NewDatabase
from tests.fakes.ollama_client import Answer, OllamaClient, new_key_file, sent
from tests.fakes.redis import RedisServer

USER = "iris"
SHOW = json.dumps({"model": MODEL}).encode()
LOAD = json.dumps({"model": MODEL, "stream": False}).encode()
CHAT = json.dumps(
    {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": False,
        "options": {"num_predict": 4, "temperature": 0},
    }
).encode()
REVOKED_WITHIN_SECONDS = 1.0
PEPPER = "one pepper for both of the replicas"


@dataclass
class Client:
    """A client and the gate that it has in its ``OLLAMA_HOST``."""

    gate: Gate
    signs: OllamaClient
    seconds: Iterator[int] = field(default_factory=lambda: count(int(time.time())))
    """Each is used once: as if this took as many seconds as it has commands."""

    def ask(self, method: str, path: str, body: bytes | None = None, *, ts: int | None = None) -> Answer:
        return self.signs.ask(self.gate.url, method, path, body, ts=next(self.seconds) if ts is None else ts)

    @property
    def account(self) -> Account:
        return Account(USER, "", key_id_of(self.signs.public_key))


def registered(gate: Gate, folder: Path) -> Client:
    client = OllamaClient(new_key_file(folder))
    (added,) = gate.asked("identities", "add", "--user", USER, client.public_line, "--json")
    assert key_id_of(client.public_key) == added["id"]
    return Client(gate, client)


@pytest.fixture(scope="module")
def client(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return registered(gate, tmp_path_factory.mktemp("iris"))


def test_list_show_and_ps_are_answered(client: Client) -> None:
    begun = client.ask("HEAD", "/")
    listed, shown, running = (
        client.ask("GET", "/api/tags"),
        client.ask("POST", "/api/show", SHOW),
        client.ask("GET", "/api/ps"),
    )

    assert [200] * 4 == [one.status for one in (begun, listed, shown, running)]
    assert MODEL in [model["name"] for model in json.loads(listed.body)["models"]]
    assert "details" in json.loads(shown.body)
    assert "models" in json.loads(running.body)


def test_run_is_answered_though_it_asks_and_signs_all_in_one_second(client: Client) -> None:
    ts = next(client.seconds)
    asked = [
        ("HEAD", "/", None),
        ("POST", "/api/show", SHOW),
        ("POST", "/api/show", SHOW),
        ("GET", "/api/ps", None),
        ("POST", "/api/generate", LOAD),
        ("POST", "/api/chat", CHAT),
    ]
    answers = [client.ask(*one, ts=ts) for one in asked]

    assert [200] * 6 == [one.status for one in answers]
    assert json.loads(answers[-1].body)["message"]["content"]


def test_two_commands_that_begin_in_one_second_both_begin(client: Client) -> None:
    ts = next(client.seconds)

    assert [200, 200] == [client.ask("HEAD", "/", ts=ts).status for _ in range(2)]
    assert [200, 200] == [client.ask("GET", "/api/version", ts=ts).status for _ in range(2)]


def test_who_copies_a_request_gets_nothing_whatever_they_put_into_it(client: Client) -> None:
    ts = next(client.seconds)
    first = client.ask("POST", "/api/chat", CHAT, ts=ts)
    again = [client.ask("POST", "/api/chat", body, ts=ts) for body in (CHAT, CHAT.replace(b"hello", b"goodbye"), b"")]
    copied = {"Authorization": client.signs.authorization("POST", "/api/chat", ts), "Content-Type": "application/json"}
    elsewhere = [
        sent(f"{client.gate.url}{path}", "POST", copied, CHAT)
        for path in (f"/api/chat?ts={ts}&x=1", f"/api/generate?ts={ts}", f"/api/chat?ts={ts + 1}", "/api/chat")
    ]

    assert 200 == first.status
    assert [401] * 7 == [one.status for one in (*again, *elsewhere)]
    assert 1 == len({one.body for one in (*again, *elsewhere)})


def test_a_request_from_an_hour_ago_or_ahead_is_refused(client: Client) -> None:
    now = int(time.time())

    assert [401, 401] == [client.ask("GET", "/api/tags", ts=now + away).status for away in (-3600, 3600)]


def test_a_key_that_nobody_has_registered_is_refused_in_the_same_words(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    stranger = Client(gate, OllamaClient(new_key_file(tmp_path)))
    told = [stranger.ask("GET", "/api/tags"), client.ask("GET", "/api/tags", ts=1)]

    assert [401, 401] == [one.status for one in told]
    assert 1 == len({one.body for one in told})


def test_the_ledger_knows_who_asked_and_nothing_keeps_the_signature(client: Client, gate: Gate) -> None:
    ts = next(client.seconds)
    client.ask("GET", "/api/tags", ts=ts)
    signature = client.signs.authorization("GET", "/api/tags", ts).partition(":")[2]
    rows = until(lambda: gate.calls(client.account) or None, 10, "a line in the ledger")
    written = [path for path in gate.folder.rglob("*") if path.is_file()]

    assert {client.account.key_id} == {row["key_id"] for row in rows}
    assert written
    assert not [path for path in written if signature.encode() in path.read_bytes()]


def test_an_identity_that_is_revoked_is_refused_within_a_second(gate: Gate, tmp_path: Path) -> None:
    client = registered(gate, tmp_path)

    assert 200 == client.ask("GET", "/api/tags").status

    gate.asked("identities", "revoke", client.account.key_id, "--json")
    began = time.monotonic()
    until(lambda: client.ask("GET", "/api/ps").status == 401 or None, 10, "a refusal")

    assert time.monotonic() - began < REVOKED_WITHIN_SECONDS


def test_what_one_gate_has_taken_the_others_do_not_take_again(
    redis_server: RedisServer, tmp_path: Path, new_database: NewDatabase
) -> None:
    told = {"redis_url": redis_server.url, "database_url": new_database("sqlite"), "pepper": PEPPER}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
        (folder / "llamagate.toml").write_text("".join(f"{name} = {json.dumps(one)}\n" for name, one in told.items()))
    with (
        scripted(tmp_path / "script") as upstream,
        opened(folders[0], upstream) as one,
        opened(folders[1], upstream) as other,
    ):
        here = registered(one, tmp_path / "key")
        there = Client(other, here.signs)
        ts = next(here.seconds)

        assert [200, 401] == [client.ask("GET", "/api/tags", ts=ts).status for client in (here, there)]
        assert [200, 401] == [client.ask("GET", "/api/ps", ts=ts).status for client in (there, here)]
        assert [200, 200] == [client.ask("HEAD", "/", ts=ts).status for client in (there, here)]


def test_a_gate_that_begins_anew_takes_nothing_that_was_signed_before(engine: str, tmp_path: Path) -> None:
    with opened(tmp_path, engine) as gate:
        client = registered(gate, tmp_path / "key")
        ts = next(client.seconds)

        assert 200 == client.ask("GET", "/api/tags", ts=ts).status

    until(lambda: int(time.time()) > ts or None, 10, "the next second")
    with opened(tmp_path, engine) as gate:
        again = Client(gate, client.signs)

        assert 401 == again.ask("GET", "/api/tags", ts=ts).status
        assert 200 == again.ask("GET", "/api/tags").status
