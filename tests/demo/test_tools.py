import json
from typing import Any

import pytest

from proxy.demo import tools
from proxy.demo.said import Call
from proxy.demo.tools import Tool
from proxy.errors import NotUnderstood

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = Tool("weather", "In a city", CITY)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "function", "function": {"name": "weather", "description": "In a city", "parameters": CITY}},
        {"type": "function", "name": "weather", "description": "In a city", "parameters": CITY},
        {"name": "weather", "description": "In a city", "input_schema": CITY},
    ],
)
def test_a_tool_is_the_same_in_every_api(given: dict[str, Any]) -> None:
    assert (TOOL,) == tools.offered({"tools": [given]})


def test_a_search_that_runs_elsewhere_is_no_function() -> None:
    assert () == tools.offered({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})


@pytest.mark.parametrize("given", ["weather", ["weather"], [{"function": "weather"}], [{"name": ""}]])
def test_what_is_no_tool_is_refused(given: Any) -> None:
    with pytest.raises(NotUnderstood):
        tools.offered({"tools": given})


def test_only_calls_of_the_offered_functions_fit_the_schema() -> None:
    weather, now = tools.schema([TOOL, Tool("now", "", {})])["anyOf"]

    assert [{"const": "weather"}, {"const": "now"}] == [one["properties"]["name"] for one in (weather, now)]
    assert {"const": {}} == now["properties"]["arguments"]
    assert "string" == weather["properties"]["arguments"]["properties"]["city"]["type"]
    assert ["name", "arguments"] == weather["required"]


def test_definitions_stay_where_references_look_for_them() -> None:
    place = {"type": "object", "properties": {"at": {"$ref": "#/$defs/Point"}}, "$defs": {"Point": {"type": "integer"}}}

    schema = tools.schema([Tool("go", "", place)])

    assert {"Point": {"type": "integer"}} == schema["$defs"]
    assert "$defs" not in schema["anyOf"][0]["properties"]["arguments"]


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ({"type": "string"}, {"maxLength": 40}),
        ({"type": "string", "maxLength": 3}, {"maxLength": 3}),
        ({"type": "string", "minLength": 50}, {"maxLength": 50}),
        ({"type": "string", "maxLength": 900, "minLength": 50}, {"maxLength": 50}),
        ({"type": "string", "enum": ["a"]}, {}),
        ({"type": "array", "items": {"type": "integer"}}, {"maxItems": 4}),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 6}, {"maxItems": 6}),
    ],
)
def test_every_text_and_list_gets_an_end(given: dict[str, Any], bounds: dict[str, int]) -> None:
    assert {**given, **bounds} == tools.bounded(given)


def test_the_same_call_has_the_same_id_and_half_a_call_is_none() -> None:
    text = json.dumps({"name": "weather", "arguments": {"city": "Paris"}})

    call = tools.call_in(text)

    assert call == tools.call_in(text) == Call(call.id if call else "", "weather", {"city": "Paris"})
    assert None is tools.call_in(text[:-3])
