"""What can be asked here and what is answered, as a document for machines (OpenAPI 3.1). No I/O.

It is made from the table of routes, from the names that the dialects look for and from the errors themselves, so it
says neither more nor less than is checked. Members that a dialect does not look at are Ollama's to check, and go on.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from proxy.dialects import anthropic, ollama, openai, responses, transcription
from proxy.errors import (
    AuthUnavailable,
    BackendDown,
    BackendFailed,
    BackendSilent,
    BodyTooLarge,
    BodyTooSlow,
    EncodingUnknown,
    Forbidden,
    GateError,
    GateStopping,
    KnobRefused,
    LedgerFull,
    ModelServerBusy,
    NeverFits,
    NoSuchModel,
    NoSuchRoute,
    NotUnderstood,
    PromptNeverFits,
    PullTooLarge,
    RateLimited,
    StorageFailed,
    StoreFailed,
    TooManyFailures,
    Truncated,
    TwoCredentials,
    Unauthenticated,
)
from proxy.policy.endpoints import ENDPOINTS, SEGMENTS
from proxy.vocabulary import SEGMENT, Endpoint, ModelIn, Risk, Takes, Tongue
from proxy.web.framing import NotHttp, Reason
from proxy.web.health import GOOD, HEALTH
from proxy.web.health import METHODS as HEALTH_METHODS

Json = dict[str, Any]
Shapes = dict[str, list[str]]
"""Each shape of an error, and the codes that come in it."""

EXAMPLE_MODEL: Final = "llama3.2:1b"
_MESSAGES: Final = [{"role": "user", "content": "Why is the sky blue?"}]
_EXAMPLES: Final[Mapping[str, Json]] = {
    "/api/chat": {"messages": _MESSAGES},
    "/api/generate": {"prompt": "Why is the sky blue?"},
    "/api/embed": {"input": ["Why is the sky blue?"]},
    "/api/embeddings": {"prompt": "Why is the sky blue?"},
    "/v1/chat/completions": {"messages": _MESSAGES},
    "/v1/completions": {"prompt": "Why is the sky blue?"},
    "/v1/embeddings": {"input": "Why is the sky blue?"},
    "/v1/messages": {"max_tokens": 64, "messages": _MESSAGES},
    "/v1/responses": {"input": "Why is the sky blue?"},
}
"""What a body has beside its model, so that the model has something to say."""

_KNOWN: Final[Mapping[Tongue, frozenset[str]]] = {
    Tongue.OLLAMA: ollama.KNOWN,
    Tongue.OPENAI: openai.KNOWN,
    Tongue.RESPONSES: responses.KNOWN,
    Tongue.ANTHROPIC: anthropic.KNOWN,
}
_ERRORS: Final[Mapping[Tongue, str]] = {
    **dict.fromkeys(Tongue, "OpenAIError"),
    Tongue.OLLAMA: "OllamaError",
    Tongue.ANTHROPIC: "AnthropicError",
}
_OF_BYTES: Final = "OpenAIError"
"""What is refused before it is known which route is meant, is refused in this shape."""

_ANY_ROUTE: Final[tuple[type[GateError], ...]] = (
    NotUnderstood,
    TwoCredentials,
    Unauthenticated,
    Forbidden,
    RateLimited,
    TooManyFailures,
    GateError,
    AuthUnavailable,
    StorageFailed,
    StoreFailed,
    LedgerFull,
    GateStopping,
)
_WITH_BODY: Final[tuple[type[GateError], ...]] = (BodyTooLarge, BodyTooSlow, EncodingUnknown)
_WITH_JSON: Final[tuple[type[GateError], ...]] = (KnobRefused, NeverFits, PromptNeverFits)
_FROM_UPSTREAM: Final[tuple[type[GateError], ...]] = (
    BackendFailed,
    Truncated,
    BackendDown,
    ModelServerBusy,
    BackendSilent,
)
_BYTES_REFUSED: Final[tuple[Reason, ...]] = tuple(
    reason for reason in Reason if reason not in (Reason.METHOD, Reason.NO_LENGTH, Reason.BODY_TOO_LARGE)
)
"""Why any request may be refused before it is one. An unknown method is on no route, the others come with a body."""

_SECURITY: Final[Mapping[str, Json]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a signed token, RFC 6750."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "As Anthropic's clients send it."},
    "basic": {"type": "http", "scheme": "basic", "description": "The key as the password, RFC 7617; anyone as user."},
    "certificate": {"type": "mutualTLS", "description": "A client's certificate, where the gate asks for one."},
}
_DESCRIPTION: Final = (
    "A gate in front of an Ollama server. A request shows exactly one credential; beside those listed, a key may stand"
    " before the route as /k/KEY where its plan allows that, and Ollama's own client may sign its requests.\n\n"
    "JSON is read strictly: UTF-8, one object and nothing after it, no member twice, none of the names below in other"
    " letters or another case. Members that are not listed go on to Ollama as they are."
)
_QUERY: Final[Mapping[str, str]] = {
    "since": "The day or the time from which on calls are summed; else since the month began.",
    "until": "The day or the time before which they are; else up to now.",
    "by": "By what they are told apart: model, day, hour, endpoint, outcome, with commas between.",
    "tz": "The time zone in which days begin, by its IANA name.",
    "wait": "How many seconds nothing is said at first; else none.",
    "events": "How many events are said then; else 8.",
    "every": "How many seconds are between two of them; else 0.25. All of it may take 120 seconds.",
}


def document(version: str) -> Json:
    """The whole document; ``version`` is the gate's own."""
    paths: dict[str, Json] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, _parameters(endpoint.path))[endpoint.method.lower()] = _operation(endpoint)
    paths[HEALTH] = {method.lower(): _probe(method) for method in HEALTH_METHODS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Llamagate",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": risk.value, "description": f"What a plan grants as '{risk}'."} for risk in Risk],
        "paths": paths,
        "components": {
            "securitySchemes": dict(_SECURITY),
            "headers": _headers(),
            "responses": dict(sorted(_shared().items())),
            "schemas": _schemas(),
        },
    }


def _parameters(path: str) -> Json:
    """What a path item has beside its operations."""
    if path not in SEGMENTS:
        return {}
    shape = SEGMENTS[path].pattern.removeprefix(path.partition(SEGMENT)[0]).strip("()")
    segment = {"name": SEGMENT.strip("{}"), "in": "path", "required": True}
    return {"parameters": [{**segment, "schema": {"type": "string", "pattern": f"^{shape}$"}}]}


def _operation(endpoint: Endpoint) -> Json:
    words = endpoint.path.replace(SEGMENT, "one").replace("-", "_").replace("/", " ").split()
    told: Json = {
        "operationId": "_".join([endpoint.method.lower(), *words]),
        "tags": [endpoint.risk.value],
    }
    if endpoint.query:
        told["parameters"] = [
            {"name": name, "in": "query", "description": _QUERY[name], "schema": {"type": "string", "minLength": 1}}
            for name in endpoint.query
        ]
    if endpoint.takes is not Takes.NOTHING:
        told["requestBody"] = {"required": True, "content": _taken(endpoint)}
    return {**told, "responses": _responses(endpoint)}


def _taken(endpoint: Endpoint) -> Json:
    if endpoint.takes is Takes.BYTES:
        return {"application/octet-stream": {}}
    if endpoint.takes is Takes.FORM:
        return {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/TranscriptionForm"}}}
    schema: Json = {"$ref": f"#/components/schemas/{_body_of(endpoint.tongue)}"}
    example = _EXAMPLES.get(endpoint.path)
    said = {} if example is None else {"example": {"model": EXAMPLE_MODEL, **example}}
    return {"application/json": {"schema": schema, **said}}


def _responses(endpoint: Endpoint) -> Json:
    told = {"200": _good(endpoint)}
    if endpoint.takes is Takes.BYTES:
        told["201"] = {"description": "It is kept.", "headers": _own_headers()}
    shape, bodiless = _ERRORS[endpoint.tongue], endpoint.method == "HEAD"
    for status in sorted(_refused(endpoint)):
        told[str(status)] = {"$ref": f"#/components/responses/{_called(shape, status, bodiless)}"}
    if not endpoint.own:
        said = {} if bodiless else {"content": _json_of([shape])}
        told["4XX"] = {
            "description": "The model server refused; its words were looked through.",
            **said,
            "headers": _own_headers(),
        }
    return told


def _refused(endpoint: Endpoint) -> dict[int, Shapes]:
    """Every refusal that a route may meet, by its status."""
    errors = [*_ANY_ROUTE]
    reasons = [*_BYTES_REFUSED]
    if endpoint.takes is not Takes.NOTHING:
        errors += _WITH_BODY
        reasons.append(Reason.BODY_TOO_LARGE)
    if endpoint.method == "POST":
        reasons.append(Reason.NO_LENGTH)
    if endpoint.takes is Takes.JSON:
        errors += _WITH_JSON
    if endpoint.model_in is not ModelIn.NOWHERE:
        errors.append(NoSuchModel)
    if endpoint.path in SEGMENTS:
        errors.append(NoSuchRoute)  # What may not stand there makes another path of it.
    if endpoint.risk is Risk.MANAGE:
        errors += [NoSuchModel, PullTooLarge]
    if not endpoint.own:
        errors += _FROM_UPSTREAM
    return _by_status(_ERRORS[endpoint.tongue], errors, reasons)


def _shared() -> Json:
    """The refusals by name. One is the same on all routes of a shape, so it names all codes that it may have there."""
    found: dict[tuple[str, int, bool], Shapes] = {}
    for endpoint in ENDPOINTS:
        bodiless = endpoint.method == "HEAD"
        for status, shapes in _refused(endpoint).items():
            name = _called(_ERRORS[endpoint.tongue], status, bodiless)
            place = found.setdefault((name, status, bodiless), {})
            for shape, codes in shapes.items():
                place[shape] = list(dict.fromkeys([*place.get(shape, []), *codes]))
    return {name: _refusal(shapes, bodiless, status) for (name, status, bodiless), shapes in found.items()}


def _called(shape: str, status: int, bodiless: bool) -> str:
    return f"WithoutBody{status}" if bodiless else f"{shape}{status}"


def _good(endpoint: Endpoint) -> Json:
    told: Json = {"description": "The answer.", "headers": _own_headers()}
    content: Json = {kind: {} for kind in _answered_as(endpoint)}
    if endpoint.own:
        name, kind = _OWN[endpoint.path]
        content = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {**told, "content": content} if content else told


def _answered_as(endpoint: Endpoint) -> Iterator[str]:
    """The content types of a good answer; none where it has no content."""
    if endpoint.method == "HEAD":
        return
    if endpoint.tongue is Tongue.TRANSCRIPTION or endpoint.path == "/":
        yield "text/plain"
    if endpoint.path != "/":
        yield "application/json"
    if endpoint.streams is not None:
        yield "application/x-ndjson" if endpoint.tongue is Tongue.OLLAMA else "text/event-stream"


def _by_status(shape: str, errors: Iterable[type[GateError]], reasons: Iterable[Reason]) -> dict[int, Shapes]:
    found: dict[int, Shapes] = {}
    said = [(error.status, shape, error.code) for error in errors]
    said += [(refusal.status, _OF_BYTES, refusal.code) for refusal in map(NotHttp, reasons)]
    for status, one, code in said:
        codes = found.setdefault(status, {}).setdefault(one, [])
        if code not in codes:
            codes.append(code)
    return found


def _refusal(shapes: Shapes, bodiless: bool, status: int) -> Json:
    codes = dict.fromkeys(code for codes in shapes.values() for code in codes)
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS_OF.get(status, ())}
    told: Json = {"description": f"Refused: {', '.join(codes)}.", "headers": {**_own_headers(), **headers}}
    return told if bodiless else {**told, "content": _json_of(shapes)}


def _json_of(shapes: Iterable[str]) -> Json:
    schemas = [{"$ref": f"#/components/schemas/{shape}"} for shape in shapes]
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}


def _probe(method: str) -> Json:
    content: Json = {} if method == "HEAD" else {"content": {"text/plain": {"schema": {"const": GOOD}}}}
    refused = sorted(_by_status(_OF_BYTES, (), _BYTES_REFUSED))
    return {
        "operationId": f"{method.lower()}_healthz",
        "tags": [Risk.HEALTH.value],
        "security": [],
        "responses": {
            "200": {"description": "The gate is there.", **content},
            **{
                str(status): {"$ref": f"#/components/responses/{_called(_OF_BYTES, status, method == 'HEAD')}"}
                for status in refused
            },
        },
    }


def _own_headers() -> Json:
    return {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


_HEADERS_OF: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After", "Retry-After-Ms"),
    503: ("Retry-After",),
}


def _headers() -> Json:
    return {
        "X-Request-Id": {"description": "The call's id in the gate's records.", "schema": {"type": "string"}},
        "WWW-Authenticate": {"description": "RFC 6750 §3.", "schema": {"type": "string"}},
        "Accept-Encoding": {"description": "The codings that are taken.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
        "Retry-After-Ms": {"description": "The same in milliseconds.", "schema": {"type": "string"}},
    }


def _body_of(tongue: Tongue) -> str:
    return f"{tongue.value.capitalize()}Body"


def _schemas() -> Json:
    bodies = {_body_of(tongue): _body(tongue, known) for tongue, known in _KNOWN.items()}
    return {**bodies, "TranscriptionForm": _form(), **_error_shapes(), **_own_shapes()}


def _body(tongue: Tongue, known: Iterable[str]) -> Json:
    """A member without a schema is looked for, and taken as it comes unless a plan bounds it."""
    checked: Json = {
        "model": {"type": ["string", "null"], "examples": [EXAMPLE_MODEL]},
        "name": {"type": ["string", "null"], "description": "In place of an empty 'model' where models are managed."},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": {"type": ["boolean", "null"]}},
        },
        "options": {"type": ["object", "null"]},
    }
    if tongue is not Tongue.OPENAI:
        del checked["stream_options"]
    return {"type": "object", "properties": {name: checked.get(name, {}) for name in sorted(known)}}


def _form() -> Json:
    fields: Json = {
        name: {"type": "array", "items": {"type": "string"}} if name.endswith("[]") else {"type": "string"}
        for name in sorted(transcription.KNOWN)
    }
    fields |= {name: {"type": "string", "contentMediaType": "application/octet-stream"} for name in transcription.FILES}
    return {"type": "object", "properties": fields, "required": sorted(transcription.FILES)}


def _object(properties: Json, *, open_ended: bool = False) -> Json:
    closed = {} if open_ended else {"additionalProperties": False}
    return {"type": "object", "properties": properties, "required": list(properties), **closed}


def _error_shapes() -> Json:
    text = {"type": "string"}
    of_openai = {"message": text, "type": text, "param": {"type": ["string", "null"]}, "code": text}
    of_anthropic = {"type": text, "message": text}
    return {
        "OllamaError": _object({"error": text}),
        "OpenAIError": _object({"error": _object(of_openai)}),
        "AnthropicError": _object({"type": {"const": "error"}, "error": _object(of_anthropic), "request_id": text}),
    }


_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "/v1/key": ("Key", "application/json"),
    "/v1/usage": ("Usage", "application/json"),
    "/v1/doctor": ("DoctorEvents", "text/event-stream"),
}
"""What each of the gate's own answers with, and of which type that is."""


def _own_shapes() -> Json:
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    maybe, amount = {"type": ["string", "null"]}, {"type": "number"}
    limit = _object(
        {
            "name": text,
            "limit": amount,
            "remaining": amount,
            "reset_seconds": {"type": ["integer", "null"]},
            "window_seconds": {"type": ["integer", "null"]},
        },
        open_ended=True,
    )
    sums = _object({"calls": {"type": "integer"}, "total_tokens": {"type": "integer"}}, open_ended=True)
    key = {"id": text, "user": text, "team": maybe, "plan": text, "models": texts, "grants": texts}
    usage = {"key_id": text, "user": text, "team": maybe, "since": text, "until": maybe, "time_zone": text}
    return {
        "Key": _object({"object": {"const": "key"}, **key, "limits": {"type": ["array", "null"], "items": limit}}),
        "Usage": _object(
            {"object": {"const": "usage"}, **usage, "total": sums, "data": {"type": "array", "items": sums}}
        ),
        "DoctorEvents": {
            "type": "string",
            "description": "Server-sent events: objects with number, of, seconds (since the call began) and peer (the"
            " address that the gate takes the caller's to be), and then [DONE].",
        },
    }
