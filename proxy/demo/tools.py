"""Functions that a question offers: how a model without a template for them is made to call one.

Its answer is held to a schema that has nothing but calls of these functions. Nothing here does I/O.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proxy.demo.native import Json, inner
from proxy.demo.said import Call
from proxy.errors import NotUnderstood

LONGEST_TEXT = 40
LONGEST_LIST = 4
"""Where a schema sets no bound. A small model often finds no end by itself, and half a JSON is none."""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: Json


def offered(body: Json) -> tuple[Tool, ...]:
    """The functions of any of the four APIs: they differ in how deep they lie, and in the name of the schema."""
    given = objects(body, "tools")
    return tuple(_tool(inner(one, "function") or one) for one in given if not _runs_elsewhere(one))


def objects(body: Json, member: str) -> list[Json]:
    """A list of objects inside a question; empty where it is absent."""
    told = body.get(member) or []
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise NotUnderstood(f"json: cannot unmarshal the field {member} into a list of objects")
    return told


def _runs_elsewhere(tool: Json) -> bool:
    return str(tool.get("type", "")).startswith("web_search")


def _tool(told: Json) -> Tool:
    name = told.get("name")
    parameters = told.get("parameters") or told.get("input_schema") or {}
    if not isinstance(name, str) or not name or not isinstance(parameters, dict):
        raise NotUnderstood("a tool needs a name and a schema of its parameters")
    return Tool(name, str(told.get("description") or ""), parameters)


def instruction(tools: Iterable[Tool]) -> str:
    known = "\n".join(f"{tool.name}: {tool.description}" for tool in tools)
    return f"Answer by calling one of these functions, in JSON.\n{known}"


def schema(tools: Iterable[Tool]) -> Json:
    """Exactly one call of one of them."""
    definitions: Json = {}
    calls = []
    for tool in tools:
        parameters = {key: value for key, value in tool.parameters.items() if key not in ("$defs", "$schema")}
        definitions.update(tool.parameters.get("$defs") or {})  # References start at the root of the whole schema.
        arguments = {"type": "object", **parameters} if parameters.get("properties") else {"const": {}}
        calls.append(_exactly({"name": {"const": tool.name}, "arguments": arguments}))
    whole: Json = bounded({"anyOf": calls, **({"$defs": definitions} if definitions else {})})
    return whole


def _exactly(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def bounded(schema: Any) -> Any:
    """The same schema with an end to every text and list; whatever it lets through, the given one does too."""
    if isinstance(schema, list):
        return [bounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value if key in ("const", "enum", "default") else bounded(value) for key, value in schema.items()}
    if kept.get("type") == "string" and kept.keys().isdisjoint({"enum", "const", "pattern", "format"}):
        kept["maxLength"] = _end(kept, "minLength", "maxLength", LONGEST_TEXT)
    if kept.get("type") == "array":
        kept["maxItems"] = _end(kept, "minItems", "maxItems", LONGEST_LIST)
    return kept


def _end(schema: Json, least: str, most: str, usual: int) -> int:
    return int(min(schema.get(most, math.inf), max(usual, schema.get(least, 0))))


def call_in(text: str) -> Call | None:
    """The call that an answer is; None where it was cut off."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Call(f"call_{digest[:8]}", told["name"], told["arguments"])
