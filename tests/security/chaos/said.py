"""What the scripted upstream says, event by event: whoever knows a stream's name and length knows every byte of it."""

import json
from dataclasses import dataclass

NATIVE, OPENAI = "/api/chat", "/v1/chat/completions"
PATHS = (NATIVE, OPENAI)
MODEL = "llama3.2:1b"
PROMPT_TOKENS = 7
MARK = "stream "
"""Stands before the name of the stream and its length in a question."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One answer that is yet to come. A token is an event with a word in it."""

    name: str
    words: int
    path: str = NATIVE

    @property
    def question(self) -> bytes:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"{MARK}{self.name} {self.words}"}],
            "stream": True,
        }
        if self.path == NATIVE:
            body["options"] = {"num_predict": self.words}
        else:
            body |= {"max_tokens": self.words, "stream_options": {"include_usage": True}}
        return json.dumps(body).encode()

    @property
    def events(self) -> list[bytes]:
        """The pieces of the whole answer."""
        words = [f"{self.name}:{number} " for number in range(self.words)]
        if self.path == NATIVE:
            told = {"done": True, "done_reason": "stop", "prompt_eval_count": PROMPT_TOKENS, "eval_count": self.words}
            spoken = [{"message": {"role": "assistant", "content": word}, "done": False} for word in words]
            return [json.dumps({"model": MODEL, **one}).encode() + b"\n" for one in (*spoken, told)]
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": self.words,
            "total_tokens": PROMPT_TOKENS + self.words,
        }
        chunks: list[dict[str, object]] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        written = [json.dumps({"object": "chat.completion.chunk", **one}) for one in chunks]
        return [f"data: {one}\n\n".encode() for one in (*written, "[DONE]")]

    @property
    def content_type(self) -> str:
        return "application/x-ndjson" if self.path == NATIVE else "text/event-stream"

    def error(self, body: bytes) -> str | None:
        """The message of an error that stands by itself, in the dialect of the path; None where it is none."""
        text = body.removeprefix(b"data: ").strip()
        try:
            said = json.loads(text)["error"]
        except (ValueError, TypeError, KeyError):
            return None
        message = said if self.path == NATIVE else said["message"] if isinstance(said, dict) else None
        return message if isinstance(message, str) else None


def asked(path: str, body: bytes) -> Stream | None:
    """The stream that a request asks for, as the gate passes it on; None where it asks for something else."""
    try:
        words = json.loads(body)["messages"][0]["content"].removeprefix(MARK).split()
        return Stream(words[0], int(words[1]), path)
    except (ValueError, KeyError, IndexError, TypeError):
        return None
