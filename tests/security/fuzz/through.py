"""Requests through the socket that our own OpenAPI document allows or nearly does, and what comes back."""

import math
import random
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from proxy import __version__
from proxy.web.openapi import document
from tests.security.fuzz.standing import CANARY, Standing

CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
Case = schemathesis.Case[Any]
CREDENTIALS: Final = ("good", "as a header", "as a password", "bad", "malformed", "none", "two")
PATIENCE_SECONDS: Final = 20.0


def shown(how: str, key: str) -> dict[str, str]:
    """The header fields in which a client shows this credential."""
    match how:
        case "good":
            return {"Authorization": f"Bearer {key}"}
        case "as a header":
            return {"x-api-key": key}
        case "as a password":
            return {"Authorization": requests.auth._basic_auth_str("anyone", key)}
        case "bad":
            return {"Authorization": f"Bearer sk-lg_{CANARY}_{'0' * 43}"}
        case "malformed":
            return {"Authorization": f"Bearer {CANARY}\xff\x80.a.b"}
        case "two":
            return {"Authorization": f"Bearer {key}", "x-api-key": key}
        case _:
            return {}


def findings(standing: Standing, seed: int, examples: int, until: float = math.inf) -> Iterator[str]:
    """What should not be, over every route, with so many examples for each of two kinds of them, good and bad.

    ``until`` is a time on the monotonic clock, after which no further route is asked.
    """
    schema = schemathesis.openapi.from_dict(document(__version__))
    chance = random.Random(seed)
    with requests.Session() as session:
        session.trust_env = False
        for found in schema.get_all_operations():
            if time.monotonic() > until:
                return
            operation: Any = found.ok()  # type: ignore[union-attr]  # The document is sound.
            for mode in GenerationMode:
                cases = _cases(operation, mode, seed, examples)
                for number, case in enumerate(cases):
                    how = CREDENTIALS[0] if number % 2 else chance.choice(CREDENTIALS)
                    for wrong in _asked(standing, session, case, how):
                        told = f"{operation.label}, {how}, seed {seed}: {wrong}\n    {case!r}"
                        yield told.replace(standing.key, "(the key)")[:2000]


def _cases(operation: Any, mode: GenerationMode, seed: int, examples: int) -> list[Case]:
    cases: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def draw(case: Case) -> None:
        cases.append(case)

    try:
        draw()
    except Unsatisfiable:  # Of a route that takes nothing, nothing can be wrong.
        return []
    return cases


def _asked(standing: Standing, session: requests.Session, case: Case, how: str) -> Iterator[str]:
    """What is wrong with the answer to one request."""
    headers = {name: value for name, value in case.headers.items() if name.lower() not in _OURS}
    case.headers = type(case.headers)({**headers, **shown(how, standing.key), "X-Probe": CANARY})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The library's own, about what it is asked to send.
            response = case.call(base_url=standing.url, session=session, timeout=PATIENCE_SECONDS)
    except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
        return  # Its library does not send that; the raw cases do.
    except requests.exceptions.RequestException as error:
        yield f"no answer: {type(error).__name__}"
        return
    yield from _wrong(response.status_code, response.headers, response.content)
    is_public = case.path == "/healthz"
    if how in ("bad", "malformed", "none", "two") and not is_public and response.status_code < 400:
        yield f"it is let in: {response.status_code}"
    if CANARY.lower() in str(case.body).lower():
        return
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"{type(failure).__name__}: {failure}"
    except Failure as failure:
        yield f"{type(failure).__name__}: {failure}"


_OURS: Final = frozenset(
    "authorization x-api-key expect upgrade connection transfer-encoding content-length host".split()
)
"""Fields that say how a request is sent and by whom."""


def _wrong(status: int, headers: Mapping[str, Any], body: bytes) -> Iterator[str]:
    if status >= 500:
        yield f"a {status} that nobody told it to give: {body[:200]!r}"
    whole = body + repr(dict(headers)).encode()
    if CANARY.encode() in whole:
        yield "it repeats what it was sent"
    if b"Traceback" in whole or b'File "' in whole:
        yield "a traceback"
