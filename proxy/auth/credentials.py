"""Where a credential may stand among a request's headers. Nothing in this module does I/O.

RFC 6750 §2.1 for ``Authorization: Bearer``; ``x-api-key`` is how the Anthropic clients say the same.
"""

from collections.abc import Iterable

CARRIERS = ("authorization", "x-api-key")
LONGEST = 8192
"""Characters of a header value that are looked at; nothing longer can be a credential."""


def presented(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Every credential in the headers, in order; a malformed one is kept as an empty string, for it was an attempt."""
    return tuple(_credential(name.lower(), value) for name, value in headers if name.lower() in CARRIERS)


def _credential(carrier: str, value: str) -> str:
    if len(value) > LONGEST or not value.isascii():
        return ""
    if carrier == "x-api-key":
        return value
    scheme, _, token = value.partition(" ")
    return token if scheme.lower() == "bearer" else ""
