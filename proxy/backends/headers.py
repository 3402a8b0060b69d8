"""What a backend is told beside the body. Nothing of the client's own headers, so that nothing of it can leak or bite.

Ollama checks Host and Origin, trusts X-Forwarded-*, and relays whatever it gets to ollama.com for a cloud model.
"""

from urllib.parse import urlsplit

from proxy.vocabulary import BOUNDARY, Ask, Takes

BODIES = {
    Takes.JSON: "application/json",
    Takes.FORM: f"multipart/form-data; boundary={BOUNDARY}",
    Takes.BYTES: "application/octet-stream",
}


def forwarded(ask: Ask, url: str) -> dict[str, str]:
    """The request's header fields; Content-Length is added by whoever sends the body whole."""
    said = {
        "Host": urlsplit(url).netloc,
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # A relayed cloud answer would come compressed, and nobody could meter it.
        "User-Agent": "llamagate",
    }
    if (kind := BODIES.get(ask.endpoint.takes)) is not None:
        said["Content-Type"] = kind
    return said
