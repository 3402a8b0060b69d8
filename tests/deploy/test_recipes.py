"""Caddy, nginx and Traefik with the files of deploy/recipes, in front of a real gate, and real streams through them."""

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import yaml

from proxy.config.settings import Settings
from proxy.config.written import seconds
from proxy.vocabulary import Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, STREAMS, question
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming, whole

RECIPES = Path(__file__).parents[2] / "deploy/recipes"
NAME = "gate.example.org"
START_SECONDS = 60.0
SLOW_SECONDS = 1.5
HELD_SECONDS = 0.5
"""After so long an event has not merely been slow."""
CLIENT = "127.0.0.2"
"""Where the callers of these tests sit; the proxies are at 127.0.0.1."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Of one machine."""

    proxy: int
    plain: int
    """Where those who come without TLS are sent away from."""
    gate: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One recipe. ``begin`` writes what it needs into a folder, and gives the command that runs there."""

    name: str
    begin: Callable[[Path, Ports, "Change"], list[str]]
    patience: str
    """The setting that says how long it waits for the first byte, with its value."""


Change = Callable[[str], str]
"""What a test makes of the text of a recipe."""


def as_it_is(text: str) -> str:
    return text


def certificate(folder: Path) -> None:
    folder.mkdir()
    made = trustme.CA()
    leaf = made.issue_cert(NAME)
    made.cert_pem.write_to_path(folder / "ca.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    leaf.private_key_pem.write_to_path(folder / "privkey.pem")


def caddy(folder: Path, ports: Ports, change: Change) -> list[str]:
    """With a certificate of the test's, for there is nobody here to fetch one from."""
    own = f"{{$LLAMAGATE_DOMAIN}} {{\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n"
    text = change((RECIPES / "caddy/Caddyfile").read_text()).replace("{$LLAMAGATE_DOMAIN} {\n", own)
    unseen = (
        f"{{\n\tadmin off\n\tauto_https disable_redirects\n\thttp_port {ports.plain}\n\thttps_port {ports.proxy}\n}}\n"
    )
    (folder / "Caddyfile").write_text(unseen + text)
    given = [f"LLAMAGATE_DOMAIN={NAME}", f"GATE=127.0.0.1:{ports.gate}", f"XDG_DATA_HOME={folder}", f"HOME={folder}"]
    return ["env", *given, program("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


def nginx(folder: Path, ports: Ports, change: Change) -> list[str]:
    text = change((RECIPES / "nginx/llamagate.conf").read_text())
    for old, new in (
        ("127.0.0.1:11435", f"127.0.0.1:{ports.gate}"),
        ("listen 80;", f"listen 127.0.0.1:{ports.plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{ports.proxy} ssl;"),
        (f"/etc/letsencrypt/live/{NAME}", str(folder)),
    ):
        assert old in text, old
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}\n{text}\n}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def traefik(folder: Path, ports: Ports, change: Change) -> list[str]:
    static = yaml.safe_load(change((RECIPES / "traefik/traefik.yml").read_text()))
    routes = yaml.safe_load(change((RECIPES / "traefik/routes.yml").read_text()))
    static["entryPoints"]["web"]["address"] = f"127.0.0.1:{ports.plain}"
    static["entryPoints"]["websecure"]["address"] = f"127.0.0.1:{ports.proxy}"
    del static["certificatesResolvers"]
    routes["http"]["routers"]["llamagate"]["tls"] = {}
    routes["http"]["services"]["llamagate"]["loadBalancer"]["servers"] = [{"url": f"http://127.0.0.1:{ports.gate}"}]
    pair = {"certFile": f"{folder}/fullchain.pem", "keyFile": f"{folder}/privkey.pem"}
    routes["tls"] = {"certificates": [pair]}
    (folder / "traefik.yml").write_text(yaml.safe_dump(static))
    (folder / "routes.yml").write_text(yaml.safe_dump(routes))
    return [program("traefik"), "--configFile=traefik.yml"]


KINDS = (
    Kind("caddy", caddy, "response_header_timeout 11m"),
    Kind("nginx", nginx, "proxy_read_timeout 11m"),
    Kind("traefik", traefik, "responseHeaderTimeout: 11m"),
)
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def program(name: str) -> str:
    """Where it is, or a reason why not."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Fronted:
    """A proxy that runs, and the gate behind it."""

    gate: Gate
    port: int
    context: ssl.SSLContext

    async def connect(self) -> RawClient:
        """From an address that is not the proxy's."""
        plain = socket.socket()
        plain.bind((CLIENT, 0))
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        client = RawClient(*await asyncio.open_connection(sock=plain, ssl=self.context, server_hostname=NAME))
        self.gate.clients.append(client)
        return client

    async def asking(self, path: str, *fields: str, **members: object) -> RawClient:
        client, body = await self.connect(), json.dumps(question(**members)).encode()
        await client.send(
            self.gate.post(path, body, *fields).replace(b"Host: gate.example\r\n", b"Host: gate.example.org\r\n")
        )
        return client


@asynccontextmanager
async def fronted(kind: Kind, gate: Gate, folder: Path, change: Change = as_it_is) -> AsyncIterator[Fronted]:
    certificate(folder)
    ports = Ports(free_port(), free_port(), int(gate.standing.address.rpartition(":")[2]))
    command = kind.begin(folder, ports, change)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    log = (folder / "log").open("wb")
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=log, stderr=log)

    async def answers() -> bool | None:
        assert process.returncode is None, (folder / "log").read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", ports.proxy, ssl=context, server_hostname=NAME)
        except OSError:  # Traefik listens before it has read what to do, and then has a certificate of its own.
            return None
        writer.close()
        return True

    try:
        await eventually(answers, START_SECONDS, kind.name)
        yield Fronted(gate, ports.proxy, context)
    finally:
        process.terminate()
        await process.wait()
        log.close()


@EACH
async def test_every_event_of_a_stream_arrives_before_the_next_is_sent(
    kind: Kind, open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    gate = await open_gate(trusted_proxies=("127.0.0.1",))
    async with fronted(kind, gate, tmp_path / "proxy") as front:
        for path, content_type, events in (STREAMS[Tongue.OLLAMA], STREAMS[Tongue.ANTHROPIC]):
            may_go = [asyncio.Event() for _ in events]
            steps = [step for event, may in zip(events, may_go, strict=True) for step in (may, chunk(event))]
            upstream.says(streaming(content_type), *steps, LAST_CHUNK)
            client = await front.asking(path, stream=True, max_tokens=100)
            for event, may in zip(events, may_go, strict=True):
                assert event not in client.received
                may.set()
                await client.until(event)

            assert "served" == (await gate.entry()).outcome.value


async def test_an_nginx_that_buffers_would_have_been_found_out(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    gate, rest = await open_gate(trusted_proxies=("127.0.0.1",)), asyncio.Event()
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), rest, *map(chunk, NATIVE_LINES[1:]), LAST_CHUNK)
    buffering = ("proxy_buffering off;", "proxy_buffering on;")
    async with fronted(KINDS[1], gate, tmp_path / "proxy", lambda text: text.replace(*buffering)) as front:
        client = await front.asking("/api/chat")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS):
                await client.until(NATIVE_LINES[0])
        rest.set()
        await client.until(NATIVE_LINES[-1])


@EACH
async def test_who_asks_is_who_the_proxy_sees_whatever_they_say(
    kind: Kind, open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    gate = await open_gate(trusted_proxies=("127.0.0.1",))
    upstream.says(whole(b"".join(NATIVE_LINES), NDJSON))
    claims = ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9")
    async with fronted(kind, gate, tmp_path / "proxy") as front:
        client = await front.asking("/api/chat", *claims)
        await client.until(NATIVE_LINES[-1])
        entry = await gate.entry()

    assert CLIENT == entry.peer


@EACH
async def test_a_first_byte_that_takes_its_time_is_waited_for_and_only_because_the_recipe_says_so(
    kind: Kind, open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    """The same proxy with a short patience in the same place gives up: the place is the right one."""
    gate = await open_gate(trusted_proxies=("127.0.0.1",))
    name = kind.patience.removesuffix("11m")

    async def asked(folder: Path, change: Change, seconds: float | None) -> bytes:
        """The first line of what is answered where the first byte comes after so many seconds, or never."""
        loaded = asyncio.Event()
        upstream.says(loaded, whole(b"".join(NATIVE_LINES), NDJSON))
        async with fronted(kind, gate, folder, change) as front:
            client = await front.asking("/api/chat")
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, loaded.set)
            await client.until(b"\r\n")
            return bytes(client.received.partition(b"\r\n")[0]) + b" "

    patient = await asked(tmp_path / "patient", as_it_is, SLOW_SECONDS)
    hasty = await asked(tmp_path / "hasty", lambda text: text.replace(kind.patience, f"{name}1s"), None)

    assert b" 200 " in patient
    assert b" 504 " in hasty


def test_every_recipe_outlasts_the_gates_own_patience() -> None:
    own = Settings().first_byte_timeout
    texts = {kind.name: "".join(file.read_text() for file in sorted((RECIPES / kind.name).iterdir())) for kind in KINDS}

    assert [] == [kind.name for kind in KINDS if kind.patience not in texts[kind.name]]
    assert {True} == {seconds(kind.patience.split()[-1]) > own for kind in KINDS}


def test_what_cannot_run_here_is_well_formed_and_goes_to_the_gate() -> None:
    tunnel = yaml.safe_load((RECIPES / "cloudflare/config.yml").read_text())
    serve = json.loads((RECIPES / "tailscale/serve.json").read_text())
    handlers = [web["Handlers"]["/"]["Proxy"] for web in serve["Web"].values()]

    assert "http://127.0.0.1:11435" == tunnel["ingress"][0]["service"]
    assert "http_status:404" == tunnel["ingress"][-1]["service"]
    assert ["http://127.0.0.1:11435"] == handlers
    assert {False} == set(serve["AllowFunnel"].values())


def test_the_docs_name_every_recipe_and_what_it_says() -> None:
    docs = (RECIPES.parents[1] / "docs/in-front.md").read_text()
    files = [file.relative_to(RECIPES).as_posix() for file in RECIPES.rglob("*") if file.is_file()]

    assert [] == [file for file in files if f"deploy/recipes/{file}" not in docs]
    assert [] == [kind.patience for kind in KINDS if f"`{kind.patience}`" not in docs]
    assert re.search(r'^trusted_proxies = \["127\.0\.0\.1"\]$', docs, re.MULTILINE)
