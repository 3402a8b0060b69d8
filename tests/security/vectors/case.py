"""One request as bytes, and what must come of it. Nothing in this module does I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxy.vocabulary import Tongue

KEY = b"@KEY@"
"""Stands where a good key is put. No length that a case tells may count it."""
KEY_BYTES = 69
"""As long as a key is."""
CANARY = b"ZQCANARY"
"""What no answer and no log line may hold. It fits wherever a client can put a word."""

HOST = b"Host: gate.example"
AUTH = b"Authorization: Bearer " + KEY
MARK = b"X-Mark: " + CANARY
VERSION = b"GET /api/version HTTP/1.1"
POST = b"POST /api/chat HTTP/1.1"
CHAT = b'{"model":"llama3.2:1b","messages":[{"role":"user","content":"' + CANARY + b'"}],"stream":false}'
CHAT_SENT = CHAT[:-1] + b',"options":{"num_predict":16384}}'
"""What the default plan makes of it."""
MAX_BODY = 64 * 1024
"""Bytes that the gate takes in these cases."""
HEAD_SECONDS = 1.0
"""That it waits for a head, and for a body that falls behind."""
NEXT = b"\r\n".join((b"GET /api/tags HTTP/1.1", HOST, AUTH, b"", b""))
"""What follows a request that must be the last one to be answered."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    status: int
    """0 where nobody is left to hear it."""
    reason: str = ""
    """Why not, as the ledger has it of a call and the metrics have it of bytes that come to no call."""
    tongue: Tongue | None = None
    """In whose shape the refusal is told; None where it is none."""
    is_call: bool = True
    is_bodiless: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What the upstream gets."""

    asked: str
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Case:
    """On a connection of its own."""

    name: str
    raw: bytes
    says: tuple[Said, ...] = ()
    """Every answer, in order; where there is none, the connection is closed without a word."""
    sent: tuple[Sent, ...] = ()
    stays_open: bool = False
    counted: tuple[str, ...] = ()
    """Reasons in the metrics besides those of the answers."""
    leaves: bool = False
    """The client closes as soon as it has said everything."""
    lingers: bool = False
    """The gate reads on for a while after its last word, so that the client has it before the connection is gone."""

    @property
    def good_answers(self) -> int:
        """How many requests are taken for what they say."""
        return sum(200 <= one.status < 400 for one in self.says)


INVITED = Said(100, is_call=False, is_bodiless=True)
SERVED = Said(200)
HEALTHY = Said(200, is_call=False)
GONE = Said(0, "client_left")
VERSION_SENT = Sent("GET /api/version")
CHAT_CALL = Sent("POST /api/chat", CHAT_SENT)


def bytes_refused(status: int, reason: str) -> Said:
    """For bytes that come to no call."""
    return Said(status, reason, Tongue.OPENAI, is_call=False)


def call_refused(status: int, reason: str, tongue: Tongue = Tongue.OLLAMA, *, is_bodiless: bool = False) -> Said:
    return Said(status, reason, tongue, is_bodiless=is_bodiless)


NO_KEY = call_refused(401, "invalid_api_key.nothing_shown")
NO_ROUTE = call_refused(404, "no_such_route")


def text_of(lines: Iterable[bytes]) -> bytes:
    """A head, with the empty line at its end."""
    return b"".join(line + b"\r\n" for line in (*lines, b""))


def get(*fields: bytes, line: bytes = VERSION) -> bytes:
    """A good request but for what is added to it."""
    return text_of((line, HOST, AUTH, MARK, *fields))


def post(body: bytes, *fields: bytes, line: bytes = POST) -> bytes:
    """With its length."""
    return get(b"Content-Length: %d" % len(body), *fields, line=line) + body


def served(name: str, raw: bytes, *sent: Sent, stays_open: bool = True) -> Case:
    """One request that is answered; without more said, it asks for the version."""
    return Case(name, raw, (SERVED,), sent or (VERSION_SENT,), stays_open)


def turned_away(name: str, raw: bytes, status: int, reason: str) -> Case:
    """One that is no request for us, and whose connection is closed with all that follows."""
    return Case(name, raw + NEXT, (bytes_refused(status, reason),))


def answered_no(name: str, raw: bytes, said: Said, *, stays_open: bool = True) -> Case:
    """One that is understood and refused, before anybody was asked; it stays open if its body has come as a whole."""
    return Case(name, raw, (said,), stays_open=stays_open, lingers=not stays_open)


def grouped(group: str, cases: Iterable[Case]) -> tuple[Case, ...]:
    """With the group's name before each."""
    return tuple(replace(case, name=f"{group}: {case.name}") for case in cases)
