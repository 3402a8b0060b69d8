"""The real gate with a certificate of its own, and clients that check it."""

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import trustme

from tests.end_to_end.commands import forge
from tests.end_to_end.gate import Account, Gate, ended, scripted
from tests.end_to_end.processes import environment, running, until

LISTENS = re.compile(r"listens on +(https://\S+)")
WARNS = re.compile(r"(WARNING: [^\n]*trusted_proxies)")
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
A_MOMENT = 10.0


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A gate that speaks TLS, who vouches for it and for its clients, and where it has its files."""

    gate: Gate
    ca: trustme.CA
    folder: Path

    @property
    def port(self) -> int:
        return urlsplit(self.gate.url).port or 0

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.pem")

    def renew(self) -> str:
        """A new pair in place of the old; the certificate."""
        return put(self.folder, self.ca.issue_cert("127.0.0.1"))

    def context(self, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority)
        if own is not None:
            own.configure_cert(context)
        return context

    def shown(self) -> str:
        """The certificate that a new connection is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self.context().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")

    def get(self, path: str, headers: dict[str, str], own: trustme.LeafCert | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(own), timeout=A_MOMENT)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def client(self, key: str, own: trustme.LeafCert | None = None) -> openai.OpenAI:
        verified = openai.DefaultHttpxClient(verify=self.context(own))
        return openai.OpenAI(base_url=f"{self.gate.url}/v1", api_key=key, max_retries=0, http_client=verified)

    def logged(self, word: str) -> int:
        """How often, in all that the gate has said."""
        return sum((self.folder / name).read_text().count(word) for name in ("out.log", "err.log"))

    def has_line(self, user: str | None, **said: str) -> bool:
        """Whether the ledger comes to have a line of that user, or of nobody, that says so."""

        def there() -> bool | None:
            lines = self.gate.asked("calls", "--last", "100", "--json")
            return any(one["user"] == user and said.items() <= one.items() for one in lines) or None

        return until(there, A_MOMENT, f"a line of {user} with {said}")


def put(folder: Path, issued: trustme.LeafCert) -> str:
    """The certificate's PEM, in the form in which ``ssl`` writes it."""
    pem = issued.cert_chain_pems[0].bytes().decode()
    for name, text in (("key.pem", issued.private_key_pem.bytes().decode()), ("cert.pem", pem)):
        new = folder / f"{name}.new"
        new.touch(0o600)
        new.write_text(text)
        new.replace(folder / name)
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted(tmp_path_factory.mktemp("script"), pause=0.05) as url:
        yield url


@pytest.fixture(scope="module")
def there(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("encrypted")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    put(folder, ca.issue_cert("127.0.0.1"))
    told = {
        "LLAMAGATE_TLS__CERTIFICATE": str(folder / "cert.pem"),
        "LLAMAGATE_TLS__KEY": str(folder / "key.pem"),
        "LLAMAGATE_TLS__CLIENT_AUTHORITIES": str(folder / "ca.pem"),
        "LLAMAGATE_TRUSTED_PROXIES": "127.0.0.1",
    }
    serve = ["serve", "--listen", "127.0.0.1:0", "--upstream", model]
    with running(serve, folder, LISTENS, {**environment(folder), **told}, forge().gate) as process:
        yield Encrypted(Gate(process, folder), ca, folder)


@pytest.fixture(scope="module")
def account(there: Encrypted) -> Account:
    return there.gate.issue("alice")


def test_curl_is_answered_where_it_trusts_the_authority_and_only_there(there: Encrypted, account: Account) -> None:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl here")
    asked = [program, "-sS", "-m", "10", "-H", f"Authorization: Bearer {account.key}", f"{there.gate.url}/v1/models"]
    trusting = subprocess.run([*asked, "--cacert", there.authority], capture_output=True, text=True, check=False)
    doubting = subprocess.run(asked, capture_output=True, text=True, check=False)

    assert (0, "list") == (trusting.returncode, json.loads(trusting.stdout)["object"])
    assert (60, "") == (doubting.returncode, doubting.stdout)


def test_the_openai_client_streams_through_tls(there: Encrypted, account: Account) -> None:
    with there.client(account.key) as client:
        named = client.models.list().data[0].id
        with client.chat.completions.create(model=named, messages=HELLO, stream=True) as stream:
            finished = [choice.finish_reason for chunk in stream for choice in chunk.choices]

    assert finished[-1] == "stop"


def test_older_versions_of_tls_are_refused(there: Encrypted) -> None:
    context = there.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", there.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_plain_http_is_closed_without_an_answer(there: Encrypted, account: Account) -> None:
    with socket.create_connection(("127.0.0.1", there.port), timeout=A_MOMENT) as plain:
        plain.sendall(f"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: {account.key}\r\n\r\n".encode())
        told = b""
        with suppress(ConnectionError):
            told = plain.recv(1000)

    assert b"HTTP" not in told
    assert account.key.encode() not in there.gate.running.log.read_bytes()
    assert 200 == there.get("/v1/models", account.bearer)[0]


def test_a_new_pair_is_shown_after_a_reload_while_a_stream_goes_on(there: Encrypted, account: Account) -> None:
    with there.client(account.key) as client:
        named = client.models.list().data[0].id
        with client.chat.completions.create(model=named, messages=HELLO, stream=True) as stream:
            chunks = iter(stream)
            first = next(chunks)
            renewed = there.renew()
            reloaded = ended(there.folder, "reload")
            shown = there.shown()
            finished = [choice.finish_reason for chunk in (first, *chunks) for choice in chunk.choices]

    assert (0, renewed) == (reloaded.returncode, shown)
    assert "stop" == finished[-1]


def test_a_new_pair_is_found_without_being_told(there: Encrypted) -> None:
    renewed = there.renew()

    assert until(lambda: there.shown() == renewed or None, A_MOMENT, "the new certificate")


def test_a_bad_pair_is_refused_at_a_reload_and_the_old_one_goes_on(there: Encrypted) -> None:
    good = there.renew()
    until(lambda: there.shown() == good or None, A_MOMENT, "the good certificate")
    (there.folder / "key.pem").write_bytes(there.ca.issue_cert("127.0.0.1").private_key_pem.bytes())
    reloaded = ended(there.folder, "reload")

    assert 1 == reloaded.returncode
    assert "is not that of the first certificate" in reloaded.stderr
    there.gate.running.process.send_signal(signal.SIGHUP)
    until(lambda: there.logged("reload_refused") > 1 or None, A_MOMENT, "the refusal of SIGHUP")
    assert good == there.shown()
    assert 0 == there.logged("Traceback")
    there.renew()


@pytest.fixture(scope="module")
def bob(there: Encrypted) -> trustme.LeafCert:
    return there.ca.issue_cert("bob@example.org")


@pytest.fixture(scope="module")
def on_record(there: Encrypted, bob: trustme.LeafCert) -> str:
    """The id of Bob's certificate."""
    file = there.folder / "bob.pem"
    file.write_bytes(bob.cert_chain_pems[0].bytes())
    (added,) = there.gate.asked("certificates", "add", "--user", "bob", str(file), "--json")
    return str(added["id"])


def test_a_certificate_that_nobody_knows_is_refused_as_any_other_credential(there: Encrypted) -> None:
    status, said = there.get("/v1/models", {}, there.ca.issue_cert("mallory@example.org"))

    assert (401, "invalid_api_key") == (status, said["error"]["code"])
    assert there.has_line(None, reason="invalid_api_key.unknown")


def test_a_certificate_on_record_is_its_user(there: Encrypted, bob: trustme.LeafCert, on_record: str) -> None:
    with there.client("none", bob) as client:
        named = client.models.list().data[0].id
        client.chat.completions.create(model=named, messages=HELLO)

    assert there.has_line("bob", key_id=on_record, endpoint="/v1/chat/completions")


def test_curl_comes_with_a_certificate(there: Encrypted, bob: trustme.LeafCert, on_record: str) -> None:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl here")
    bob.private_key_and_cert_chain_pem.write_to_path(str(there.folder / "both.pem"))
    asked = [program, "-sS", "-m", "10", "--cacert", there.authority, "--cert", str(there.folder / "both.pem")]
    done = subprocess.run([*asked, f"{there.gate.url}/v1/key"], capture_output=True, text=True, check=False)

    assert (0, on_record) == (done.returncode, json.loads(done.stdout)["id"]), done.stderr


def test_whoever_has_a_key_beside_a_certificate_asks_by_the_key(
    there: Encrypted, account: Account, bob: trustme.LeafCert, on_record: str
) -> None:
    _, by_key = there.get("/v1/key", account.bearer, bob)
    _, by_certificate = there.get("/v1/key", {}, bob)
    refused, _ = there.get("/v1/key", {"X-Api-Key": "sk-lg_wrong"}, bob)

    assert (account.key_id, on_record, 401) == (by_key["id"], by_certificate["id"], refused)


def test_a_page_in_a_browser_cannot_ask_with_the_certificate_of_its_visitor(
    there: Encrypted, bob: trustme.LeafCert, on_record: str
) -> None:
    assert 401 == there.get("/v1/key", {"Origin": "https://evil.example"}, bob)[0]
    assert 401 == there.get("/v1/key", {"Sec-Fetch-Site": "cross-site"}, bob)[0]
    assert 200 == there.get("/v1/key", {}, bob)[0], on_record


def test_a_certificate_is_suspended_resumed_and_revoked_within_a_second(
    there: Encrypted, bob: trustme.LeafCert, on_record: str
) -> None:
    statuses, waits = [], []
    for verb, status in (("suspend", 401), ("resume", 200), ("revoke", 401)):
        there.gate.asked("certificates", verb, on_record, "--json")
        begun = time.monotonic()
        statuses.append(
            until(lambda status=status: there.get("/v1/key", {}, bob)[0] == status or None, A_MOMENT, verb)  # type: ignore[misc]
        )
        waits.append(time.monotonic() - begun)

    assert [True, True, True] == statuses
    assert max(waits) < 2.0


def test_a_trusted_proxy_says_who_the_client_is_and_the_ledger_believes_it(there: Encrypted, account: Account) -> None:
    said = {**account.bearer, "X-Forwarded-For": "127.0.0.1, 203.0.113.9", "X-Real-IP": "192.0.2.1"}
    told = [there.get("/v1/models", headers)[0] for headers in (said, {**said, "Forwarded": "for=192.0.2.2"})]

    assert [200, 200] == told
    assert there.has_line("alice", peer="203.0.113.9")
    assert there.has_line("alice", peer="127.0.0.1")


def test_a_gate_that_others_can_reach_without_tls_warns_and_says_what_to_do(tmp_path: Path, model: str) -> None:
    serve = ["serve", "--listen", "0.0.0.0:0", "--upstream", model]
    with running(serve, tmp_path, WARNS, environment(tmp_path), forge().gate) as process:
        assert "TLS" in process.url


def test_a_key_that_others_may_read_keeps_the_gate_shut(there: Encrypted, tmp_path: Path) -> None:
    put(tmp_path, there.ca.issue_cert("127.0.0.1"))
    (tmp_path / "key.pem").chmod(0o644)
    (tmp_path / "llamagate.toml").write_text(
        'listen = "127.0.0.1:0"\n[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    )
    done = ended(tmp_path, "serve")

    assert (1, "") == (done.returncode, done.stdout)
    assert "key.pem may be read by others (mode 0644): chmod 600 key.pem" in done.stderr
