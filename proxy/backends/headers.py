"""What a backend is told beside the body. Nothing of the client's own headers, so that nothing of it can leak or bite.

Ollama checks Host and Origin, trusts X-Forwarded-*, and relays whatever it gets to ollama.com for a cloud model.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from proxy.vocabulary import BOUNDARY, Takes

BODIES = {
    Takes.JSON: "application/json",
    Takes.FORM: f"multipart/form-data; boundary={BOUNDARY}",
    Takes.BYTES: "application/octet-stream",
}


LOOKING: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "llamagate-catalogue"}
"""The gate's own looks at what is installed can be told from its callers' questions."""


def forwarded(takes: Takes, host: str) -> dict[str, str]:
    """The request's header fields but for those that tell of its length; ``host`` is the backend's own."""
    said = {
        "Host": host,
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # A relayed cloud answer would come compressed, and nobody could meter it.
        "User-Agent": "llamagate",
    }
    if (kind := BODIES.get(takes)) is not None:
        said["Content-Type"] = kind
    return said


@lru_cache(256)
def beginning(method: str, path: str, takes: Takes, host: str) -> bytes:
    """A request's head as far as it is the same for many: to be gone on with. Raises ValueError as ``written``."""
    return written(method, path, forwarded(takes, host))


def more(fields: Mapping[str, str]) -> bytes:
    """Header fields to go on with. Raises ValueError where one would be two."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    if lines.count("\n") != len(fields) or lines.count("\r") != len(fields):
        raise ValueError("a header field has a line end in it")
    return lines.encode("ascii")


def written(method: str, path: str, fields: Mapping[str, str]) -> bytes:
    """A request line and header fields as they are sent (RFC 9112 §3 and §5), without the empty line after them.

    Raises ValueError where the path or a field would be two.
    """
    head = "\r\n".join((f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())))
    if head.count("\n") != len(fields) or head.count("\r") != len(fields) or " " in path:
        raise ValueError("a line of the head has a line end or a blank in it")
    return head.encode("ascii") + b"\r\n"
