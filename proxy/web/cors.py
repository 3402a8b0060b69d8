"""Browsers: which pages may ask, told by the gate itself. Nothing in this module does I/O.

Ollama has an origin check of its own; nothing about origins reaches it. The default is no page at all.
"""

from collections.abc import Collection, Mapping

METHODS = "GET, HEAD, POST, DELETE"
REMEMBERED_SECONDS = 600
EXPOSED = ", ".join(
    (
        "X-Request-Id",
        "X-Llamagate-Changed",
        "X-Llamagate-Prompt-Cut",
        "X-Llamagate-Prompt-Logged",
        "Retry-After",
        "Retry-After-Ms",
        "RateLimit",
        "RateLimit-Policy",
        *(f"x-ratelimit-{told}-{what}" for what in ("requests", "tokens") for told in ("limit", "remaining", "reset")),
    )
)
ANY = "*"


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """The Fetch standard, §4.8: a browser asks first, without credentials, whether it may ask."""
    return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def allows(origin: str | None, origins: Collection[str]) -> bool:
    return origin is not None and (origin in origins or ANY in origins)


def on_answers(origin: str | None, origins: Collection[str]) -> dict[str, str]:
    """The header fields by which a browser lets the page read an answer. No cookie ever counts, so none is allowed."""
    if origin is None or not allows(origin, origins):
        return {"Vary": "Origin"} if origins else {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED, "Vary": "Origin"}


def on_preflight(headers: Mapping[str, str], origins: Collection[str]) -> dict[str, str]:
    """What a page from an allowed origin may do; empty for any other."""
    origin = headers.get("Origin")
    if origin is None or not allows(origin, origins):
        return {}
    asked = headers.get("Access-Control-Request-Headers", "")
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": asked if _are_tokens(asked) else "authorization, content-type",
        "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
        "Vary": "Origin, Access-Control-Request-Headers",
    }


def _are_tokens(names: str) -> bool:
    """Whether it is a list of header names and nothing else, so that it may be said again."""
    return len(names) <= 1024 and all(
        name.strip(" ").replace("-", "").replace("_", "").isalnum() and name.isascii() for name in names.split(",")
    )
