"""The parsers, each with what must hold of it for any bytes. Whatever a target raises is a finding."""

import json
import random
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from proxy.admin import amounts, importing
from proxy.admin.refusals import NotDone
from proxy.auth import claims, credentials, jwks, ollama_identity, tokens
from proxy.auth.jose import Unreadable, read_object
from proxy.backends import trouble
from proxy.config import addresses as hosts
from proxy.config import load, prices, redis_url, written
from proxy.config.layers import Mistakes
from proxy.dialects import Said, codings, multipart, queries, strict_json
from proxy.dialects.table import DIALECTS
from proxy.dialects.transcription import FILES
from proxy.dialects.transcription import KNOWN as FORM_KNOWN
from proxy.errors import BackendFailed, GateError, NotUnderstood, Refused, Unauthenticated
from proxy.own import usage
from proxy.policy import endpoints, models
from proxy.policy.models import BadName
from proxy.policy.permit import permit, read_tags
from proxy.vocabulary import Caller, Issuer, ModelIn, Plan, Risk, Takes, form_of
from proxy.web import addresses, cors, preamble
from proxy.web.preamble import NoPreamble
from proxy.web.refusals import rendered
from tests.dialects.recorded import SAMPLES, cut, seen
from tests.fakes import go_json
from tests.security.fuzz import http

ROOT: Final = Path(__file__).parents[3]
NOON: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MODEL: Final = "llama3.2:1b"


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, or several that read the same."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]

    @property
    def name(self) -> str:
        return self.check.__name__


def pieces(data: bytes, most: int = 6) -> list[bytes]:
    """The bytes cut somewhere, always at the same places for the same bytes."""
    chance = random.Random(zlib.crc32(data))
    return cut(data, *(chance.randint(0, len(data)) for _ in range(chance.randint(1, most))))


def header(data: bytes) -> str:
    """As aiohttp makes text of what stands on the wire."""
    return data.decode("utf-8", "surrogateescape")


def headers(lines: Sequence[bytes]) -> list[tuple[str, str]]:
    split = (header(line).partition(":") for line in lines)
    return [(name.strip(), value.strip(" \t")) for name, _, value in split]


def framing(data: bytes) -> None:
    whole = http.passed([data])
    assert whole == http.passed(pieces(data)), "it depends on where the bytes are cut"
    assert data.startswith(whole.data), "other bytes go on than came"
    read = http.as_h11(whole.data)
    assert whole.heads == len(read), "h11 finds another number of requests"
    assert read == http.as_aiohttp(whole.data), "h11 and aiohttp do not find the same"


def strict_objects(data: bytes) -> None:
    try:
        fields = strict_json.read_object(data, KNOWN)
    except NotUnderstood as refusal:
        _says_nothing_of(refusal.message)
        return
    again = strict_json.dump({name: json.loads(text) for name, text in fields.items()}) if _is_finite(fields) else data
    assert fields.keys() == strict_json.read_object(again, KNOWN).keys()
    for_go = go_json.decode(data, FLAT)
    told = {name: json.loads(text) for name, text in fields.items() if name in FLAT}
    assert {name: one for name, one in told.items() if one is not None} == for_go, "Go reads something else"


def _is_finite(fields: dict[str, bytes]) -> bool:
    return "Infinity" not in json.dumps([json.loads(text) for text in fields.values()])


def requests(data: bytes) -> None:
    """A body as a route reads it, and what is then sent upstream."""
    endpoint = ROUTES[(data[:1] or b"\0")[0] % len(ROUTES)]
    try:
        asked = DIALECTS[endpoint.tongue].read(endpoint, Said(data[1:], "multipart/form-data; boundary=x"))
        ask = permit(OWNER, asked, INSTALLED)
    except Refused:
        return
    if endpoint.takes is Takes.JSON:
        sent = json.loads(ask.body or b"")
        assert isinstance(sent, dict)
        assert "model" not in sent or endpoint.model_in is ModelIn.NOWHERE or sent["model"] == ask.spelling
    assert ask.most_tokens >= 0


def forms(data: bytes) -> None:
    kind, _, body = data.partition(b"\n")
    try:
        parts = multipart.parse(body, header(kind), known=FORM_KNOWN, files=FILES)
    except NotUnderstood as refusal:
        _says_nothing_of(refusal.message)
        return
    again = multipart.parse(
        form_of(parts), "multipart/form-data; boundary=llamagate-4b1d2e0f6a", known=FORM_KNOWN, files=FILES
    )
    assert parts == again, "what is sent is not what was read"


def proofs(data: bytes) -> None:
    """Where credentials stand in a request, and what is found in them."""
    path, *lines = data.split(b"\n")
    found, rest = credentials.presented(headers(lines), header(path))
    for one in found:
        assert one.text.isascii()
        assert len(one.text) <= credentials.LONGEST
        assert "text=" not in repr(one)
        _token(one.text)
        ollama_identity.read(one.text)
        credentials.is_placeholder(one.text)
    assert rest.startswith("/") or not header(path).startswith(credentials.IN_PATH)
    seconds = ollama_identity.timestamp(header(path).partition("?")[2])
    assert seconds is None or 0 <= seconds < 10**12


def _token(text: str) -> None:
    with suppress(Unauthenticated):
        token = tokens.read(text)
        tokens.check(token, ISSUER)
        claims.claims_of(token.payload, ISSUER, "mark", NOON.timestamp())


def signed_tokens(data: bytes) -> None:
    _token(header(data))
    with suppress(Unreadable, Unauthenticated):
        claims.claims_of(read_object(data), ISSUER, "mark", NOON.timestamp())
    with suppress(Unreadable):
        assert jwks.read_jwks(data, ISSUER.algorithms).keys


def identities(data: bytes) -> None:
    text = header(data)
    try:
        assert len(ollama_identity.public_key(text)) == ollama_identity.KEY_BYTES
    except ValueError as error:
        _is_plain(error)
    signed = ollama_identity.read(text)
    if signed is not None:
        assert (32, 64) == (len(signed.public_key), len(signed.signature))
        ollama_identity.genuine(signed, "GET", "/", 0)
    ollama_identity.timestamp(text)


def client_addresses(data: bytes) -> None:
    peer, *lines = data.split(b"\n")
    peer_text = header(peer)
    normal = addresses.normal(peer_text)
    assert normal == addresses.normal(normal)
    told = addresses.client_address(peer_text, headers(lines), TRUSTED)
    assert told == addresses.normal(told), "no address in its normal form"
    assert bool(told) == bool(normal)
    for read in (hosts.network, hosts.host_and_port):
        with suppress(ValueError):
            read(peer_text)
    hosts.is_loopback(peer_text)


def preambles(data: bytes) -> None:
    try:
        told = preamble.read(data)
    except NoPreamble:
        return
    sizes = set()
    for end in {*range(min(120, len(data))), *range(0, len(data), 101)}:
        early = preamble.read(data[:end])  # What may still become one is none yet, and never a mistake.
        if early is not None:
            sizes.add((early.size, early.client))
    if told is not None:
        assert told.size <= len(data)
        assert sizes <= {(told.size, told.client)}, "it depends on where the bytes are cut"
        assert told.client is None or told.client == addresses.normal(told.client)


def model_names(data: bytes) -> None:
    text = header(data)
    with suppress(BadName):
        name = models.canonical(text)
        assert name == models.canonical(str(name)) == models.canonical(name.spelling), "its own name means another"
        assert str(name).isascii()
    try:
        pattern = models.canonical_pattern(text)
    except ValueError:
        return
    assert pattern == models.canonical_pattern(pattern)
    assert pattern == models.canonical_pattern(models.shortest(pattern))
    models.covered(models.canonical(MODEL), (pattern,))


def answers(data: bytes) -> None:
    """What a backend says, however it comes, and whichever meter listens."""
    sample = SAMPLES[(data[:1] or b"\0")[0] % len(SAMPLES)]
    hides = bool(len(data) % 2)
    said = data[1:]
    try:
        whole = seen(sample.meter(hides_usage=hides), said)
    except BackendFailed as error:
        _safe(error)
        return
    assert whole == seen(sample.meter(hides_usage=hides), *pieces(said)), "it depends on where the bytes are cut"
    assert 0 <= whole.usage.prompt_tokens <= 10**9
    assert 0 <= whole.usage.completion_tokens <= 10**9


def refusals_of_backends(data: bytes) -> None:
    for status in (200, 302, 400, 401, 405, 429, 500, 503, 999):
        _safe(trouble.refusal(status, data))
    with suppress(ValueError, RecursionError):
        told = json.loads(data)
        if isinstance(told, dict):
            read_tags(told)


def _safe(error: GateError) -> None:
    assert 400 <= error.status < 600
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
        body = rendered(error, path, "c1")[2]
        assert isinstance(json.loads(body), dict)
        assert error.message.isprintable()


def paths(data: bytes) -> None:
    """What stands in a request line, in a query and in a browser's question."""
    target, *lines = data.split(b"\n")
    path, _, query = header(target).partition("?")
    for method in ("GET", "POST", "DELETE", "HEAD", "XX"):
        with suppress(Refused):
            endpoint, segment = endpoints.find(method, path)
            assert (endpoint.path == path) != bool(segment), "a path that is not in the table"
    _safe(Refused("No."))
    rendered(Refused("No."), path, "c1")
    try:
        told = queries.read(query, ("since", "until", "by", "tz"))
        period = usage.asked(told, NOON, "UTC")
        assert period.until is None or period.since < period.until
    except NotUnderstood as refusal:
        _safe(refusal)
    said = dict(headers(lines))
    answer = cors.on_preflight(said, ("https://a.example",))
    assert all(value.isprintable() for value in answer.values())


def tables_of_users(data: bytes) -> None:
    try:
        found = importing.rows(data)
    except NotDone as refusal:
        _says_something(refusal)
        return
    assert 1 <= len(found) <= importing.MOST_ROWS


def redis_urls(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        address = redis_url.redis_address(text)
    except ValueError as error:
        _is_plain(error)
        return
    redis_url.is_open_to_all(address)


def amounts_and_prices(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (written.seconds, written.size):
        with suppress(ValueError):
            assert 0 <= read(text) < float("inf")
    for field in amounts.SHORT.values():
        with suppress(ValueError):
            assert 0 <= amounts.read(field, text) < float("inf")
    try:
        price = prices.PriceSettings.model_validate({"prompt": text})
    except ValidationError as error:
        _says_nothing_of(str(error))
        return
    assert 0 <= price.price[0] <= prices.DEAREST


def settings_files(data: bytes) -> None:
    with suppress(Mistakes):
        load.load(
            text=data.decode("utf-8", "replace"),
            file="llamagate.toml",
            environment={},
            flags={},
            read_secret=lambda path: "",
            check_pattern=models.canonical_pattern,
        )


def compressed(data: bytes) -> None:
    with suppress(NotUnderstood):
        assert len(codings.decoded(data, "zstd", 10_000)) <= 10_000


def _says_something(error: GateError) -> None:
    assert error.message


def _is_plain(error: ValueError) -> None:
    """Whether it is the one that is promised, and none of Unicode's or of a library's that happens to be one too."""
    assert type(error) is ValueError, "another error than its own"
    _says_nothing_of(str(error))


def _says_nothing_of(message: str) -> None:
    """Whether what came is quoted: the word is in every seed with a secret, and in no message of ours."""
    assert "SECRET" not in message, "it quotes what it was given"


KNOWN: Final = frozenset("model stream messages options keep_alive format tools".split())
FLAT: Final[dict[str, Any]] = dict.fromkeys(KNOWN)
ROUTES: Final = [one for one in endpoints.ENDPOINTS if one.takes in (Takes.JSON, Takes.FORM)]
OWNER: Final = Caller("olga", "k1", Plan("owner", grants=frozenset(Risk), owner=True, cloud=True))
INSTALLED: Final = read_tags({"models": [{"name": MODEL}, {"name": "far", "remote_host": "x"}]})
TRUSTED: Final = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
ISSUER: Final = Issuer(
    "corp",
    "https://issuer.example",
    ("llamagate",),
    algorithms=("RS256", "ES256", "EdDSA"),
    groups=(("staff", "default"),),
    teams=(("staff", "red"),),
    team_claim="team",
    require=(("realm.roles", ("user",)),),
    plan="default",
)


def _post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"POST /api/chat HTTP/1.1", b"Host: gate.example", *fields, b"", b"")) + body


_GET: Final = b"GET /v1/models HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer SECRET\r\n\r\n"
_CHUNKS: Final = b"5\r\nhello\r\n0a\r\n0123456789\r\n0\r\n\r\n"
_BODY: Final = (
    b'{"model":"llama3.2:1b","messages":[{"role":"user","content":"SECRET \\u00e9","images":["aGVsbG8="]}],'
    b'"options":{"num_predict":5,"num_ctx":4096,"stop":["a"]},"stream":true,"stream_options":{"include_usage":false},'
    b'"max_tokens":7,"tools":[{"type":"web_search"},{"type":"function","function":{"name":"f"}}],"keep_alive":"5m",'
    b'"logprobs":true,"top_logprobs":2,"input":["a","b"],"prompt":"x","think":"low"}'
)
_FORM: Final = (
    b"multipart/form-data; boundary=x\n--x\r\n"
    b'Content-Disposition: form-data; name="file"; filename="a.WAV"\r\nContent-Type: audio/wav; codecs="1"\r\n\r\n'
    b"RIFF....SECRET\r\n--x\r\n"
    b'Content-Disposition: form-data; name="model"\r\n\r\nllama3.2:1b\r\n--x\r\n'
    b'content-disposition: form-data; name="timestamp_granularities[]"\r\n\r\nword\r\n--x--\r\n'
)
_TOKEN: Final = (
    b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0."
    b"eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJsbGFtYWdhdGUifQ.c2ln"
)
_PAYLOAD: Final = (
    b'{"iss":"https://issuer.example","sub":"alice","aud":"llamagate","iat":1772366000,"exp":1772367000,'
    b'"nbf":1772366000,"groups":["staff"],"realm":{"roles":["user"]},"team":"SECRET","jti":"1"}'
)
_JWKS: Final = (
    b'{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"k1","use":"sig","alg":"ES256"},'
    b'{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
)
_KEY_LINE: Final = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea SECRET@host"
_SIGNED: Final = _KEY_LINE.split()[1] + b":" + b"A" * 86 + b"=="
_ZSTD: Final = bytes.fromhex("28b52ffd0400410000") + b"SECRET!!" + bytes.fromhex("00000000")

TARGETS: Final = (
    Target(
        framing,
        (
            _GET + _GET,
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + _GET,
            _post(b"Content-Length: 5", body=b"hello") + _GET,
            _post(b"Transfer-Encoding: chunked", body=_CHUNKS) + _GET,
            _post(b"tRANSFER-eNCODING:\tChUnKeD ", b"Connection: close", body=_CHUNKS) + _GET,
            _post(b"Content-Length: 2", b"Expect: 100-Continue", b"Content-Type: a/b", body=b"{}"),
            b"HEAD /api/blobs/x HTTP/1.1\r\nHost: [::1]:80\r\nX: \t\xe9\r\nCookie:\r\n\r\n" + _GET,
            b"DELETE /api/delete HTTP/1.1\r\nhost: a\r\ncontent-length: 47\r\n\r\n" + _GET,
        ),
    ),
    Target(strict_objects, (_BODY, b'{"model":"SECRET","a":{"b":[1,2.5e3,-0,null,true]}}', b" {} ")),
    Target(requests, tuple(bytes([at]) + _BODY for at in range(len(ROUTES)))),
    Target(forms, (_FORM, _FORM.replace(b"boundary=x", b'Boundary="x"; charset=utf-8'))),
    Target(
        proofs,
        (
            b"/k/sk-lg_SECRET/v1/models\nX-Api-Key: ollama",
            b"/api/tags?ts=1772366400\nauthorization: " + _SIGNED,
            b"/\nAuthorization: Basic YWxpY2U6U0VDUkVU\nx-api-key: SECRET",
            b"/v1/models\nAuthorization: Bearer " + _TOKEN,
        ),
    ),
    Target(signed_tokens, (_TOKEN, _PAYLOAD, _JWKS)),
    Target(identities, (_KEY_LINE, _KEY_LINE.split()[1], _SIGNED, b"a=1&ts=1772366400", b"ssh-rsa AAAAB3NzaC1yc2E=")),
    Target(
        client_addresses,
        (
            b"10.1.2.3\nX-Forwarded-For: 198.51.100.7, 10.0.0.9:80\nX-Forwarded-For: [2001:db8::1]:443",
            b'2001:db8::5\nForwarded: for="[2001:db8:cafe::17]:4711";proto=http, for=192.0.2.60;by=_x, for=unknown',
            b"fe80::1%eth0\nForwarded: for=_hidden:_p",
            b"::ffff:10.0.0.1",
            b"10.0.0.0/8",
            b"[::1]:8080",
        ),
    ),
    Target(
        preambles,
        (
            b"PROXY TCP4 198.51.100.7 10.0.0.9 56324 443\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            b"PROXY UNKNOWN a b\r\n",
            preamble.SIGNATURE + bytes.fromhex("2111000c0a0000010a00000200500051") + b"GET",
            preamble.SIGNATURE + bytes.fromhex("20000000"),
        ),
    ),
    Target(
        model_names,
        (
            *(
                b"llama3.2:1b",
                b"hf.co/Org/Model-GGUF:Q4_K_M",
                b"library/llama3",
                b" LLAMA3:latest:local ",
                b"gpt:cloud",
            ),
            *(
                b"registry.ollama.ai/library/a:b",
                b"llama3*",
                b"hf.co/*",
                b"*",
                b"*/*/*:*",
                b"a-cloud",
                b"h:1/n/m:t-cloud",
            ),
        ),
    ),
    Target(answers, tuple(bytes([at]) + sample.content[:3000] for at, sample in enumerate(SAMPLES))),
    Target(
        refusals_of_backends,
        (
            b'{"error":"model \\"x\\" not found at /root/.ollama/x, see http://10.0.0.1:1"}',
            b'{"error":{"message":"{\\"error\\":{\\"message\\":\\"context length\\"}}","type":"a"}}',
            b'{"models":[{"name":"llama3.2:1b","remote_host":""},{"name":1},null]}',
            b"<html>\x1b[31mout of memory",
        ),
    ),
    Target(
        paths,
        (
            b"/v1/models/llama3%3A1b?x",
            b"/api/blobs/sha256:" + b"a" * 64,
            b"/v1/usage?since=2026-01-01&until=2026-02-01T00:00:00Z&by=day,model&tz=Europe/Berlin",
            b"/v1/usage?since=2026-01-01T10:00%2B02:00&by=hour",
            b"/\nOrigin: https://a.example\nAccess-Control-Request-Method: PUT\nAccess-Control-Request-Headers: a, b-c",
        ),
    ),
    Target(
        tables_of_users,
        (
            b"user,team,plan,models,expires,note,rpm\nalice,red,default,llama3*,90d,SECRET,60\nbob,,,,,,\n",
            b'\xef\xbb\xbfuser;note\r\n"a""b","x\ny"\r\n',
            b'user,note\n"a","b\n"\n',
        ),
    ),
    Target(
        redis_urls,
        (
            b"redis://alice:SECRET@localhost:6379/3",
            b"rediss://:SECRET%40@[::1]/0?ssl_ca_certs=/etc/ca.pem",
            b"redis+sentinel://a:b@h1:1,h2/service/2?sentinel_username=u&sentinel_password=SECRET",
            b"rediss+cluster://a:SECRET@h1,h2:7000",
            b"unix:///run/redis.sock",
        ),
    ),
    Target(amounts_and_prices, (b"1h30m", b"90d", b"0.5s", b"32MiB", b"10 kb", b"60", b"0.10", b"1e-5", b"2.5E+3")),
    Target(
        settings_files,
        (
            b'listen = "127.0.0.1:0"\nidle_timeout = "5m"\n[plans.default]\nmodels = ["llama3*"]\n'
            b'[plans.default.limits]\nrequests_per_minute = 60\n[prices."gemma3:*"]\nprompt = "0.1"\n'
            b'[auth.issuers.corp]\nurl = "https://i.example"\naudiences = ["a"]\n'
            b'[door]\ntrusted_proxies = ["10.0.0.0/8"]\n',
            b'redis_url = "redis://a:SECRET@localhost"\nstate_dir = "/tmp"\n[ledger]\nkeep = "90d"\nwatts = 300\n',
        ),
    ),
    Target(compressed, (_ZSTD,)),
)
