"""What stands in front of the gate, seen from outside: does it pass on everything, at once, and only what is true?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address

from proxy.doctor.findings import Finding, critical, info, ok, warning

MOST_LATE_SECONDS = 0.5
"""An event may be, for networks are uneven."""
SOON = timedelta(days=14)
FORGED = "192.0.2.77"
"""Nobody's: kept for documentation (RFC 5737)."""
_UNBUFFERED = (
    "nginx: proxy_buffering off; Caddy: flush_interval -1; Traefik: no buffering middleware; Cloudflare and others: no "
    "caching and no rewriting of this host"
)
_LONGER = (
    "nginx: proxy_read_timeout 3600s; proxy_send_timeout 3600s; Caddy: no read_timeout or response_header_timeout "
    "below 1h; HAProxy: timeout server 1h and timeout tunnel 1h; AWS ALB: idle timeout 3600"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """The connection to it."""

    distrust: str | None = None
    """Why it is not believed; None where it is."""
    until: datetime | None = None
    """When the certificate ends."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What HTTP without TLS was answered with at port 80 of the same host."""

    status: int | None = None
    """None where nobody answers there."""
    goes_to: str = ""
    """``Location``."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of ``/v1/doctor`` as it came."""

    status: int | None = None
    """None where there was none."""
    failure: str | None = None
    code: str = ""
    """The gate's own word for a refusal; empty where it was not the gate that refused."""
    said: Sequence[float] = ()
    """For each event, when the gate said it, in seconds since the call began there."""
    came: Sequence[float] = ()
    """And when it came, in seconds since the call began here."""
    encoding: str = ""
    """``Content-Encoding``; empty where it is not compressed."""
    is_whole: bool = False
    """Whether the last words came."""
    peer: str = ""
    """The address that the gate takes us for."""
    seconds: float = 0.0
    """Until the end, whichever it was."""


@dataclass(frozen=True, slots=True)
class Front:
    """All that was found out from outside."""

    url: str
    is_near: bool = False
    """Whether the address is one of this machine, or of a network that is nobody's but ours."""
    failure: str | None = None
    """Why it cannot be reached at all."""
    tls: Tls | None = None
    """None where the address begins with http://."""
    plain: Plain | None = None
    """None where it was not asked."""
    stream: Stream | None = None
    """With a forged X-Forwarded-For. None where there is no key, or nothing to show it to."""
    other_header: int | None = None
    """The status of a call with the key in X-Api-Key, where that with Authorization was refused."""
    waited: Stream | None = None
    """Silent for ``wait`` seconds; None where that was not asked for."""
    wait: float = 0.0
    body: Stream | None = None
    """The answer to a body of ``body_bytes``, for a model that nobody has."""
    body_bytes: int = field(default=0)


def findings(front: Front, now: datetime) -> Iterator[Finding]:
    if front.failure is not None:
        yield critical(
            "front.reachable",
            f"{front.url} cannot be reached: {front.failure}.",
            "Neither can any client.",
            f"The name in DNS, the firewall, and whether something listens there: curl -v {front.url}/healthz",
        )
        return
    yield from _tls(front, now)
    if front.tls is not None and front.tls.distrust is not None:
        return  # The key is shown to nobody who is not believed.
    if front.plain is not None:
        yield from _plain(front.plain)
    if front.stream is None:
        yield info(
            "front.key",
            "Without a key only this much can be told.",
            "Streams and long waits are tried with a key of yours; that costs no tokens.",
            "LLAMAGATE_DOCTOR_KEY=sk-lg_… llamagate doctor --url " + front.url,
        )
        return
    yield from _key(front, front.stream)
    if front.stream.status == 200:
        yield from _stream(front.stream)
        yield from _peer(front, front.stream)
    if front.waited is not None:
        yield from _wait(front.waited, front.wait)
    if front.body is not None:
        yield from _body(front.body, front.body_bytes)


def _tls(front: Front, now: datetime) -> Iterator[Finding]:
    if front.tls is None:
        if front.is_near:
            yield info("front.tls", f"{front.url} is not encrypted, and goes over no foreign network.")
        else:
            yield critical(
                "front.tls",
                f"{front.url} is not encrypted.",
                "Whoever is on the way reads keys and prompts, and uses the keys. Yours was shown to nobody now.",
                "Use https:// : [tls] in the gate's settings, or a proxy in front (docs/in-front.md)",
            )
        return
    if front.tls.distrust is not None:
        yield critical(
            "front.tls",
            f"The certificate of {front.url} is not believed: {front.tls.distrust}.",
            "Clients refuse to connect. Your key was shown to nobody now.",
            "certbot renew, or the whole chain (fullchain.pem) where the proxy has the certificate; with an authority "
            "of your own: SSL_CERT_FILE=ca.pem llamagate doctor --url …",
        )
        return
    if front.tls.until is not None and front.tls.until - now < SOON:
        yield warning(
            "front.tls",
            f"The certificate of {front.url} ends in {(front.tls.until - now).days} days.",
            "Clients refuse to connect then, and whatever renews it should have done so.",
            "certbot renew --dry-run, or the log of the proxy that has the certificate",
        )
        return
    yield ok("front.tls", "The certificate is believed, and holds.")


def _plain(plain: Plain) -> Iterator[Finding]:
    if plain.status is None:
        yield ok("front.plain", "Nobody answers without TLS.")
    elif plain.status in (301, 302, 307, 308) and plain.goes_to.startswith("https://"):
        yield ok("front.plain", "Who comes without TLS is sent to https://.")
    else:
        yield warning(
            "front.plain",
            f"Somebody answers without TLS, at port 80, with {plain.status}.",
            "A client with http:// in its base URL works, and shows its key to everybody on the way.",
            "nginx: server { listen 80; return 301 https://$host$request_uri; }; Caddy does so by itself",
        )


def _key(front: Front, stream: Stream) -> Iterator[Finding]:
    if stream.status == 200:
        yield ok("front.key", "The key in Authorization reaches the gate, which knows it.")
    elif stream.status is None:
        yield critical(
            "front.stream",
            f"There was no answer: {stream.failure} after {stream.seconds:.0f} s.",
            "What stands in front lets no call through.",
            "The log of the proxy, then llamagate calls",
        )
    elif stream.status == 401 and front.other_header == 200:
        yield critical(
            "front.key",
            "The header Authorization does not reach the gate; X-Api-Key does.",
            "The clients of OpenAI and of Ollama are refused.",
            "nginx: proxy_set_header Authorization $http_authorization; and no auth_basic on this place",
        )
    elif not stream.code:
        yield critical(
            "front.key",
            f"It is not the gate that answers, but something in front of it, with {stream.status}.",
            "No call comes through.",
            "The log of the proxy; the gate must be its upstream at the path /, with nothing taken off the path",
        )
    elif stream.status == 404:
        yield warning(
            "front.key",
            "This gate has no /v1/doctor: it is of an older version, or a path is added or taken off on the way.",
            "Streams and long waits cannot be tried.",
            "pip install --upgrade llamagate; nginx: proxy_pass http://127.0.0.1:11435; with nothing behind the port",
        )
    elif stream.status == 429:
        yield info(
            "front.key",
            "The gate has too many such calls under way, or has seen too many failures from this address.",
            "Nothing could be tried.",
            "Try again in a minute",
        )
    else:
        yield critical(
            "front.key",
            f"The gate refuses this key, with {stream.status} ({stream.code}).",
            "Either the key is not good, or the header Authorization does not arrive as it was sent.",
            "llamagate keys show ID on the gate's machine, and llamagate auth status, which tells why it refused",
        )


def _stream(stream: Stream) -> Iterator[Finding]:
    late = _lateness(stream)
    if not stream.is_whole:
        yield critical(
            "front.stream",
            f"A stream broke off after {stream.seconds:.1f} s and {len(stream.came)} events.",
            "Clients see half an answer.",
            _LONGER,
        )
    elif late > MOST_LATE_SECONDS:
        yield critical(
            "front.stream",
            f"Events that were said one by one came together, up to {late:.1f} s late.",
            "Something on the way holds answers back: whoever waits for words sees nothing, and then all of it.",
            _UNBUFFERED,
        )
    else:
        yield ok("front.stream", f"Events come one by one, none more than {late:.2f} s late.")
    if stream.encoding:
        yield warning(
            "front.compression",
            f"Streams come compressed, with {stream.encoding}.",
            "What compresses holds back until it has enough, and a compressed answer whose length can be seen tells "
            "something of what is in it.",
            "nginx: gzip off; or no text/event-stream and application/x-ndjson in gzip_types; Caddy: no encode here",
        )
    else:
        yield ok("front.compression", "Streams come as they were said.")


def _lateness(stream: Stream) -> float:
    """By how much the slowest event is later than the quickest, in seconds."""
    way = [came - said for said, came in zip(stream.said, stream.came, strict=False)]
    return max(way) - min(way) if way else 0.0


def _peer(front: Front, stream: Stream) -> Iterator[Finding]:
    if stream.peer == FORGED:
        yield critical(
            "front.peer",
            "Whoever says X-Forwarded-For is believed.",
            "A caller can be whoever it likes: locks against guessing keys do not hold, and the ledger tells lies.",
            "nginx: proxy_set_header X-Forwarded-For $remote_addr; (not $proxy_add_x_forwarded_for where the gate "
            "trusts more than this proxy), and nothing but the proxies in trusted_proxies",
        )
    elif stream.peer and not front.is_near and _is_inner(stream.peer):
        yield warning(
            "front.peer",
            f"The gate takes you for {stream.peer}, which is the proxy in front of it.",
            "All callers share one address: one who guesses keys locks out everybody.",
            f'trusted_proxies = ["{stream.peer}"], and the proxy must say X-Forwarded-For',
        )
    else:
        yield ok("front.peer", f"The gate takes you for {stream.peer or 'nobody'}, whatever X-Forwarded-For said.")


def _is_inner(address: str) -> bool:
    try:
        there = ip_address(address)
    except ValueError:
        return False
    return there.is_private or there.is_loopback


def _wait(waited: Stream, wait: float) -> Iterator[Finding]:
    if waited.status == 200 and waited.is_whole:
        yield ok("front.wait", f"An answer that began after {wait:.0f} s came through.")
    elif waited.status == 429 and waited.code:
        yield info("front.wait", "The gate has too many such calls under way.", "", "Try again in a minute")
    else:
        how = f"with {waited.status}" if waited.status else f"({waited.failure})"
        yield critical(
            "front.wait",
            f"A call on which nothing was said for {wait:.0f} s was cut after {waited.seconds:.0f} s {how}.",
            "A model that is loaded first says nothing for that long: the first to ask is cut off, and asks again.",
            _LONGER,
        )


def _body(body: Stream, size: int) -> Iterator[Finding]:
    mebibytes = f"{size // 2**20} MiB"
    if body.code and body.status != 413:
        yield ok("front.body", f"A body of {mebibytes} comes through.")
    elif body.code:
        yield info(
            "front.body",
            f"The gate takes no body of {mebibytes}.",
            "Pictures and long prompts may be larger.",
            'max_body = "32MiB"',
        )
    else:
        how = f"with {body.status}" if body.status else f"({body.failure})"
        yield warning(
            "front.body",
            f"A body of {mebibytes} does not come through: it was refused {how} before the gate.",
            "Pictures and long prompts are refused, in a shape that no client understands.",
            "nginx: client_max_body_size 32m; Traefik: no buffering.maxRequestBodyBytes below it",
        )
