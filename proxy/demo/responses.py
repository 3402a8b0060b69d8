"""The shapes that Ollama gives to OpenAI's /v1/responses. Nothing here does I/O."""

import json
from dataclasses import dataclass

from proxy.demo.native import Json
from proxy.demo.said import Said
from proxy.vocabulary import Usage

_ID = "resp_1"
_MESSAGE = "msg_1"


@dataclass(frozen=True, slots=True)
class Form:
    """One answer: what all of its events have in common."""

    model: str
    created: int
    asked: Json
    """The question, of which the answer repeats a part."""

    def whole(self, said: Said) -> Json:
        return self._response("completed", _output(said), said.usage)

    def opening(self) -> list[Json]:
        begun = self._response("in_progress", [], None)
        return [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]

    def beginning(self) -> list[Json]:
        """What precedes the first word."""
        item = {"id": _MESSAGE, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        return [
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **_PLACE, "part": _text("")},
        ]

    def piece(self, text: str) -> Json:
        return {"type": "response.output_text.delta", **_PLACE, "delta": text, "logprobs": []}

    def closing(self, said: Said) -> list[Json]:
        ended: list[Json] = []
        output = _output(said)
        if said.calls:
            for index, item in enumerate(output):
                place = {"item_id": item["id"], "output_index": index}
                arguments, begun = item["arguments"], {**item, "status": "in_progress", "arguments": ""}
                ended += [
                    {"type": "response.output_item.added", "output_index": index, "item": begun},
                    {"type": "response.function_call_arguments.delta", **place, "delta": arguments},
                    {"type": "response.function_call_arguments.done", **place, "arguments": arguments},
                    {"type": "response.output_item.done", "output_index": index, "item": item},
                ]
        elif said.text:
            ended = [
                {"type": "response.output_text.done", **_PLACE, "text": said.text, "logprobs": []},
                {"type": "response.content_part.done", **_PLACE, "part": _text(said.text)},
                {"type": "response.output_item.done", "output_index": 0, "item": output[0]},
            ]
        return [*ended, {"type": "response.completed", "response": self.whole(said)}]

    def _response(self, status: str, output: list[Json], usage: Usage | None) -> Json:
        return {
            "id": _ID,
            "object": "response",
            "created_at": self.created,
            "completed_at": self.created if status == "completed" else None,
            "status": status,
            "incomplete_details": None,
            "model": self.model,
            "previous_response_id": None,
            "instructions": self.asked.get("instructions"),
            "output": output,
            "error": None,
            "tools": self.asked.get("tools") or [],
            "tool_choice": "auto",
            "truncation": "disabled",
            "parallel_tool_calls": True,
            "text": self.asked.get("text") or {"format": {"type": "text"}},
            "top_p": self.asked.get("top_p", 1),
            "temperature": self.asked.get("temperature", 1),
            "max_output_tokens": self.asked.get("max_output_tokens"),
            "store": False,
            "background": False,
            "metadata": {},
            "usage": counts(usage) if usage else None,
        }


_PLACE = {"item_id": _MESSAGE, "output_index": 0, "content_index": 0}


def counts(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _output(said: Said) -> list[Json]:
    if said.calls:
        return [
            {
                "id": f"fc_{call.id}",
                "type": "function_call",
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": json.dumps(call.arguments),
            }
            for call in said.calls
        ]
    if not said.text:
        return []
    whole = {"role": "assistant", "content": [_text(said.text)]}
    return [{"id": _MESSAGE, "type": "message", "status": "completed", **whole}]


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
