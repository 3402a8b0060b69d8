"""Request bodies that come compressed, taken out of their Content-Encoding within bounds.

zstd is the one coding that Ollama itself undoes; what the gate decodes goes on plain. The rest is refused, since a body
that is not read cannot be checked.
"""

import sys

from proxy.errors import BodyTooLarge, EncodingUnknown, NotUnderstood
from proxy.vocabulary import Endpoint, Takes, Tongue

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SMALL = 1024 * 1024
MOST_DENSE = 100
"""A body may unpack to ``SMALL`` bytes, or to so many times its length: text makes ten, a bomb makes thousands."""
WIDEST_WINDOW = 23
"""log2 of the bytes of history that a frame may want kept: 8 MiB, which is the bound of RFC 9659 and of Ollama."""


def accepts(endpoint: Endpoint, coding: str) -> bool:
    """Whether a body for this endpoint may come so coded: zstd only where Ollama would undo it too."""
    return coding in ("", "identity") or (
        coding == "zstd" and endpoint.takes is Takes.JSON and endpoint.tongue is not Tongue.OLLAMA
    )


def decoded(body: bytes, coding: str, most: int) -> bytes:
    """The body without its content coding, at most ``most`` bytes of it; ``coding`` is empty where the field is absent.

    Never holds more than the window and ``most``, whatever the body claims. Raises EncodingUnknown, BodyTooLarge and
    NotUnderstood.
    """
    match coding:
        case "" | "identity":
            if len(body) > most:
                raise BodyTooLarge
            return body
        case "zstd":  # In lower case only: Ollama takes no other spelling, and no client sends one.
            return _unpacked(body, min(most, max(SMALL, MOST_DENSE * len(body))))
        case _:
            raise EncodingUnknown


def _unpacked(body: bytes, most: int) -> bytes:
    frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WIDEST_WINDOW})
    try:
        plain = frame.decompress(body, most + 1)
    except zstd.ZstdError as error:
        raise NotUnderstood("The request body is not valid zstd, or needs a window of more than 8 MiB.") from error
    if len(plain) > most:
        raise BodyTooLarge
    if not frame.eof or frame.unused_data:
        # Several frames in a row are lawful, but no client sends them, and each would need its own bound.
        raise NotUnderstood("The request body must be exactly one whole zstd frame.")
    return plain
