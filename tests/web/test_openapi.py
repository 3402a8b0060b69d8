import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from proxy import __version__, errors
from proxy.errors import GateError, RateLimited, TooManyFailures
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.vocabulary import SEGMENT, Takes
from proxy.web.framing import NotHttp, Reason
from proxy.web.openapi import EXAMPLE_MODEL, document
from proxy.web.refusals import rendered

DOCUMENT = document(__version__)
WRITTEN = Path(__file__).parents[2] / "docs/openapi.json"
ROUTES = [(endpoint.method, endpoint.path) for endpoint in ENDPOINTS]
WITH_CONTENT = [(method, path) for method, path in ROUTES if method != "HEAD"]


def operation(method: str, path: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for within in node.values():
            yield from references(within)
    elif isinstance(node, list):
        for within in node:
            yield from references(within)


def followed(reference: str) -> Any:
    node: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


def refusal_schema(method: str, path: str, status: int) -> Mapping[str, Any]:
    said = followed(operation(method, path)["responses"][str(status)]["$ref"])
    schema: Mapping[str, Any] = said["content"]["application/json"]["schema"]
    return schema


def test_the_written_document_is_in_step() -> None:
    assert json.dumps(DOCUMENT, indent=2) + "\n" == WRITTEN.read_text(), "llamagate openapi > docs/openapi.json"


def test_the_document_is_sound_openapi() -> None:
    assert "3.1.0" == DOCUMENT["openapi"]
    assert [] == [one for one in references(DOCUMENT) if followed(one) is None]


def test_every_schema_is_a_sound_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_shared_answer_and_schema_is_used() -> None:
    used = set(references(DOCUMENT))
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("headers", "responses", "schemas")
        for name in DOCUMENT["components"][kind]
    }

    assert set() == there - used


def test_every_route_of_the_table_is_told_and_no_other_but_the_probe() -> None:
    told = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if len(method) < 9}

    assert {*ROUTES, ("GET", "/healthz"), ("HEAD", "/healthz")} == told


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [
        one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values() if isinstance(one, dict)
    ]

    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)


def test_what_may_stand_in_a_path_is_what_the_table_lets_stand_there() -> None:
    for method, path in ROUTES:
        if SEGMENT in path:
            (parameter,) = DOCUMENT["paths"][path]["parameters"]
            pattern = parameter["schema"]["pattern"]
            for said in ("llama3:latest", "sha256:" + "a" * 64, "key-1", "a/b", "", "{}"):
                is_told = re.search(pattern, said) is not None
                try:
                    is_found = find(method, path.replace(SEGMENT, said))[0].path == path
                except GateError:
                    is_found = False

                assert is_told == is_found, (path, said)


def test_credentials_may_be_shown_in_each_way_and_the_probe_needs_none() -> None:
    assert [{"bearer": []}, {"apiKey": []}, {"basic": []}, {"certificate": []}] == DOCUMENT["security"]
    assert [] == operation("GET", "/healthz")["security"]
    assert "security" not in operation("POST", "/api/chat")


def test_bodies_are_told_as_each_route_takes_them() -> None:
    for endpoint in ENDPOINTS:
        body = operation(endpoint.method, endpoint.path).get("requestBody", {"content": {}})
        kinds = {
            Takes.NOTHING: [],
            Takes.JSON: ["application/json"],
            Takes.FORM: ["multipart/form-data"],
            Takes.BYTES: ["application/octet-stream"],
        }

        assert kinds[endpoint.takes] == list(body["content"])


def test_every_example_fits_its_schema_and_names_the_model() -> None:
    found = 0
    for method, path in ROUTES:
        media = operation(method, path).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in media:
            found += 1

            assert EXAMPLE_MODEL == media["example"]["model"]
            assert fits(media["example"], media["schema"])

    assert 9 == found


@pytest.mark.parametrize("body", [{"model": 1}, {"stream": "yes"}, [], "x"])
def test_a_body_that_every_dialect_refuses_does_not_fit(body: object) -> None:
    for tongue in ("Ollama", "Openai", "Responses", "Anthropic"):
        assert not fits(body, {"$ref": f"#/components/schemas/{tongue}Body"})


def of_every_kind() -> Iterator[GateError]:
    """Every error that needs no more than itself, and those that a client meets often."""
    waits = [RateLimited("Too many requests.", wait=1), TooManyFailures(wait=1)]
    yield from waits
    for found in vars(errors).values():
        if isinstance(found, type) and issubclass(found, GateError):
            with suppress(TypeError):  # Those have to be told something.
                yield found()
    yield from map(NotHttp, Reason)


@pytest.mark.parametrize(("method", "path"), WITH_CONTENT)
def test_every_refusal_that_is_told_of_has_the_shape_that_is_told(method: str, path: str) -> None:
    checked = set()
    for error in of_every_kind():
        asked = "/v1/" if isinstance(error, NotHttp) else path
        status, _, body = rendered(error, asked, "c1")
        if str(status) in operation(method, path)["responses"]:
            checked.add(status)

            assert fits(json.loads(body), refusal_schema(method, path, status)), (error.code, body)

    assert {400, 401, 403, 429, 500, 503} <= checked


def test_the_three_shapes_of_errors_are_told_apart() -> None:
    shapes = {"/api/chat": "Ollama", "/v1/responses": "OpenAI", "/v1/messages": "Anthropic"}
    for path, own in shapes.items():
        body = json.loads(rendered(errors.Forbidden(), path, "c1")[2])

        assert [own] == [one for one in shapes.values() if fits(body, {"$ref": f"#/components/schemas/{one}Error"})]
