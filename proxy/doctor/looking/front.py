"""Looks at the gate from outside, through whatever stands in front of it, as a client with a key would."""

import asyncio
import ipaddress
import json
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from proxy.doctor.front import FORGED, Front, Plain, Stream, Tls
from proxy.doctor.looking import PATIENCE_SECONDS, http, told, within
from proxy.doctor.looking.http import Answered, Place
from proxy.vocabulary import Clock

BODY_BYTES = 8 * 2**20
EVENTS = 8
EVERY_SECONDS = 0.25
SLACK_SECONDS = 15.0
"""Beyond what an answer has to take, for a network that is slow and a proxy that is busy."""
BODY_SECONDS = 90.0
"""For a body to go up a slow line."""
NO_MODEL = "llamagate-doctor-no-such-model"
_LARGEST_EVENTS = 2**20
_HEALTH = "/healthz"
_HTTP, _HTTPS = 80, 443


async def is_near(host: str) -> bool:
    """Whether every address of the host is this machine's or of a network of ours. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    addresses = {ipaddress.ip_address(str(there[0]).partition("%")[0]) for *_, there in found}
    return all(one.is_private or one.is_loopback for one in addresses)


async def look(
    url: str,
    key: str | None,
    *,
    wait: float,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
    plain_port: int | None = None,
    every: float = EVERY_SECONDS,
    patience: float = PATIENCE_SECONDS,
    near: Callable[[str], Awaitable[bool]] = is_near,
) -> Front:
    """Shows the key to nobody who is not believed, nor on a foreign network without TLS. ValueError for a bad URL.

    ``plain_port`` is where HTTP without TLS is looked for; without one, at port 80 where the URL has the usual port.
    ``every`` are the seconds between two events.
    """
    place = http.place_of(url)
    is_ours = await within(patience, near(place.host), lambda _: False)
    front = await within(
        patience, _first(Front(url, is_ours), place, clock, tls), lambda why: Front(url, is_ours, failure=why)
    )
    if front.failure is not None or (front.tls is not None and front.tls.distrust is not None):
        return front
    if plain_port is None and (place.scheme, place.port) == ("https", _HTTPS):
        plain_port = _HTTP
    if plain_port is not None:
        front = replace(front, plain=await _plain(replace(place, scheme="http", port=plain_port), clock, patience))
    if key is None or (front.tls is None and not is_ours):
        return front
    asking = _Asking(place, key, clock, tls)
    path = f"/v1/doctor?events={EVENTS}&every={every:g}"
    stream = await asking.events(path, EVENTS * every, forged=True)
    front = replace(front, stream=stream)
    if stream.status == 401:
        other = await asking.stream({"X-Api-Key": key}, "/v1/key", SLACK_SECONDS)
        return replace(front, other_header=other.status)
    if stream.status != 200:
        return front
    body, waited = await asyncio.gather(asking.body(), asking.waited(wait) if wait else _nothing())
    return replace(front, body=body, body_bytes=BODY_BYTES, waited=waited, wait=wait)


async def _nothing() -> None:
    return None


async def _first(front: Front, place: Place, clock: Clock, tls: ssl.SSLContext | None) -> Front:
    try:
        answered = await http.ask(place, "GET", _HEALTH, clock=clock, tls=tls)
    except ssl.SSLCertVerificationError as error:
        return replace(front, tls=Tls(error.verify_message))
    except ssl.SSLError as error:
        return replace(front, tls=Tls((error.reason or "it speaks no TLS").replace("_", " ").lower()))
    if place.scheme == "http":
        return front
    return replace(front, tls=Tls(until=_until(answered.certificate)))


def _until(certificate: Mapping[str, Any]) -> datetime | None:
    told_until = certificate.get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(told_until), UTC) if told_until else None


async def _plain(place: Place, clock: Clock, patience: float) -> Plain:
    async def asked() -> Plain:
        answered = await http.ask(place, "GET", "/v1/models", clock=clock)
        return Plain(answered.status, answered.fields.get("location", ""))

    return await within(patience, asked(), lambda _: Plain())


class _Asking:
    """A client with a key. Its ``repr`` is not made of its fields, so that the key is in none."""

    def __init__(self, place: Place, key: str, clock: Clock, tls: ssl.SSLContext | None) -> None:
        self._place = place
        self._bearer = {"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip"}
        self._clock = clock
        self._tls = tls

    async def events(self, path: str, seconds: float, *, forged: bool = False) -> Stream:
        lies = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"} if forged else {}
        return await self.stream(self._bearer | lies, path, seconds + SLACK_SECONDS)

    async def waited(self, wait: float) -> Stream:
        return await self.events(f"/v1/doctor?events=1&wait={wait:.3f}", wait)

    async def body(self) -> Stream:
        """It is whole and well-formed, and asks for a model that nobody has: so it costs nothing."""
        question = {"model": NO_MODEL, "messages": [{"role": "user", "content": ""}]}
        text = json.dumps(question)
        filled = text.replace('"content": ""', f'"content": "{"a" * (BODY_BYTES - len(text))}"')
        return await self.stream(self._bearer, "/v1/chat/completions", BODY_SECONDS, filled.encode())

    async def stream(self, fields: Mapping[str, str], path: str, seconds: float, body: bytes = b"") -> Stream:
        began = self._clock()
        method = "POST" if body else "GET"

        def asked() -> Awaitable[Answered]:
            return http.ask(self._place, method, path, fields=fields, body=body, clock=self._clock, tls=self._tls)

        return await _bounded(asked, seconds, began, self._clock)


async def _bounded(ask: Callable[[], Awaitable[Answered]], seconds: float, began: float, clock: Clock) -> Stream:
    try:
        async with asyncio.timeout(seconds):
            return replace(stream_of(await ask(), began), seconds=clock() - began)
    except TimeoutError:
        failure = "nothing came"
    except (OSError, EOFError) as error:
        failure = told(error)
    return Stream(failure=failure, seconds=clock() - began)


def stream_of(answered: Answered, began: float) -> Stream:
    """The events in an answer, each with when its last byte came."""
    encoding = answered.fields.get("content-encoding", "")
    text, events, came = b"", [], []
    unpack = zlib.decompressobj(wbits=47) if encoding == "gzip" else None
    for at, piece in answered.pieces:
        text += _unpacked(unpack, piece)
        *whole, text = text.split(b"\n\n")
        events += whole
        came += [at - began] * len(whole)
    told_by_gate = [(_event(event), at) for event, at in zip(events, came, strict=True)]
    good = [(event, at) for event, at in told_by_gate if event]
    return Stream(
        status=answered.status,
        code=_code(answered.body),
        said=_said([event for event, _ in good]),
        came=tuple(at for _, at in good),
        encoding=encoding,
        is_whole=answered.is_whole and b"data: [DONE]" in events,
        peer=next((str(event["peer"]) for event, _ in good if "peer" in event), ""),
    )


def _unpacked(unpack: Any, piece: bytes) -> bytes:
    if unpack is None:
        return piece
    try:
        unpacked: bytes = unpack.decompress(piece, _LARGEST_EVENTS)
    except zlib.error:
        return b""
    return unpacked


def _event(event: bytes) -> dict[str, Any]:
    return _object(event.removeprefix(b"data: "))


def _said(events: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    return tuple(float(event["seconds"]) if _is_number(event.get("seconds")) else 0.0 for event in events)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _code(body: bytes) -> str:
    """The gate's word for why it refused, in the shape that it has for OpenAI's clients."""
    error = _object(body).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.replace("_", "").isalnum() else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
