"""What the head of a backend's answer may say, and what of it goes on. Nothing in this module does I/O.

A backend is believed no more than a client is. A head that two readers could understand differently (RFC 9112 §6 and
§11.1) is no answer, and neither is one in a coding that was not asked for: nobody could meter it. What a client hears
of a good head is said anew, from a short list; every other field stays behind, whatever it is called.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from proxy.errors import BackendFailed
from proxy.vocabulary import Endpoint, UsageIn

SPOKEN = ((1, 0), (1, 1))
KINDS = frozenset(
    {"application/json", "application/x-ndjson", "text/event-stream", "text/plain", "application/octet-stream"}
)
"""The media types of all that Ollama answers. A page would be run by a browser as if it were the gate's own."""
NOT_KEPT = frozenset({"no-store", "no-cache", "private", "no-transform", "must-revalidate", "max-age=0"})
"""What an answer may say of caches. Each is for one caller: no shared cache may be told to keep it for the next."""
KNOW_THEIR_END = frozenset({UsageIn.DONE, UsageIn.USAGE, UsageIn.MESSAGE_DELTA, UsageIn.COMPLETED})
"""Answers whose last words tell that they are whole, whatever the connection did."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PRINTED = re.compile(rb"[\x20-\x7e]{1,256}")

Fields = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """A head that can be understood in one way only."""

    length: int | None
    """Bytes of the body, where it was told."""
    in_chunks: bool
    told: Mapping[str, tuple[bytes, ...]]
    """What was said under each of the names that matter here, in order."""

    @property
    def ends_with_the_connection(self) -> bool:
        """The body is whatever comes until the connection ends, so that a cut cannot be told from an end."""
        return self.length is None and not self.in_chunks


_OF_MATTER = {
    name.encode(): name
    for name in ("content-length", "transfer-encoding", "content-encoding", "content-type", "cache-control")
}


def understood(version: tuple[int, int], reason: bytes, fields: Fields) -> Head:
    """The head of an answer with whatever status. Raises BackendFailed where there are two ways to understand it."""
    if version not in SPOKEN:
        raise BackendFailed("The model server answered in a version of HTTP that this gate does not speak.")
    if _CONTROL.search(reason):
        raise BackendFailed("The model server's answer has control characters in its head.")
    told: dict[str, tuple[bytes, ...]] = {}
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _CONTROL.search(value):
            raise BackendFailed("The model server's answer has control characters in its head.")
        if (small := name.lower()) in _OF_MATTER:
            known = _OF_MATTER[small]
            told[known] = (*told.get(known, ()), value.strip(b" \t"))
    lengths, transfers = told.get("content-length", ()), told.get("transfer-encoding", ())
    if len(lengths) + len(transfers) > 1:
        raise BackendFailed("The model server told the length of its answer twice.")
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        raise BackendFailed("The model server told a length that is none.")
    if transfers and (transfers[0].lower() != b"chunked" or version == (1, 0)):  # RFC 9112 §6.1: 1.0 has no chunks.
        raise BackendFailed("The model server answered in a transfer coding that it was not asked for.")
    if any(coding.lower() != b"identity" for coding in told.get("content-encoding", ())):
        raise BackendFailed("The model server answered in a coding that it was not asked for.")
    return Head(int(lengths[0]) if lengths else None, bool(transfers), told)


def passed_on(head: Head, endpoint: Endpoint) -> dict[str, str]:
    """The fields of a good answer that the client may hear, by lower-case name.

    Raises BackendFailed where the answer is of a kind that no route has, or nobody could tell whether it is whole.
    """
    if head.ends_with_the_connection and endpoint.method != "HEAD" and endpoint.usage_in not in KNOW_THEIR_END:
        raise BackendFailed("The model server's answer could not be told from one that was cut off.")
    said: dict[str, str] = {}
    if kinds := head.told.get("content-type"):
        said["content-type"] = _kind(kinds)
    if head.length is not None:
        said["content-length"] = str(head.length)
    if told := head.told.get("cache-control"):
        caches = [one.strip().lower() for value in told for one in value.split(b",")]
        if all(one.decode("latin-1") in NOT_KEPT for one in caches):
            said["cache-control"] = ", ".join(one.decode("ascii") for one in caches)
    return said


@lru_cache(64)
def _kind(kinds: tuple[bytes, ...]) -> str:
    """The one kind that was said. Raises BackendFailed where it is none that Ollama has, or there are several."""
    if len(kinds) > 1 or _PRINTED.fullmatch(kinds[0]) is None:
        raise BackendFailed("The model server did not say clearly what kind its answer is of.")
    if kinds[0].partition(b";")[0].strip().lower().decode("ascii") not in KINDS:
        raise BackendFailed("The model server answered with something that is of no kind it should be.")
    return kinds[0].decode("ascii")
