"""Every route that the gate knows. What is not in this table is refused, so Ollama's old and future routes are closed.

A path is matched byte for byte as it came: Ollama's own router decodes and cleans paths, and a check that does the same
only nearly right is a hole. What goes upstream is the table's constant.
"""

import re

from proxy.errors import NoSuchRoute, WrongMethod
from proxy.vocabulary import Endpoint, Risk, Tongue

MODEL_SEGMENT = "{model}"


def _family(tongue: Tongue, *rows: tuple[str, str, Risk, bool, bool | None]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(method, path, tongue, risk, named, streams) for method, path, risk, named, streams in rows)


ENDPOINTS: tuple[Endpoint, ...] = (
    *_family(
        Tongue.OLLAMA,
        # method, path, risk, names a model, streams when `stream` is absent (None: never)
        ("GET", "/", Risk.HEALTH, False, None),
        ("HEAD", "/", Risk.HEALTH, False, None),
        ("GET", "/api/version", Risk.HEALTH, False, None),
        ("HEAD", "/api/version", Risk.HEALTH, False, None),
        ("GET", "/api/tags", Risk.READ, False, None),
        ("HEAD", "/api/tags", Risk.READ, False, None),
        ("GET", "/api/ps", Risk.READ, False, None),
        ("POST", "/api/show", Risk.READ, True, None),
        ("POST", "/api/generate", Risk.INFERENCE, True, True),
        ("POST", "/api/chat", Risk.INFERENCE, True, True),
        ("POST", "/api/embed", Risk.INFERENCE, True, None),
        ("POST", "/api/embeddings", Risk.INFERENCE, True, None),
    ),
    *_family(
        Tongue.OPENAI,
        ("POST", "/v1/chat/completions", Risk.INFERENCE, True, False),
        ("POST", "/v1/completions", Risk.INFERENCE, True, False),
        ("POST", "/v1/embeddings", Risk.INFERENCE, True, None),
        ("GET", "/v1/models", Risk.READ, False, None),
        ("GET", f"/v1/models/{MODEL_SEGMENT}", Risk.READ, True, None),
    ),
    *_family(
        Tongue.ANTHROPIC,
        ("POST", "/v1/messages", Risk.INFERENCE, True, False),
    ),
)

_BY_PATH: dict[str, dict[str, Endpoint]] = {}
for _endpoint in ENDPOINTS:
    _BY_PATH.setdefault(_endpoint.path, {})[_endpoint.method] = _endpoint

_ONE_MODEL = re.compile(r"/v1/models/([^/]+)")


def find(method: str, path: str) -> tuple[Endpoint, str]:
    """The row for a method and a raw path, and the model that the path names (empty for most).

    Raises NoSuchRoute or WrongMethod.
    """
    segment = ""
    methods = _BY_PATH.get(path)
    if methods is None and (match := _ONE_MODEL.fullmatch(path)):
        methods, segment = _BY_PATH[f"/v1/models/{MODEL_SEGMENT}"], match[1]
    if methods is None or MODEL_SEGMENT in segment:
        raise NoSuchRoute
    if method not in methods:
        raise WrongMethod(tuple(methods))
    return methods[method], segment


def known(method: str, path: str) -> Endpoint | None:
    """The row for a method and a raw path, if there is one."""
    try:
        return find(method, path)[0]
    except (NoSuchRoute, WrongMethod):
        return None


def tongue_of(path: str) -> Tongue:
    """In whose shape to refuse on this path, whether or not it exists."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Tongue.ANTHROPIC
    return Tongue.OPENAI if path.startswith("/v1/") or path == "/v1" else Tongue.OLLAMA
