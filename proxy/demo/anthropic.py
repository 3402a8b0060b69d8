"""The shapes that Ollama gives to Anthropic's API, and what it demands of a question. Nothing here does I/O."""

from proxy.demo.native import Json
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


def whole(model: str, text: str, reason: str, usage: Usage) -> Json:
    content = [{"type": "text", "text": text}] if text else None
    return {**_message(model), "content": content, "stop_reason": _REASONS[reason], "usage": counts(usage)}


def opening(model: str, estimate: int) -> list[Json]:
    """What precedes the first word. Its count is a guess from the length of the request."""
    message = {**_message(model), "content": [], "usage": {"input_tokens": estimate, "output_tokens": 0}}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]


def piece(text: str) -> Json:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def closing(reason: str, usage: Usage) -> list[Json]:
    """What follows the last word, and the only true counts."""
    return [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": _REASONS[reason]}, "usage": counts(usage)},
        {"type": "message_stop"},
    ]


def counts(usage: Usage) -> Json:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


def whole_prompt(told: Json) -> int:
    """All tokens of a prompt, from counts that set the cached ones apart."""
    return int(told.get("input_tokens", 0)) + int(told.get("cache_read_input_tokens", 0))


def error(status: int, message: str) -> Json:
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_" + "0" * 24}


def _message(model: str) -> Json:
    return {"id": "msg_" + "0" * 24, "type": "message", "role": "assistant", "model": model}
