"""What Ollama's own client signs, with the key pair that each installation makes. Nothing in this module does I/O.

With ``OLLAMA_AUTH=1`` the client sends ``?ts=<Unix seconds>`` and ``Authorization: P:S`` without a scheme. P is the
middle field of the line in ``id_ed25519.pub``: ``ssh-ed25519`` and the 32 bytes of the key, each with its length in
front (RFC 8709 §4). S is the Ed25519 signature (RFC 8032) of ``METHOD,PATH?ts=<the same seconds>``. The body is not
signed and there is no nonce, so a signature is taken for a short time only, and once.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from proxy.auth import Holder, Kind
from proxy.auth.api_keys import ID_LENGTH, base62, same
from proxy.auth.replays import Replays
from proxy.errors import Unauthenticated, Why
from proxy.late import late, ready
from proxy.vocabulary import Call, Now

if TYPE_CHECKING:
    from cryptography import exceptions
    from cryptography.hazmat.primitives.asymmetric import ed25519
else:
    exceptions = late("cryptography.exceptions")
    ed25519 = late("cryptography.hazmat.primitives.asymmetric.ed25519")

ALGORITHM = "ssh-ed25519"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
LONGEST_LINE = 20_000
"""Characters; the largest RSA keys take about 3,000, and are told that they are of the wrong kind."""

_HEAD = len(ALGORITHM).to_bytes(4, "big") + ALGORITHM.encode() + KEY_BYTES.to_bytes(4, "big")
_SIGNED = re.compile(r"([A-Za-z0-9+/]{68}):([A-Za-z0-9+/]{86}==)")
_SECONDS = re.compile(r"0|[1-9][0-9]{0,11}")
_PRIVATE = re.compile(r"PRIVATE KEY|b3BlbnNzaC1rZXktdjE")
"""As a file of OpenSSH or PEM says it, and as the first begins in base64."""
_OTHER_TYPE = re.compile(r"(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]{1,60}")

_P = 2**255 - 19
_D = -121_665 * pow(121_666, -1, _P) % _P
"""Of edwards25519, RFC 8032 §5.1."""

SAME_FOR_EVERYBODY = frozenset((method, path) for method in ("GET", "HEAD") for path in ("/", "/api/version"))
"""Whoever sends these again gets what everybody knows, and changes nothing. The command line sends ``HEAD /`` at each
start, and two starts in one second sign the same."""

COMES_TWICE = frozenset({("POST", "/api/show")})
"""What the command line asks twice within milliseconds when it begins ``run``, and so signs alike."""
TWICE_SECONDS = 2.0
"""How long after the first the second may come, and only from the same address."""


def public_key(line: str) -> bytes:
    """The 32 bytes in a line of ``id_ed25519.pub``, or in its middle field alone.

    Raises ValueError, which never repeats what was pasted, for anything else: among it keys that anybody could sign
    for.
    """
    text = line.strip()
    if _PRIVATE.search(text):
        raise ValueError(
            "This is a private key, which nobody else may see: keep it to yourself, and give the one line of the file "
            "whose name ends in .pub. If others may have seen it now, make a new pair."
        )
    if not text or len(text) > LONGEST_LINE or not text.isascii() or len(text.splitlines()) != 1:
        raise ValueError(f"A public key is one line: {ALGORITHM}, a space and a long word that begins with AAAA.")
    first, *rest = text.split(maxsplit=2)
    if first != ALGORITHM and _OTHER_TYPE.fullmatch(first):
        raise ValueError(_wrong_type(first))
    if first == ALGORITHM and not rest:
        raise ValueError(f"The key itself is missing: after {ALGORITHM} comes a long word that begins with AAAA.")
    if first != ALGORITHM and rest:
        raise ValueError(f"A public key begins with {ALGORITHM}; nothing may stand before that.")
    wire = _decoded(rest[0] if first == ALGORITHM else first)
    if wire is None:
        raise ValueError("The long word of a public key is base64, whole and unchanged; this is not.")
    key = wire.removeprefix(_HEAD)
    if len(wire) != len(_HEAD) + KEY_BYTES or key == wire:
        raise ValueError(_wrong_wire(wire))
    _check_point(key)
    return key


def _wrong_type(name: str) -> str:
    return f"{name} keys do not sign for Ollama: its client has an {ALGORITHM} key, in .ollama/id_ed25519.pub."


def _wrong_wire(wire: bytes) -> str:
    length = int.from_bytes(wire[:4], "big")
    name = wire[4 : 4 + length].decode("ascii", "replace")
    if name != ALGORITHM and _OTHER_TYPE.fullmatch(name):
        return _wrong_type(name)
    return f"This is no {ALGORITHM} key: some of it is missing, or there is something more."


def _check_point(key: bytes) -> None:
    """Raise ValueError unless it is a point of the curve, written as RFC 8032 §5.1.2 has it, and of no small order.

    For a point of small order there are signatures that are good for many texts at once, and need no private key.
    """
    number = int.from_bytes(key, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = y * y % _P
    x_square = (square - 1) * pow(_D * square + 1, -1, _P) % _P
    if y >= _P or (x_square and pow(x_square, (_P - 1) // 2, _P) != 1) or (x_square == 0 and sign):
        raise ValueError(f"This is no {ALGORITHM} key: there is no such point on its curve.")
    # Doubled once, twice or three times these are the neutral point: x = 0; y = 0; and y = 0 after doubling.
    if x_square == 0 or y == 0 or (_D * square * square + 2 * square - 1) % _P == 0:
        raise ValueError("This key is worthless: anybody could sign for it.")


def key_id_of(public_key: bytes) -> str:
    """What an identity with these 32 bytes is called: 12 base-62 characters of their SHA-256."""
    return base62(int.from_bytes(hashlib.sha256(public_key).digest(), "big"), ID_LENGTH)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a client says it has signed with, and the signature."""

    public_key: bytes
    """32 bytes, not checked any further: it is nothing until it is on record."""
    signature: bytes = field(repr=False)
    """64 bytes."""


def read(text: str) -> Signed | None:
    """What stands in an ``Authorization`` of the form ``P:S``; None for anything else, whatever characters it holds."""
    match = _SIGNED.fullmatch(text)
    wire, signature = (_decoded(match[1]), _decoded(match[2])) if match else (None, None)
    if wire is None or signature is None or not wire.startswith(_HEAD):
        return None
    return Signed(wire[len(_HEAD) :], signature)


def _decoded(text: str) -> bytes | None:
    """Of base64 (RFC 4648 §4) in its one canonical form."""
    try:
        plain = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return plain if base64.b64encode(plain).decode() == text else None


def timestamp(query: str) -> int | None:
    """The Unix seconds that the one ``ts`` in a raw query says, beside whatever else; None where that is not plain."""
    said = [parameter for parameter in query.split("&") if unquote_plus(parameter.partition("=")[0]) == "ts"]
    if len(said) != 1:
        return None
    name, _, value = said[0].partition("=")
    return int(value) if name == "ts" and _SECONDS.fullmatch(value) else None


def signed_bytes(method: str, path: str, ts: int) -> bytes:
    """What the client signs: the path is the route alone, without anything that stood before it in a URL."""
    return f"{method},{path}?ts={ts}".encode("utf-8", "surrogatepass")  # A raw path may hold what is no character.


def genuine(signed: Signed, method: str, path: str, ts: int) -> bool:
    """Whether the signature is that of this key under this request."""
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(signed.public_key)
        key.verify(signed.signature, signed_bytes(method, path, ts))
    except (exceptions.InvalidSignature, ValueError):
        return False
    return True


Find = Callable[[str], Awaitable[Holder | None]]
"""The key or identity with this id, as ``KeyStore.find``."""


class Signatures:
    """Knows callers by what their Ollama client has signed."""

    def __init__(self, find: Find, replays: Replays, *, now: Now, most_seconds: float, since: float = 0.0) -> None:
        """``most_seconds`` is how far the clocks may differ, either way.

        ``since`` is from when on ``replays`` knows what came, in Unix seconds: whatever was signed in a second before
        that one may have been used already, and is too old. 0 where somebody else remembers, or nobody needs to.
        """
        self._find = find
        self._replays = replays
        self._now = now
        self._most = most_seconds
        self._since = int(since)
        self._newest: dict[str, int] = {}
        """The latest second for which each identity was taken; there are no more than are on record."""

    async def holder(self, call: Call, text: str) -> Holder:
        """Who has signed this call; ``text`` is the value of its ``Authorization``. May be somebody who is suspended.

        Raises Unauthenticated (MALFORMED, TOO_OLD, UNKNOWN, WRONG_SIGNATURE, REPLAYED), AuthUnavailable where it can't
        be told whether it came before, and what the look-up raises.
        """
        signed, ts = read(text), timestamp(call.query)
        if signed is None or ts is None:
            raise Unauthenticated(Why.MALFORMED)
        now = self._now()
        ahead = ts - now.timestamp()
        if abs(ahead) > self._most or ts < self._since:
            raise Unauthenticated(Why.TOO_OLD)
        key_id = key_id_of(signed.public_key)
        holder = await self._find(key_id)
        await ready(exceptions, ed25519)  # Few gates ever see a signature.
        is_genuine = genuine(signed, call.method, call.path, ts)  # Also for nobody, so that both take the same time.
        if holder is None or holder.key.kind is not Kind.IDENTITY or not same(holder.key.digest, signed.public_key):
            raise Unauthenticated(Why.UNKNOWN)
        if not is_genuine:
            raise Unauthenticated(Why.WRONG_SIGNATURE)
        if holder.refused(now) is not None:
            return holder  # It gets nothing anyway, so there is nothing to remember.
        newest = self._newest.get(key_id, ts)
        if ts < newest - 2 * self._most:
            raise Unauthenticated(Why.TOO_OLD)  # Our clock was set back, and whether it came before is forgotten.
        # For the longest that it may be good: longer, lest it is good again for a clock that is, or was set, behind.
        seconds = ahead + 2 * self._most
        if not await self._is_new(key_id, call, ts, seconds):
            raise Unauthenticated(Why.REPLAYED)
        self._newest[key_id] = max(newest, ts)
        return holder

    async def _is_new(self, key_id: str, call: Call, ts: int, seconds: float) -> bool:
        """Whether this may pass, which counts as its having come.

        What counts is the text that was signed: a client could make other bytes of a signature for the same text.
        """
        route = (call.method, call.path)
        if route in SAME_FOR_EVERYBODY:
            return True
        text = signed_bytes(*route, ts)
        if route not in COMES_TWICE:
            return await self._replays.first(key_id, text, seconds)
        from_there = b"from %b %b" % (call.peer.encode("utf-8", "surrogatepass"), text)
        if await self._replays.first(key_id, text, seconds):
            await self._replays.first(key_id, from_there, TWICE_SECONDS)
            return True
        # The second chance is there once: whoever else tries it has spent it, and does not get it either.
        if not await self._replays.first(key_id, b"again " + text, seconds):
            return False
        return not await self._replays.first(key_id, from_there, TWICE_SECONDS)
