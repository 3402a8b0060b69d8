"""Signed tokens of a real OpenID provider: who comes in with one, as whom, and what ends it."""

import base64
import hashlib
import html
import json
import re
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import openai
import pytest
from joserfc.jwk import RSAKey

from tests.end_to_end.gate import Gate, Row, opened, scripted
from tests.end_to_end.processes import Running, environment, running, until

pytestmark = pytest.mark.timeout(600)  # The first time, Node.js itself may have to be installed.

MODEL = "llama3.2:1b"
ANSWERS = re.compile(r"answers on (http://\S+)")
HERE, SHORT, ELSEWHERE = "https://gate.example", "https://gate.example/short", "https://other.example"
RESOURCES = {
    HERE: {"audience": "llamagate", "seconds": 600},
    SHORT: {"audience": "llamagate", "seconds": 2},
    ELSEWHERE: {"audience": "other", "seconds": 600},
}
PROGRAMS = ("builder", "visitor", "leaver")
APP, BACK = "desktop", "http://127.0.0.1/back"
GROUPS = {"builder": ["staff", "ml-team"], "leaver": ["staff"], "alice": ["staff"]}
CONFIGURATION = """
[plans.lab]
models = "*"

[issuers.sso]
url = "{url}"
audience = ["llamagate", "desktop"]
groups = {{ "ml-team" = "lab", "staff" = "default" }}
teams = {{ "ml-team" = "ml" }}
leeway = "0s"
"""
DENIED_WITHIN_SECONDS = 1.0


def key(name: str) -> dict[str, Any]:
    """A key pair as an entry of a set, RFC 7517."""
    told = RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"}).as_dict(private=True)
    return dict(told)


@dataclass
class Provider:
    """The provider, and whoever asks it for tokens."""

    program: Path
    folder: Path
    keys: dict[str, dict[str, Any]]
    stack: ExitStack
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    url: str = ""
    process: Running | None = None

    def write(self, *keys: str) -> None:
        """What it is told; the first of the keys is what it signs with."""
        programs = [
            {
                "client_id": name,
                "client_secret": self.secret,
                "grant_types": ["client_credentials"],
                "redirect_uris": [],
                "response_types": [],
            }
            for name in PROGRAMS
        ]
        app = {"client_id": APP, "token_endpoint_auth_method": "none", "redirect_uris": [BACK]}
        told = {
            "clients": [*programs, {**app, "application_type": "native"}],
            "groups": GROUPS,
            "keys": [self.keys[name] for name in keys],
            "resources": RESOURCES,
        }
        (self.folder / "provider.json").write_text(json.dumps(told))

    def start(self) -> None:
        """Where it was before, if it was anywhere."""
        port = urlsplit(self.url).port or 0
        command = ["node", str(self.program), str(port), str(self.folder / "provider.json")]
        self.process = self.stack.enter_context(running(command, self.folder, ANSWERS, environment(self.folder)))
        self.url = self.process.url

    def stop(self) -> None:
        assert self.process is not None
        self.process.process.kill()
        self.process.process.wait()

    def rotate(self, *keys: str) -> None:
        assert self.process is not None
        self.write(*keys)
        self.process.process.send_signal(signal.SIGHUP)
        until(lambda: list(keys) == self.published() or None, 10, f"the keys {keys}")

    def published(self) -> list[str]:
        return [str(one["kid"]) for one in httpx.get(f"{self.url}/jwks").json()["keys"]]

    def token(self, program: str, resource: str = HERE) -> str:
        """An access token as a program gets it, RFC 6749 §4.4, of the form of RFC 9068."""
        asked = {"grant_type": "client_credentials", "resource": resource}
        answer = httpx.post(f"{self.url}/token", auth=(program, self.secret), data=asked)
        assert 200 == answer.status_code, answer.text
        return str(answer.json()["access_token"])

    def signed_in(self, user: str) -> str:
        """The ID token of a person, RFC 6749 §4.1 with RFC 7636, who fills in what the provider shows them."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {"client_id": APP, "response_type": "code", "redirect_uri": BACK, "scope": "openid"}
        with httpx.Client() as browser:
            answer = browser.get(
                f"{self.url}/auth", params={**asked, "code_challenge": challenge, "code_challenge_method": "S256"}
            )
            code = None
            while code is None:
                if answer.has_redirect_location:
                    there = urljoin(str(answer.url), answer.headers["location"])
                    if there.startswith(BACK):
                        (code,) = parse_qs(urlsplit(there).query)["code"]
                    else:
                        answer = browser.get(there)
                else:
                    where, form = filled_in(answer, user)
                    answer = browser.post(where, data=form)
            exchange = {"grant_type": "authorization_code", "client_id": APP, "redirect_uri": BACK, "code": code}
            answer = browser.post(f"{self.url}/token", data={**exchange, "code_verifier": verifier})
        assert 200 == answer.status_code, answer.text
        return str(answer.json()["id_token"])


def filled_in(page: httpx.Response, user: str) -> tuple[str, dict[str, str]]:
    """Where the one form of a page goes, and with what."""
    action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    prompt = re.search(r'name="prompt" value="([^"]+)"', page.text)
    assert action is not None, page.text
    assert prompt is not None, page.text
    where = urljoin(str(page.url), html.unescape(action[1]))
    return where, {"prompt": prompt[1], "login": user, "password": "any"}


@pytest.fixture(scope="module")
def provider(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    keys = {name: key(name) for name in ("first", "second", "third")}
    with ExitStack() as stack:
        provider = Provider(programs / "oidc_provider.mjs", tmp_path_factory.mktemp("provider"), keys, stack)
        provider.write("first", "second")
        provider.start()
        yield provider


@pytest.fixture(scope="module")
def trusting(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate that finds the provider's keys by discovery."""
    folder = tmp_path_factory.mktemp("trusting")
    (folder / "llamagate.toml").write_text(CONFIGURATION.format(url=provider.url))
    with scripted(tmp_path_factory.mktemp("script")) as upstream, opened(folder, upstream) as gate:
        yield gate


def status(gate: Gate, token: str) -> int:
    return httpx.get(f"{gate.url}/api/tags", headers={"Authorization": f"Bearer {token}"}).status_code


def described(gate: Gate, token: str) -> tuple[str, str | None, str]:
    """The user, the team and the plan that the gate says a token is of."""
    told = httpx.get(f"{gate.url}/v1/key", headers={"Authorization": f"Bearer {token}"}).json()
    return told["user"], told["team"], told["plan"]


def in_the_ledger(gate: Gate, user: str, calls: int) -> list[Row]:
    def looked() -> list[Row] | None:
        rows = gate.asked("calls", "--last", "1000", "--user", user, "--json")
        return rows if len(rows) >= calls else None

    return until(looked, 10, f"{calls} lines of the ledger")


def test_a_program_lists_models_and_chats_and_the_ledger_knows_whose_it_is(trusting: Gate, provider: Provider) -> None:
    token = provider.token("builder")
    with openai.OpenAI(base_url=f"{trusting.url}/v1", api_key=token, max_retries=0) as client:
        listed = [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Say hello."}], max_tokens=6
        )
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "stream": False}
    native = httpx.post(f"{trusting.url}/api/chat", json=chat, headers={"Authorization": f"Bearer {token}"})
    rows = in_the_ledger(trusting, "sso:builder", 3)

    assert MODEL in listed
    assert answer.choices[0].message.content
    assert native.json()["message"]["content"]
    assert {("ml", "lab")} == {(row["team"], row["plan"]) for row in rows}
    assert {"/v1/models", "/v1/chat/completions", "/api/chat"} == {row["endpoint"] for row in rows}
    assert 1 == len({row["key_id"] for row in rows})


def test_groups_make_the_plan_and_the_team(trusting: Gate, provider: Provider) -> None:
    assert ("sso:builder", "ml", "lab") == described(trusting, provider.token("builder"))
    assert ("sso:leaver", None, "default") == described(trusting, provider.token("leaver"))


def test_a_person_comes_in_with_their_id_token(trusting: Gate, provider: Provider) -> None:
    assert ("sso:alice", None, "default") == described(trusting, provider.signed_in("alice"))


def test_who_is_in_no_group_has_no_plan(trusting: Gate, provider: Provider) -> None:
    assert 403 == status(trusting, provider.token("visitor"))


def test_a_token_for_somebody_else_is_refused(trusting: Gate, provider: Provider) -> None:
    assert 401 == status(trusting, provider.token("builder", ELSEWHERE))


def test_a_token_is_let_in_until_it_has_expired(trusting: Gate, provider: Provider) -> None:
    token = provider.token("builder", SHORT)

    assert 200 == status(trusting, token)

    until(lambda: status(trusting, token) == 401 or None, 10, "the end of a token")

    assert 200 == status(trusting, provider.token("builder", SHORT))


def test_no_file_of_the_gate_holds_a_token(trusting: Gate, provider: Provider) -> None:
    token = provider.token("builder")
    refused = provider.token("builder", ELSEWHERE)
    before = len(in_the_ledger(trusting, "sso:builder", 0))

    assert [200, 401] == [status(trusting, one) for one in (token, refused)]

    in_the_ledger(trusting, "sso:builder", before + 1)
    signatures = [one.rpartition(".")[2].encode() for one in (token, refused)]
    written = [path.read_bytes() for path in trusting.folder.rglob("*") if path.is_file()]

    assert written
    assert not [content for content in written if any(signature in content for signature in signatures)]


def test_a_subject_that_is_denied_is_refused_within_a_second(trusting: Gate, provider: Provider) -> None:
    known, unseen, another = provider.token("leaver"), provider.token("leaver"), provider.token("builder")

    assert [200, 200] == [status(trusting, known), status(trusting, another)]

    trusting.asked("tokens", "deny", "--issuer", "sso", "--sub", "leaver", "--json")
    began = time.monotonic()
    until(lambda: status(trusting, known) == 401 or None, 10, "a refusal")

    assert time.monotonic() - began < DENIED_WITHIN_SECONDS
    assert [401, 200] == [status(trusting, unseen), status(trusting, another)]

    trusting.asked("tokens", "allow", "--issuer", "sso", "--sub", "leaver", "--json")
    until(lambda: status(trusting, known) == 200 or None, 10, "being let in again")


def test_while_the_provider_is_away_the_tokens_of_its_keys_go_on(trusting: Gate, provider: Provider) -> None:
    known, unseen = provider.token("builder"), provider.token("builder")

    assert 200 == status(trusting, known)

    provider.stop()

    assert [200, 200] == [status(trusting, one) for one in (known, unseen)]

    provider.start()

    assert 200 == status(trusting, provider.token("builder"))


def test_a_new_key_is_found_at_once_and_one_that_is_withdrawn_ends(trusting: Gate, provider: Provider) -> None:
    of_first = provider.token("builder")
    provider.rotate("second", "first")
    of_second = provider.token("builder")

    assert [200, 200] == [status(trusting, one) for one in (of_first, of_second)]

    provider.rotate("third", "second")
    of_third = provider.token("builder")

    assert 200 == status(trusting, of_first)
    assert 200 == status(trusting, of_third)
    assert [401, 200] == [status(trusting, one) for one in (of_first, of_second)]
