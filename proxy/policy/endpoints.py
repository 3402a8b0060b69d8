"""Every route that Ollama has, and what the gate knows of each, and the gate's own. What is not here is refused.

So Ollama's old and future routes are closed by default. A path is matched byte for byte as it came: Ollama's own router
decodes and cleans paths, and a check that does the same only nearly right is a hole. What goes upstream is the table's
constant.
"""

import re
from urllib.parse import unquote

from proxy.errors import NoSuchRoute, WrongMethod
from proxy.vocabulary import SEGMENT, Endpoint, ModelIn, Risk, Takes, Tongue, UsageIn

OLLAMA, OPENAI, ANTHROPIC = Tongue.OLLAMA, Tongue.OPENAI, Tongue.ANTHROPIC
HEALTH, READ, INFERENCE = Risk.HEALTH, Risk.READ, Risk.INFERENCE
MANAGE, ACCOUNT, OUTBOUND = Risk.MANAGE, Risk.ACCOUNT, Risk.OUTBOUND
JSON, FORM, BYTES, NOTHING = Takes.JSON, Takes.FORM, Takes.BYTES, Takes.NOTHING
BODY, BODY_OR_NAME, PATH = ModelIn.BODY, ModelIn.BODY_OR_NAME, ModelIn.PATH
NEVER = None
"""Does not stream; else what an absent ``stream`` means."""

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/", OLLAMA, HEALTH),
    Endpoint("HEAD", "/", OLLAMA, HEALTH),
    Endpoint("GET", "/api/version", OLLAMA, HEALTH),
    Endpoint("HEAD", "/api/version", OLLAMA, HEALTH),
    Endpoint("GET", "/api/tags", OLLAMA, READ),
    Endpoint("HEAD", "/api/tags", OLLAMA, READ),
    Endpoint("GET", "/api/ps", OLLAMA, READ),
    Endpoint("POST", "/api/show", OLLAMA, READ, JSON, BODY_OR_NAME),
    Endpoint("POST", "/api/generate", OLLAMA, INFERENCE, JSON, BODY, UsageIn.DONE, True),
    Endpoint("POST", "/api/chat", OLLAMA, INFERENCE, JSON, BODY, UsageIn.DONE, True),
    Endpoint("POST", "/api/embed", OLLAMA, INFERENCE, JSON, BODY, UsageIn.DONE, NEVER),
    Endpoint("POST", "/api/embeddings", OLLAMA, INFERENCE, JSON, BODY, UsageIn.UNTOLD, NEVER),
    Endpoint("POST", "/v1/chat/completions", OPENAI, INFERENCE, JSON, BODY, UsageIn.USAGE, False),
    Endpoint("POST", "/v1/completions", OPENAI, INFERENCE, JSON, BODY, UsageIn.USAGE, False),
    Endpoint("POST", "/v1/embeddings", OPENAI, INFERENCE, JSON, BODY, UsageIn.USAGE, NEVER),
    Endpoint("GET", "/v1/models", OPENAI, READ),
    Endpoint("GET", f"/v1/models/{SEGMENT}", OPENAI, READ, NOTHING, PATH),
    Endpoint("POST", "/v1/responses", Tongue.RESPONSES, INFERENCE, JSON, BODY, UsageIn.COMPLETED, False),
    Endpoint(
        "POST", "/v1/audio/transcriptions", Tongue.TRANSCRIPTION, INFERENCE, FORM, ModelIn.FORM, UsageIn.UNTOLD, NEVER
    ),
    Endpoint("POST", "/v1/messages", ANTHROPIC, INFERENCE, JSON, BODY, UsageIn.MESSAGE_DELTA, False),
    Endpoint("POST", "/api/pull", OLLAMA, MANAGE, JSON, BODY_OR_NAME, streams=True),
    Endpoint("POST", "/api/push", OLLAMA, MANAGE, JSON, BODY_OR_NAME, streams=True),
    Endpoint("POST", "/api/create", OLLAMA, MANAGE, JSON, BODY_OR_NAME, streams=True),
    Endpoint("POST", "/api/copy", OLLAMA, MANAGE, JSON, ModelIn.COPY),
    Endpoint("DELETE", "/api/delete", OLLAMA, MANAGE, JSON, BODY_OR_NAME),
    Endpoint("POST", f"/api/blobs/{SEGMENT}", OLLAMA, MANAGE, BYTES),
    Endpoint("HEAD", f"/api/blobs/{SEGMENT}", OLLAMA, MANAGE),
    Endpoint("GET", "/api/status", OLLAMA, ACCOUNT),
    Endpoint("POST", "/api/me", OLLAMA, ACCOUNT),
    Endpoint("POST", "/api/signout", OLLAMA, ACCOUNT),
    Endpoint("DELETE", f"/api/user/keys/{SEGMENT}", OLLAMA, ACCOUNT),
    Endpoint("POST", "/api/experimental/web_search", OLLAMA, OUTBOUND, JSON),
    Endpoint("POST", "/api/experimental/web_fetch", OLLAMA, OUTBOUND, JSON),
    Endpoint("GET", "/api/experimental/model-recommendations", OLLAMA, OUTBOUND),
    Endpoint("GET", "/v1/key", OPENAI, READ, own=True),
    Endpoint("GET", "/v1/usage", OPENAI, READ, own=True, query=("since", "until", "by", "tz")),
    Endpoint("GET", "/v1/doctor", OPENAI, READ, own=True, query=("wait", "events", "every")),
)

SEGMENTS = {
    f"/v1/models/{SEGMENT}": re.compile(r"/v1/models/([^/{}]{1,512})"),
    f"/api/blobs/{SEGMENT}": re.compile(r"/api/blobs/(sha256[:-][0-9a-fA-F]{64})"),
    f"/api/user/keys/{SEGMENT}": re.compile(r"/api/user/keys/([A-Za-z0-9_=-]{1,256})"),
}
"""What may stand in the variable place. A model's name may be percent-encoded: it is checked and written anew."""

MESSAGES = ("/v1/messages", "/v1/v1/messages", "/messages")
"""Where Anthropic's clients ask, with the right base URL and with two wrong ones."""

_BY_PATH: dict[str, dict[str, Endpoint]] = {}
for _endpoint in ENDPOINTS:
    _BY_PATH.setdefault(_endpoint.path, {})[_endpoint.method] = _endpoint


def find(method: str, path: str) -> tuple[Endpoint, str]:
    """The row for a method and a raw path, and what stands in the path's variable place (empty for most).

    Raises NoSuchRoute, with the cure where the path is a known mistake, or WrongMethod.
    """
    methods, segment = _BY_PATH.get(path), ""
    if methods is None or SEGMENT in path:
        methods = None
        for pattern, shape in SEGMENTS.items():
            if match := shape.fullmatch(path):
                methods, segment = _BY_PATH[pattern], unquote(match[1], errors="replace")
    if methods is None:
        raise NoSuchRoute(_cure(path))
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
    return _TONGUES.get(path) or _tongue_of(path)


def _tongue_of(path: str) -> Tongue:
    if any(path == one or path.startswith(f"{one}/") for one in MESSAGES):
        return ANTHROPIC
    if path == "/v1" or path.startswith("/v1/") or f"/v1{path}" in _BY_PATH:
        return OPENAI
    return OLLAMA


_TONGUES = {path: _tongue_of(path) for path in _BY_PATH}


def _cure(path: str) -> str | None:
    """What to change where a client's base URL is wrong in one of the usual ways."""
    if path.startswith("/v1/v1/"):
        return "The base URL has /v1 twice over: this client adds it by itself, so leave it out."
    if path.startswith("/v1/api/"):
        return "The base URL of an Ollama client must not end with /v1."
    if f"/v1{path}" in _BY_PATH:
        return "The base URL of an OpenAI client must end with /v1."
    return None
