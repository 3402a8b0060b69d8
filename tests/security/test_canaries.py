"""Unique words in every place where a client can put one, through the real gate with everything switched on; then all
that the gate keeps, tells and answers is searched for them.
"""

import asyncio
import base64
import json
import re
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proxy.bootstrap.workshop import Workshop
from proxy.config.settings import Settings
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import SEGMENT, Takes
from tests.end_to_end.commands import forge as commands
from tests.end_to_end.gate import LISTENS
from tests.end_to_end.processes import environment, running
from tests.fakes.answers import BESIDES_MODEL, DIGEST, MODEL, NDJSON, SSE, STREAMS, WHOLE
from tests.fakes.ollama_client import OllamaClient, new_key_file
from tests.fakes.raw_client import RawClient
from tests.fakes.redis import NewRedis, RedisServer
from tests.fakes.tokens import Forge, jwk
from tests.fakes.upstream import LAST_CHUNK, Asked, RecordingUpstream, Step, chunk, recording, streaming, whole
from tests.security.chaos.stage import got, toml

ADMIN = re.compile(r"admin at +http://[^:]+:(\d+)")
ZEROS = re.compile(rb"\0+")
"""Megabytes of a database and of a journal, and in no word."""
AT_ONCE = 8
PATIENCE_SECONDS = 8.0
ANSWER = "cnryanswer" + "0" * 10
"""What the upstream says: for whoever asked, and nobody else."""


def on_record(place: str) -> bool:
    """Whether the ledger has what a known caller says there: the name of the model that is asked for."""
    return place.startswith(NAMED)


NAMED = "the name of a model"


class Canaries:
    """Words that nobody says by chance, each for one place."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {ANSWER: "an answer"}

    def of(self, place: str) -> str:
        """Letters and digits, so that they pass for whatever is asked for."""
        word = f"cnry{secrets.token_hex(8)}"
        self.places[word] = place
        return word

    def known(self, word: str, place: str) -> None:
        """A word that somebody else has made."""
        self.places[word.lower()] = place

    def within(self, text: bytes) -> set[str]:
        """The places of those that a text has, as they are or in one of the ways in which they may be written."""
        low = ZEROS.sub(b"\0", text.lower())
        return {place for word, place in self.places.items() if any(way in low for way in _ways(word))}


@cache
def _ways(word: str) -> tuple[bytes, ...]:
    plain = word.encode()
    ways = [plain, plain.hex().encode(), plain[::-1]]
    for shift in range(3):  # As base64 writes it amid other bytes.
        coded = base64.b64encode(b"\0" * shift + plain)
        ways.append(coded[(shift * 8 + 5) // 6 : len(plain) * 8 // 6].lower())
    return tuple(ways)


def test_a_word_is_found_however_it_is_written() -> None:
    canaries = Canaries()
    word = canaries.of("here")
    written = [
        word,
        word.upper(),
        word.encode().hex(),
        *(base64.b64encode(f"{'a' * n}{word}b".encode()).decode() for n in range(5)),
    ]

    assert [{"here"}] * len(written) == [canaries.within(f"before {one} after".encode()) for one in written]
    assert set() == canaries.within(b"cnry and others")


Body = dict[str, Any]


@dataclass
class Places:
    """The requests, with a word in each place; ``key`` lets its owner in."""

    canaries: Canaries
    key: str = field(repr=False)
    diary: str = field(repr=False)
    """Another key, of somebody whose plan says that prompts are kept."""
    forge: Forge = field(default_factory=lambda: Forge(datetime.now(UTC)))

    def request(
        self, first: str, *fields: str, body: bytes | str = b"", key: str | None = None, length: bool = True
    ) -> bytes:
        text = body.encode() if isinstance(body, str) else body
        known = [f"Authorization: Bearer {self.key if key is None else key}"] if key != "" else []
        sized = [f"Content-Length: {len(text)}"] if text and length else []
        lines = [f"{first} HTTP/1.1", "Host: gate.example", "Connection: close", *known, *sized, *fields, "", ""]
        return "\r\n".join(lines).encode("latin-1") + text

    def chat(self, *fields: str, key: str | None = None, **members: Any) -> bytes:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "why?"}], **members}
        return self.request("POST /v1/chat/completions", *fields, body=json.dumps(body), key=key)

    def all(self) -> Iterator[bytes]:
        yield from self.fields()
        yield from self.bad_heads()
        yield from self.targets()
        yield from self.credentials()
        yield from self.tokens()
        yield from self.bodies()
        yield from self.bad_bodies()
        yield from self.forms()
        yield from self.chunks()

    def fields(self) -> Iterator[bytes]:
        """In the value of each header field that means something to somebody, and in a name."""
        of = self.canaries.of
        for name in HEADERS:
            yield self.chat(f"{name}: {of(f'the header {name}')}")
        yield self.chat(f"X-{of('the name of a header')}: 1")
        for value in ("multipart/form-data; boundary={}", "application/json; charset={}", "text/{}"):
            yield self.chat(f"Content-Type: {value.format(of('a type of content'))}")
        yield self.chat(f"Forwarded: for={of('Forwarded for')};by={of('Forwarded by')}")
        word = of("an escape in a header")
        yield self.chat(f"User-Agent: \x1b[2J{word}\x7f")
        yield self.chat(f"Referer: https://\xff\xfe{of('a header in Latin-1')}")

    def bad_heads(self) -> Iterator[bytes]:
        """What no parser takes: the words before and after the mistake."""
        of = self.canaries.of
        for name, bad in BAD_BYTES.items():
            yield self.chat(f"X-A: {of(f'a header before {name}')}{bad}{of(f'a header after {name}')}")
            yield self.request(f"GET /v1/{of(f'a path before {name}')}{bad}{of(f'a path after {name}')}")
        yield f"{of('a method')} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        yield f"GET / HTTP/{of('a version')}\r\nHost: a\r\n\r\n".encode()
        yield f"{of('no HTTP at all')}\r\n\r\n".encode()
        yield f"GET / HTTP/1.1\r\nHost: a\r\n{of('a header without a colon')}\r\n\r\n".encode()
        yield f"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n {of('a folded header')}\r\n\r\n".encode()
        yield self.chat(f"X-Long: {of('a header that is too long')}{'a' * 10_000}")
        yield self.chat(*(f"X-{number}: {of('one of too many headers')}" for number in range(200)))
        yield self.request("POST /v1/chat/completions", f"Content-Length: {of('a length')}", length=False)
        yield self.request("POST /v1/chat/completions", f"Transfer-Encoding: {of('a coding')}, chunked", length=False)
        yield f"GET / HTTP/1.1\r\nHost: a\r\nX: {of('an unfinished head')}".encode()
        yield f"PROXY TCP4 {of('a preamble')} 1.2.3.4 1 2\r\n".encode()

    def targets(self) -> Iterator[bytes]:
        of = self.canaries.of
        for method in ("GET", "POST", "OPTIONS", "TRACE"):
            yield self.request(f"{method} /{of('a path')}")
        for path in ("/v1/{}", "/api/{}", "/api/chat/{}", "/v1/../{}", "//{}/v1/models", "/v1/models/{}", "/%2e%2e/{}"):
            yield self.request(
                f"GET {path.format(of(NAMED + ' in a path' if path == '/v1/models/{}' else f'the path {path}'))}"
            )
        yield self.request(f"DELETE /api/user/keys/{of('the key of a user')}")
        yield self.request(f"HEAD /api/blobs/sha256:{of('a digest')}")
        yield self.request(f"GET /v1/models#{of('a fragment')}")
        user = f"{of('a user in a URL')}:{of('a password in a URL')}"
        yield self.request(f"GET http://{user}@{of('a host in a URL')}.example/v1/models?a={of('a query in a URL')}")
        yield self.request(f"CONNECT {of('whom to connect to')}.example:443")
        for endpoint in ENDPOINTS:
            path = endpoint.path.replace(SEGMENT, DIGEST if "blobs" in endpoint.path else MODEL)
            query = f"{of('the name in a query')}={of('the value in a query')}"
            yield self.request(f"{endpoint.method} {path}?{query}")
            yield self.request(f"{endpoint.method} {path}?{query}", key="")
        for name in ("since", "until", "by", "tz"):
            yield self.request(f"GET /v1/usage?{name}={of(f'the query {name}')}")
        yield self.request(f"GET /api/tags?ts={of('a time that is signed')}")

    def credentials(self) -> Iterator[bytes]:
        """Good ones and bad ones, in each place."""
        of, good = self.canaries.of, self.key
        secret = good.rpartition("_")[2]
        for shape in ("{}", "llg_{}", "sk-{}", f"{good}{{}}", good.replace(secret, "{}") if secret else "{}", "a {}"):
            word = shape.format(of(f"a bad key like {shape.replace(good, 'KEY').replace(secret, 'SECRET')[:20]}"))
            for line in (f"Authorization: Bearer {word}", f"X-Api-Key: {word}", f"Authorization: {word}"):
                yield self.chat(line, key="")
            yield self.chat(f"Authorization: Basic {_basic(f'alice:{word}')}", key="")
            yield self.request(f"GET /k/{urllib.parse.quote(word, safe='')}/v1/models", key="")
        yield self.chat(f"Authorization: {of('a scheme')} {of('a credential of an unknown scheme')}", key="")
        yield self.chat(f"Authorization: Basic {of('no base64')}!", key="")
        yield self.chat(f"Authorization: Basic {_basic(of('a user that is a name') + ':' + good)}", key="")
        yield self.chat(f"X-Api-Key: {of('a second credential')}")
        yield self.chat(f"X-Api-Key: {good}", key="")
        yield self.request(f"GET /k/{good}/v1/models", key="")
        yield self.request(f"GET /k/{good}/{of('a path behind a key')}", key="")

    def tokens(self) -> Iterator[bytes]:
        """Tokens that are good but for what nobody asked for, and bad ones."""
        of, forge = self.canaries.of, self.forge
        extra = {name: of(f"the claim {name}") for name in CLAIMS}
        yield self._token(forge.good("RS256", **extra))
        yield self._token(forge.good("RS256", groups=[of("a group")], amr=[of("a list in a claim")], a={"b": of("in")}))
        for name in ("iss", "aud", "exp", "iat", "nbf"):  # A good sub is a user, whose name is on record.
            yield self._token(forge.good("RS256", **{name: of(f"the wrong claim {name}")}))
        for name in ("kid", "jku", "x5u", "cty", "typ", "crit", "alg"):
            header = {"alg": "RS256", "typ": "JWT", "kid": "rsa", name: of(f"the header {name} of a token")}
            yield self._token(forge.signed(header, forge.payload()))
        late = forge.seconds - 7200
        yield self._token(forge.good("RS256", sub=of("who has an old token"), exp=late, iat=late - 60))
        first, second, third = forge.good("RS256", sub=of("who has a forged token")).split(".")
        yield self._token(f"{first}.{second}.{third[::-1]}")
        yield self._token(f"eyJhbGciOiJub25lIn0.{_coded({'sub': of('an unsigned claim')})}.{of('a signature')}")

    def _token(self, token: str) -> bytes:
        self.canaries.known(token.rpartition(".")[2][:40] or token[:40], "the signature of a token")
        return self.chat(f"Authorization: Bearer {token}", key="")

    def bodies(self) -> Iterator[bytes]:
        """In each member that a dialect has, in unknown ones and in their names: together, and one by one."""
        for path, body in BODIES.items():
            for stream in (False, True):
                yield self._said(path, {**self._filled(path, body), "stream": stream})
            yield self._said(path, {**self._filled(path, body), "model": self.canaries.of(f"{NAMED} for {path}")})
            yield self.request(f"POST {path}", body=json.dumps(self._filled(path, body)), key="")
            for name in (*body, *KNOBS):
                word = self.canaries.of(f"{NAMED if name == 'model' else name} of {path}, of a wrong type")
                yield self._said(path, {**BESIDES_MODEL.get(path, {}), "model": MODEL, name: word})
                yield self._said(path, {**BESIDES_MODEL.get(path, {}), "model": MODEL, name: {word: word}})
            for name in OPTIONS:
                word = self.canaries.of(f"the option {name} of {path}")
                yield self._said(path, {**BESIDES_MODEL.get(path, {}), "model": MODEL, "options": {name: word}})
            word = self.canaries.of(f"an unknown option of {path}")
            yield self._said(path, {**BESIDES_MODEL.get(path, {}), "model": MODEL, "options": {word: 1}})
            yield self._said(
                path, {**BESIDES_MODEL.get(path, {}), "model": MODEL, self.canaries.of(f"unknown in {path}"): 1}
            )
        for path in ("/api/show", "/api/pull", "/api/push", "/api/create", "/api/delete"):
            method = "DELETE" if path == "/api/delete" else "POST"
            for name in ("model", "name", "from", "system", "template", "modelfile", "username", "password"):
                said = {
                    "model": MODEL,
                    name: self.canaries.of(f"{NAMED if name in ('model', 'name') else name} of {path}"),
                }
                yield self.request(f"{method} {path}", body=json.dumps(said))
        for name in ("source", "destination"):
            said = {"source": MODEL, "destination": MODEL, name: self.canaries.of(f"{NAMED}, {name} of /api/copy")}
            yield self.request("POST /api/copy", body=json.dumps(said))

    def _filled(self, path: str, body: Any, name: str = "") -> Any:
        """A word in place of each ``...``, and one in each name that is one."""
        if body is ...:
            return self.canaries.of(f"{name} of {path}")
        if isinstance(body, list):
            return [self._filled(path, one, name) for one in body]
        if isinstance(body, Mapping):
            return {
                self.canaries.of(f"a name in {name} of {path}") if key == "..." else key: self._filled(path, one, key)
                for key, one in body.items()
            }
        return body

    def _said(self, path: str, body: Body) -> bytes:
        return self.request(f"POST {path}", body=json.dumps(body))

    def bad_bodies(self) -> Iterator[bytes]:
        of = self.canaries.of
        for path in ("/v1/chat/completions", "/api/chat", "/v1/messages"):
            said = {"model": MODEL, "messages": [{"role": "user", "content": "CONTENT"}], "max_tokens": 4}
            good = json.dumps(said)
            for name, bad in {
                "twice": good[:-1] + ', "model": "CONTENT"}',
                "in another case": good[:-1] + ', "Model": "CONTENT"}',
                "cut": good[: good.index("CONTENT") + 7],
                "with more behind": good + "CONTENT",
                "no object": '"CONTENT"',
                "no JSON": "CONTENT",
                "not a number": good[:-1] + ', "x": NaN}',
                "deep": "[" * 5000 + '"CONTENT"',
                "a control character": good.replace("CONTENT", "CONTENT\x01"),
                "half a pair": good.replace("CONTENT", "CONTENT\\ud800"),
                "a byte order mark": "\ufeff" + good,
            }.items():
                yield self.request(f"POST {path}", body=bad.replace("CONTENT", of(f"JSON {name}, for {path}")))
            word = of(f"bytes that are no UTF-8, for {path}")
            yield self.request(f"POST {path}", body=good.replace("CONTENT", word).encode() + b"\xff\xfe")
            yield self.request(f"POST {path}", "Content-Encoding: gzip", body=of(f"no gzip, for {path}"))
            half = of(f"half a body for {path}").encode()
            yield self.request(f"POST {path}", "Content-Length: 900", length=False) + half
            yield self.request(f"POST {path}", body=good.replace("CONTENT", of(f"too large, for {path}") * 20_000))

    def forms(self) -> Iterator[bytes]:
        of = self.canaries.of
        for model in (MODEL, of(f"{NAMED} in a form")):
            boundary = f"x{of('a boundary')}"
            parts: tuple[str, ...] = (
                f'form-data; name="model"\r\n\r\n{model}',
                f'form-data; name="prompt"\r\n\r\n{of("the prompt of a form")}',
                f'form-data; name="{of("the name of a field")}"\r\n\r\n{of("the value of a field")}',
                f'form-data; name="file"; filename="{of("the name of a file")}.wav"\r\n'
                f"Content-Type: audio/{of('the type of a file')}\r\nX-A: {of('a header of a part')}\r\n\r\n"
                f"{of('the bytes of a file')}",
            )
            text = "".join(f"--{boundary}\r\nContent-Disposition: {part}\r\n" for part in parts) + f"--{boundary}--\r\n"
            kind = f"Content-Type: multipart/form-data; boundary={boundary}"
            for body in (text, text[:-30], text.replace("form-data; name", "form-data; nam")):
                yield self.request("POST /v1/audio/transcriptions", kind, body=body)

    def chunks(self) -> Iterator[bytes]:
        of = self.canaries.of
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": of("a prompt in chunks")}]})
        size = f"{len(body):x}"
        for name, text in {
            "an extension": f"{size};{of('the name of an extension')}={of('an extension')}\r\n{body}\r\n0\r\n\r\n",
            "a trailer": f"{size}\r\n{body}\r\n0\r\n{of('the name of a trailer')}: {of('a trailer')}\r\n\r\n",
            "a bad size": f"{of('the size of a chunk')}\r\n{body}\r\n0\r\n\r\n",
            "no end": f"{size}\r\n{body}{of('where a chunk should end')}\r\n0\r\n\r\n",
        }.items():
            yield self.request(
                f"POST /v1/chat/completions?{of(name)}", "Transfer-Encoding: chunked", body=text, length=False
            )
            yield self.request("POST /v1/chat/completions", "Transfer-Encoding: chunked", body=text, length=False)

    def kept(self) -> Iterator[tuple[str, bytes]]:
        """What is kept on purpose, by its word: what callers ask whose plan says so."""
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
            word = self.canaries.of(f"a prompt that is kept, for {path}")
            body = {"model": MODEL, "messages": [{"role": "user", "content": word}], "max_tokens": 4}
            body |= {"options": {"num_predict": 4}} if path == "/api/chat" else {}
            yield word, self.request(f"POST {path}", body=json.dumps(body), key=self.diary)


HEADERS = (
    "User-Agent Referer Cookie Origin Accept Accept-Language Accept-Encoding If-None-Match If-Modified-Since Range "
    "From "
    "Via Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-User X-Real-IP X-Request-Id X-Correlation-Id "
    "Traceparent Tracestate Baggage Proxy-Authorization X-Original-URL X-Rewrite-URL X-HTTP-Method-Override "
    "OpenAI-Organization OpenAI-Project OpenAI-Beta Anthropic-Version Anthropic-Beta Idempotency-Key "
    "X-Stainless-Lang Expect Upgrade TE "
    "Trailer Keep-Alive Sec-WebSocket-Key HTTP2-Settings Content-Encoding Content-Language Max-Forwards Date Priority "
    "Access-Control-Request-Method Sec-Fetch-Site Host"
).split()
BAD_BYTES = {"a NUL": "\0", "a control character": "\x01", "a bare CR": "\rx", "a bare LF": "\nx", "a byte": "\xff"}
CLAIMS = "name email preferred_username scope nonce jti azp sid acr client_id roles phone_number address".split()
KNOBS = (
    "temperature max_tokens n stop seed user stream keep_alive format think tools metadata logprobs service_tier"
).split()
OPTIONS = "num_ctx num_predict num_gpu temperature stop seed mirostat".split()
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\ncnry").decode()
TOOL = {"name": ..., "description": ..., "parameters": {"type": "object", "properties": {"...": {"type": "string"}}}}
CALLED = {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}
OPENAI_CHAT: Body = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": ...},
        {"role": "user", "name": ..., "content": [{"type": "text", "text": ...}]},
        {"role": "assistant", "content": ..., "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": ..., "content": ...},
    ],
    "tools": [{"type": "function", "function": TOOL}],
    "stop": [...],
    "user": ...,
    "metadata": {"...": ...},
    "prompt_cache_key": ...,
    "safety_identifier": ...,
    "response_format": {"type": "json_schema", "json_schema": {"name": ..., "schema": {"title": ...}}},
    "...": ...,
}
BODIES: Mapping[str, Body] = {
    "/v1/chat/completions": OPENAI_CHAT,
    "/v1/completions": {"model": MODEL, "prompt": ..., "suffix": ..., "user": ..., "stop": ..., "...": ...},
    "/v1/embeddings": {"model": MODEL, "input": [...], "user": ..., "encoding_format": ..., "...": ...},
    "/v1/responses": {
        "model": MODEL,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": ...}]}],
        "instructions": ...,
        "tools": [{"type": "function", **TOOL}],
        "metadata": {"...": ...},
        "previous_response_id": ...,
        "user": ...,
        "...": ...,
    },
    "/v1/messages": {
        "model": MODEL,
        "max_tokens": 16,
        "system": [{"type": "text", "text": ...}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": ...}]},
            {"role": "assistant", "content": ...},
        ],
        "metadata": {"user_id": ...},
        "stop_sequences": [...],
        "tools": [{"name": ..., "description": ..., "input_schema": {"type": "object", "title": ...}}],
        "...": ...,
    },
    "/api/chat": {
        "model": MODEL,
        "messages": [{"role": "system", "content": ...}, {"role": "user", "content": ..., "images": [PIXEL]}],
        "tools": [{"type": "function", "function": TOOL}],
        "format": {"title": ...},
        "options": {"stop": [...]},
        "...": ...,
    },
    "/api/generate": {
        "model": MODEL,
        "prompt": ...,
        "suffix": ...,
        "system": ...,
        "template": ...,
        "format": {"title": ...},
        "options": {"stop": [...]},
        "...": ...,
    },
    "/api/embed": {"model": MODEL, "input": [...], "...": ...},
    "/api/embeddings": {"model": MODEL, "prompt": ..., "...": ...},
    "/api/show": {"model": MODEL, "...": ...},
}
"""A word stands in place of each ``...``."""


def _basic(text: str) -> str:
    return base64.b64encode(text.encode("latin-1")).decode()


def _coded(claims: Body) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def answers(asked: Asked) -> Iterable[Step]:
    """A good answer with a word in it, or a refusal with one, in turns by what was asked."""
    path = asked.line.split()[1]
    if len(asked.body) % 7 == 0:
        return (whole(json.dumps({"error": f"no {ANSWER}"}).encode(), status="400 Bad Request"),)
    tongue = next((e.tongue for e in ENDPOINTS if e.path == path and e.takes is not Takes.NOTHING), None)
    if tongue is None or tongue not in WHOLE:
        return (whole(json.dumps({"models": [], "data": [], "details": ANSWER}).encode()),)
    if b'"stream":true' in asked.body.replace(b" ", b"") and tongue in STREAMS:
        _, content_type, pieces = STREAMS[tongue]
        said = [piece.replace(b"Be", ANSWER.encode()) for piece in pieces]
        assert content_type in (NDJSON, SSE)
        return (streaming(content_type), *map(chunk, said), LAST_CHUNK)
    return (whole(json.dumps({**json.loads(WHOLE[tongue]), "said": ANSWER}).encode()),)


@dataclass
class Scene:
    port: int
    admin: int
    folder: Path
    redis: RedisServer
    upstream: RecordingUpstream
    places: Places

    @property
    def canaries(self) -> Canaries:
        return self.places.canaries

    async def told(self, request: bytes) -> bytes:
        """Everything that comes back."""
        client = await RawClient.connect("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await client.send(request)
                return await client.closed()
        except (ConnectionError, TimeoutError):
            return bytes(client.received)
        finally:
            client.close()

    def files(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.folder)): file.read_bytes() for file in self.folder.rglob("*") if file.is_file()
        }

    def in_redis(self) -> bytes:
        """All keys with all their values."""
        say = self.redis.say
        read = {
            "string": lambda key: say("GET", key),
            "hash": lambda key: say("HGETALL", key),
            "zset": lambda key: say("ZRANGE", key, 0, -1, "WITHSCORES"),
            "set": lambda key: say("SMEMBERS", key),
            "list": lambda key: say("LRANGE", key, 0, -1),
        }
        return "\n".join(f"{key} {read[say('TYPE', key)](key)}" for key in say("KEYS", "*")).encode()


@asynccontextmanager
async def everything_on(folder: Path, redis: RedisServer, canaries: Canaries) -> AsyncIterator[Scene]:
    """The real process with all that keeps or tells anything."""
    gate = folder / "gate"
    gate.mkdir()
    forge = Forge(datetime.now(UTC))
    shared, pepper = secrets.token_hex(32), secrets.token_hex(32)
    (gate / "rsa.pem").write_text("")
    async with recording() as upstream, serving_keys() as keys_url:
        upstream.answers = answers
        told: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "upstream": upstream.url,
            "log_level": "debug",
            "log_format": "json",
            "pepper": pepper,
            "redis_url": redis.url,
            "failed_attempts_per_minute": 100_000,
            "max_body": "200KiB",
            "body_timeout": "2s",
            "cors_origins": ["https://page.example"],
            "trusted_proxies": ["127.0.0.1"],
            "ledger": {"usage_log": True, "currency": "EUR"},
            "door": {"head_timeout": "1s"},
            "plans": {"default": {"key_in_path": True}, "diary": {"log_prompts": "7d"}},
            "issuers": {
                "forge": {
                    "url": forge.url,
                    "audience": [forge.audience],
                    "jwks_url": keys_url,
                    "plan": "default",
                    "user_prefix": "",
                },
                "shared": {
                    "url": forge.shared_url,
                    "audience": [forge.audience],
                    "algorithms": ["HS256"],
                    "secret": shared,
                    "plan": "default",
                },
            },
        }
        (gate / "llamagate.toml").write_text(toml(told))
        settings = Settings.model_validate({"state_dir": gate / "state", **told})
        async with Workshop({}).desk(settings) as desk:
            key, diary = [
                (await desk.create_key(user, plan=plan)).secret
                for user, plan in (("alice", "default"), ("dora", "diary"))
            ]
            bad = await desk.create_key("bob")
            await desk.revoke(bad.key.id)
        for word, place in (
            (key, "a good key"),
            (diary, "another good key"),
            (bad.secret, "a revoked key"),
            (pepper, "the pepper"),
            (shared, "the secret of an issuer"),
            (redis.password or "", "the password of Redis"),
        ):
            canaries.known(word, place)
        variables = environment(gate)
        with running(["serve"], gate, ADMIN, variables, commands().gate) as process:
            listens = LISTENS.search(process.log.read_text())  # It is said before.
            assert listens is not None
            port = urllib.parse.urlsplit(listens[1]).port or 0
            places = Places(canaries, key, diary, forge)
            scene = Scene(port, int(process.url), gate, redis, upstream, places)
            yield scene
            await scene.told(places.chat(key=bad.secret))


@asynccontextmanager
async def serving_keys() -> AsyncIterator[str]:
    """The issuer's public keys."""
    text = json.dumps({"keys": [jwk("rsa")]}).encode()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(text))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    finally:
        server.close()


@pytest.mark.timeout(240)
async def test_nothing_that_a_client_can_put_anywhere_is_kept_or_told(tmp_path: Path, new_redis: NewRedis) -> None:
    canaries = Canaries()
    redis = new_redis(password=secrets.token_hex(16))
    at_once = asyncio.Semaphore(AT_ONCE)
    async with everything_on(tmp_path, redis, canaries) as scene:
        client = OllamaClient(new_key_file(tmp_path / "iris"))
        requests = list(scene.places.all())
        signed = client.sign(b"GET,/api/tags?ts=1")
        canaries.known(signed.rpartition(":")[2][:40], "a signature")
        requests.append(scene.places.request("GET /api/tags?ts=1", f"Authorization: {signed}", key=""))
        kept = list(scene.places.kept())

        async def told(request: bytes) -> bytes:
            async with at_once:
                return await scene.told(request)

        answered = await asyncio.gather(*map(told, [*requests, *(request for _, request in kept)]))
        _, metrics = await got(scene.admin, "/metrics")
        _, ready = await got(scene.admin, "/readyz")
        _, nothing = await got(
            scene.admin, f"/{canaries.of('a path of the admin listener')}?{canaries.of('its query')}"
        )
        running_files, in_redis = scene.files(), scene.in_redis()
    stopped = scene.files()
    prompts = {word: canaries.places.pop(word) for word, _ in kept}
    logged = b"".join(text for name, text in stopped.items() if name.startswith("state/prompts/"))
    lines = [json.loads(line) for line in stopped["out.log"].splitlines()]
    ended = [line for line in lines if line["event"] == "call_ended"]
    heard = b"".join(bytes(asked.raw) for asked in scene.upstream.asked)
    reached = canaries.within(b"".join(asked.body for asked in scene.upstream.asked))
    statuses = {answer.split()[1] for answer in answered if answer.startswith(b"HTTP/1.1 ")}

    # What was sent did arrive, and what is looked for would be found.
    assert len(canaries.places) > 500
    assert len(ended) > 400
    assert len(reached) > 60, "the prompts of those who may ask did reach the upstream"
    assert {b"200", b"400", b"401", b"404"} <= statuses
    assert b"500" not in statuses
    assert {line["outcome"] for line in ended} >= {"served", "refused"}
    assert any(name.endswith(".db-wal") for name in running_files)
    assert any(name.startswith("state/usage/") for name in running_files)
    assert any(name.startswith("state/journal/") for name in running_files)
    assert in_redis

    # Nobody is told.
    own = {"an answer"}
    told_elsewhere = {"metrics": metrics, "readiness": ready, "a 404 of the admin": nothing, "Redis": in_redis}
    assert {} == {where: found for where, text in told_elsewhere.items() if (found := canaries.within(text))}
    assert set() == set().union(*(canaries.within(answer) for answer in answered)) - own
    configured = {"the pepper", "the secret of an issuer", "the password of Redis"}
    kept_in = {
        name: canaries.within(text) - (configured if name == "llamagate.toml" else set())
        for name, text in (*running_files.items(), *stopped.items())
    }

    assert {} == {
        name: left for name, places in kept_in.items() if (left := {one for one in places if not on_record(one)})
    }
    # A prompt is kept where a plan says so, in the log of prompts and nowhere else.
    assert all(word.encode() in logged for word in prompts)
    canaries.places = prompts
    elsewhere = {**running_files, **stopped, "metrics": metrics, "Redis": in_redis}
    assert [] == [
        name for name, text in elsewhere.items() if not name.startswith("state/prompts/") and canaries.within(text)
    ]
    # What is no part of a body goes nowhere.
    assert scene.places.key.encode() not in heard
