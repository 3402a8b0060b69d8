"""The query of a route that takes one, read strictly. No I/O."""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from proxy.errors import NotUnderstood

_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")


def read(query: str, known: Sequence[str]) -> dict[str, str]:
    """Its parameters, decoded. A ``+`` is a plus: it is no form, and times have them.

    Raises NotUnderstood where one is unknown, comes twice, has no value or is no text; its message quotes nothing.
    """
    told: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = map(_decoded, pair.partition("="))
        if name not in known:
            raise NotUnderstood(_takes(known))
        if name in told:
            raise NotUnderstood(f"The query has {name!r} more than once.", param=name)
        if not value:
            raise NotUnderstood(f"The query's {name!r} has no value.", param=name)
        told[name] = value
    return told


def _decoded(text: str) -> str:
    """Raises NotUnderstood."""
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except ValueError as error:  # Of Unicode too: aiohttp takes bytes that are no text for lone surrogates.
        raise NotUnderstood("The query is not in UTF-8.") from error
    if _BROKEN.search(text) or not decoded.isprintable():
        raise NotUnderstood("The query is not well-formed.")
    return decoded


def _takes(known: Sequence[str]) -> str:
    if not known:
        return "This route takes no query."
    return f"This route's query takes {', '.join(known)} and nothing else."
