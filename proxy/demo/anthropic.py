"""The shapes that Ollama gives to Anthropic's API, and what it demands of a question. Nothing here does I/O."""

import json

from proxy.demo.native import Json
from proxy.demo.said import Call, Said
from proxy.errors import NotUnderstood
from proxy.vocabulary import Usage

_KINDS = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}
_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def check(body: Json) -> None:
    """What every question must hold, besides a model."""
    limit = body.get("max_tokens")
    if not isinstance(limit, int) or limit <= 0:
        raise NotUnderstood("max_tokens is required and must be positive")
    if not body.get("messages"):
        raise NotUnderstood("messages is required")


def whole(model: str, said: Said) -> Json:
    content = [_use(call) for call in said.calls] or ([{"type": "text", "text": said.text}] if said.text else None)
    return {**_message(model), "content": content, "stop_reason": _reason(said), "usage": counts(said.usage)}


def opening(model: str, estimate: int) -> list[Json]:
    """What precedes the first block. Its count is a guess from the length of the request."""
    message = {**_message(model), "content": [], "usage": {"input_tokens": estimate, "output_tokens": 0}}
    return [{"type": "message_start", "message": message}]


def beginning() -> list[Json]:
    """What precedes the first word."""
    return [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]


def piece(text: str) -> Json:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def closing(said: Said) -> list[Json]:
    """What follows the last word, and the only true counts."""
    blocks: list[Json] = [{"type": "content_block_stop", "index": 0}] if said.text and not said.calls else []
    for index, call in enumerate(said.calls):
        arguments = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
        blocks += [
            {"type": "content_block_start", "index": index, "content_block": {**_use(call), "input": {}}},
            {"type": "content_block_delta", "index": index, "delta": arguments},
            {"type": "content_block_stop", "index": index},
        ]
    return [
        *blocks,
        {"type": "message_delta", "delta": {"stop_reason": _reason(said)}, "usage": counts(said.usage)},
        {"type": "message_stop"},
    ]


def counts(usage: Usage) -> Json:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


def error(status: int, message: str) -> Json:
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_" + "0" * 24}


def _reason(said: Said) -> str:
    return "tool_use" if said.calls else _REASONS[said.reason]


def _use(call: Call) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _message(model: str) -> Json:
    return {"id": "msg_" + "0" * 24, "type": "message", "role": "assistant", "model": model}
