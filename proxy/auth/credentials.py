"""Where in a request a credential may stand. Nothing in this module does I/O.

- ``Authorization: Bearer`` (RFC 6750 §2.1), and ``x-api-key``, which is how the Anthropic clients say the same;
- ``Authorization: Basic`` (RFC 7617), what clients make of ``https://alice:KEY@gate``;
- ``Authorization`` with a public key and a signature and no scheme, how Ollama's own client signs;
- ``/k/KEY`` before the route, for clients that take nothing but a URL;
- a certificate of the client's own, where the request itself says nothing.

What it is worth is not looked at here.
"""

import base64
import binascii
import re
from collections.abc import Iterable

from proxy.vocabulary import Carrier, Credential

IN_PATH = "/k/"
LONGEST = 8192
"""Characters that are looked at; nothing longer can be a credential."""

PLACEHOLDERS = frozenset(
    "ollama empty none null dummy placeholder sk-no-key-required no-key lm-studio not-needed".split()
)
"""What clients say where they must say something and nobody gave them a key."""

_SIGNED = re.compile(r"[A-Za-z0-9+/]+={0,2}:[A-Za-z0-9+/]+={0,2}")


def presented(headers: Iterable[tuple[str, str]], path: str) -> tuple[tuple[Credential, ...], str]:
    """Every credential of a request, in order, and the path without one.

    A malformed one is there as an empty text, for it was an attempt. Beside a key in the path a placeholder in a header
    is none: many a client that takes nothing but a URL has to send something.
    """
    found = tuple(_in_header(name.lower(), value) for name, value in headers if name.lower() in _READERS)
    if not path.startswith(IN_PATH):
        return found, path
    text, _, rest = path.removeprefix(IN_PATH).partition("/")
    others = tuple(one for one in found if not is_placeholder(one.text))
    return (Credential(Carrier.PATH, text if _may_be(text) else ""), *others), f"/{rest}"


def or_certificate(found: tuple[Credential, ...], shown: str | None) -> tuple[Credential, ...]:
    """What a request has presented, or in place of nothing the certificate that its client has shown.

    Whoever presents something else means that: browsers and proxies show certificates unasked. A placeholder is nothing
    beside one, for most libraries have to send something.
    """
    if shown is None or not all(one.text and is_placeholder(one.text) for one in found):
        return found
    return (Credential(Carrier.CERTIFICATE, shown),)


def is_placeholder(text: str) -> bool:
    return text.lower() in PLACEHOLDERS


def _may_be(text: str) -> bool:
    return len(text) <= LONGEST and text.isascii()


def _in_header(name: str, value: str) -> Credential:
    return _READERS[name](value if _may_be(value) else "")


def _api_key(value: str) -> Credential:
    return Credential(Carrier.HEADER, value)


def _authorization(value: str) -> Credential:
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer":
            return Credential(Carrier.BEARER, rest)
        case "basic":
            return Credential(Carrier.BASIC, _password(rest))
    return Credential(Carrier.SIGNED, value) if _SIGNED.fullmatch(value) else Credential(Carrier.BEARER, "")


def _password(encoded: str) -> str:
    """The password, or the user where that is empty, as in ``https://KEY@gate``. Who the user is, the key says."""
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return (password or user) if colon else ""


_READERS = {"authorization": _authorization, "x-api-key": _api_key}
