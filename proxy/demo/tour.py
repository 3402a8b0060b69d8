"""A newcomer's first minute: an answer that streams, a refusal, and then the lines to go on with."""

import json
from collections.abc import Sequence
from typing import Protocol

import aiohttp

QUESTION = "What am I looking at?"
MOST_TOKENS = 100
"""The script's answer fits; a small real model now and then never finds its own end."""


class Told(Protocol):
    """Is told what happens, as it happens."""

    def asked(self, command: str) -> None: ...
    def streamed(self, piece: str) -> None: ...
    def refused(self, status: int, body: str) -> None: ...


async def take(address: str, key: str, told: Told) -> None:
    """Ask with the key and, in the same words, without."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        known = {"Authorization": f"Bearer {key}"}
        async with session.get(f"{address}/v1/models", headers=known) as listed:
            model = (await listed.json())["data"][0]["id"]
        said = [{"role": "user", "content": QUESTION}]
        question = {"model": model, "stream": True, "max_tokens": MOST_TOKENS, "messages": said}
        url = f"{address}/v1/chat/completions"
        told.asked(_curl(address, question, with_key=True))
        async with session.post(url, json=question, headers=known) as answer:
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:]).get("choices", []):
                        told.streamed(choice.get("delta", {}).get("content") or "")
        told.asked(_curl(address, question, with_key=False))
        async with session.post(url, json=question) as refusal:
            told.refused(refusal.status, await refusal.text())


def to_go_on(address: str, key: str) -> Sequence[str]:
    """For whoever wants to try it with a client of their own."""
    return (
        f"export OPENAI_BASE_URL={address}/v1 OPENAI_API_KEY={key}",
        f"export OLLAMA_HOST={address} OLLAMA_API_KEY={key}",
    )


def _curl(address: str, question: dict[str, object], *, with_key: bool) -> str:
    key = " -H 'Authorization: Bearer $OPENAI_API_KEY'".replace("'", '"') if with_key else ""
    return f"curl -N {address}/v1/chat/completions{key} \\\n  -d '{json.dumps(question)}'"
