from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from proxy.own.answers import Answers, OwnAnswer
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.policy.models import Name
from proxy.policy.permit import Installed, InstalledModels
from proxy.relay import Answer
from proxy.vocabulary import Ask, Caller, Plan, Upload

ALICE = Caller("alice", "k1", Plan("default"))
LLAMA = Name("registry.ollama.ai", "library", "llama3.2", "1b")


class Backend:
    """Remembers what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def installed(self, name: Name | None) -> InstalledModels:
        self.asked.append(name)
        return {LLAMA: Installed("llama3.2:1b")}

    @asynccontextmanager
    async def open(self, ask: Ask, upload: Upload | None) -> AsyncIterator[Answer]:
        self.asked.append(ask.path)
        yield OwnAnswer(b"the backend's")


async def own(caller: Caller, query: Mapping[str, str]) -> bytes:
    return f"{caller.key_id} asks {dict(query)}".encode()


async def whole(answer: Answer) -> bytes:
    taken: list[bytes] = []
    await answer.flow(taken.append)
    return b"".join(taken)


async def test_the_gates_own_routes_are_answered_without_the_backend() -> None:
    backend, ask = Backend(), Ask(find("GET", "/v1/usage")[0], query={"tz": "UTC"})
    answers = Answers(backend, {"/v1/usage": own})
    installed = await answers.installed(ask, None)
    async with answers.open(ALICE, ask, None) as answer:
        body = await whole(answer)

    assert ({}, 200, b"k1 asks {'tz': 'UTC'}") == (installed, answer.status, body)
    assert {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    } == answer.headers
    assert (None, []) == (answer.context_length(), backend.asked)


async def test_every_other_route_is_the_backends() -> None:
    backend = Backend()
    answers = Answers(backend, {})
    others = [endpoint for endpoint in ENDPOINTS if not endpoint.own]
    for endpoint in others:
        ask = Ask(endpoint, segment="x")
        assert {LLAMA} == (await answers.installed(ask, LLAMA)).keys()
        async with answers.open(ALICE, ask, None) as answer:
            assert b"the backend's" == await whole(answer)

    assert 2 * len(others) == len(backend.asked)
