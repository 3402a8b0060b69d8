"""Many calls at the same moment, over four gates that count in one Redis, and over one that counts for itself.

The gates are replicas as they are run in earnest: a process and a state directory each, one database and one pepper.
Every call waits within its gate, known by its key, for the last byte of its body; all of those are sent together.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import urlsplit

import pytest

from proxy.admin.desk import Desk
from proxy.bootstrap.workshop import Workshop
from proxy.config.settings import Settings
from proxy.ledger import Sum, Wanted
from proxy.policy.cost import BYTES_PER_TOKEN, TEMPLATE
from proxy.vocabulary import Limits, Tongue
from tests.end_to_end.gate import Gate, opened
from tests.fakes.answers import MESSAGES, MODEL, NATIVE_LINES, NDJSON, WHOLE
from tests.fakes.databases import NewDatabase
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming, whole

ROUNDS = 20
CALLS, BURST = 200, 10
PEPPER = "one pepper for all of the replicas"
SPENT = {"prompt_tokens": 30, "completion_tokens": 50}


@dataclass
class House:
    """The gates, what is behind them, and the desk where keys are issued."""

    gates: list[Gate]
    upstream: RecordingUpstream
    desk: Desk

    async def key(self, number: int, limits: Limits) -> str:
        """For a user of its own."""
        return (await self.desk.create_key(f"user-{number}", limits=limits)).secret

    async def race(self, calls: int, key: str, path: str, body: Mapping[str, object]) -> list["asyncio.Task[Told]"]:
        """The answers to so many calls, which have just been released together."""
        text = json.dumps(body).encode()
        clients = [await waiting(gate, key, path, text) for gate, _ in zip(cycle(self.gates), range(calls))]
        for client in clients:
            await client.send(text[-1:])
        return [asyncio.create_task(heard(client)) for client in clients]

    async def sums(self, *, calls: int) -> dict[str | None, Sum]:
        """What the ledger has of each user, once it has that many calls."""

        async def written() -> list[Sum] | None:
            sums = await self.desk.usage(Wanted(("user",)))
            return sums if sum(one.calls for one in sums) >= calls else None

        return {one.groups[0]: one for one in await eventually(written, 10, "a line for each call")}

    def troubles(self) -> list[object]:
        """What any of the gates has had with Redis, or where it counts, if that is not what was wanted.

        That a settlement was late is none: it is told again, and a machine with much to do makes it so.
        """
        told = [gate.asked("limits", "status", "--json")[0] for gate in self.gates]
        names = ("failures", "settlements_lost")
        return [one for one in told if one["degraded_since"] or any(one["counts"].get(name) for name in names)]


async def waiting(gate: Gate, key: str, path: str, text: bytes) -> RawClient:
    """A client whose call is in the gate but for its last byte."""
    there = urlsplit(gate.url)
    client = await RawClient.connect(there.hostname or "", there.port or 0)
    lines = [f"POST {path} HTTP/1.1", "Host: gate.example", f"Authorization: Bearer {key}"]
    lines += [f"Content-Length: {len(text)}", "Expect: 100-continue"]
    await client.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    assert 100 == (await client.told()).status
    await client.send(text[:-1])
    return client


async def heard(client: RawClient) -> Told:
    told = await client.told()
    client.close()
    return told


@pytest.fixture(params=["four gates over Redis", "one gate in process"])
async def house(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_database: NewDatabase,
    upstream: RecordingUpstream,
) -> AsyncIterator[House]:
    told = {"database_url": new_database("sqlite"), "pepper": PEPPER}
    count = 1
    if request.param == "four gates over Redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        told["redis_url"], count = server.url, 4
    with ExitStack() as gates:
        running = []
        for number in range(count):
            folder = tmp_path_factory.mktemp(f"gate-{number}-")
            (folder / "llamagate.toml").write_text(
                "".join(f"{name} = {json.dumps(one)}\n" for name, one in told.items())
            )
            # Its first question is for the upstream in this loop.
            running.append(await asyncio.to_thread(gates.enter_context, opened(folder, upstream.url)))
        upstream.forget()
        settings = Settings.model_validate(
            {"state_dir": tmp_path_factory.mktemp("desk"), "database_url": told["database_url"], "pepper": PEPPER}
        )
        async with Workshop({}).desk(settings) as desk:
            yield House(running, upstream, desk)


def statuses(answers: Sequence[Told]) -> dict[int, int]:
    return dict(Counter(told.status for told in answers))


async def test_of_two_hundred_requests_at_once_exactly_the_burst_passes(house: House) -> None:
    house.upstream.says(whole(WHOLE[Tongue.OPENAI]))
    passed, left, reached, waits = [], [], [], set()
    for number in range(ROUNDS):
        key = await house.key(number, Limits(requests_per_minute=1, request_burst=BURST))
        body = {"model": MODEL, "messages": MESSAGES}
        answers = await asyncio.gather(*await house.race(CALLS, key, "/v1/chat/completions", body))
        passed.append(statuses(answers))
        left.append(sorted(int(one.fields["x-ratelimit-remaining-requests"]) for one in answers if one.status == 200))
        reached.append(len(house.upstream.asked))
        waits |= {int(one.fields["retry-after-ms"]) for one in answers if one.status == 429}
        house.upstream.forget()
    sums = await house.sums(calls=ROUNDS * CALLS)

    assert [] == house.troubles(), "each took part in every decision"
    assert [{200: BURST, 429: CALLS - BURST}] * ROUNDS == passed
    assert [list(range(BURST))] * ROUNDS == left, "each that passed was told another number of what is left"
    assert [BURST] * ROUNDS == reached
    assert 0 < min(waits) <= max(waits) <= 60_000
    assert {(CALLS, CALLS - BURST)} == {(one.calls, one.refused) for one in sums.values()}


async def test_of_one_stream_more_than_may_go_on_at_once_exactly_one_is_refused(house: House) -> None:
    most, ended, reasons = 10, [], set()
    for number in range(ROUNDS):
        go_on = asyncio.Event()
        house.upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
        key = await house.key(number, Limits(concurrent=most))
        racing = await house.race(most + 1, key, "/api/chat", {"model": MODEL, "messages": MESSAGES})
        for _ in range(most):
            await house.upstream.next()
        (first,), _ = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
        reasons.add((first.result().status, first.result().fields["retry-after"]))
        go_on.set()
        ended.append(statuses(await asyncio.gather(*racing)))
        again = await house.race(1, key, "/api/chat", {"model": MODEL, "messages": MESSAGES})
        ended[-1][0] = (await again[0]).status
        house.upstream.forget()

    assert [] == house.troubles(), "each took part in every decision"
    assert [{200: most, 429: 1, 0: 200}] * ROUNDS == ended, "and once they have ended, there is room again"
    assert {(429, "1")} == reasons


async def test_of_five_calls_of_eighty_tokens_exactly_one_fits_a_bucket_of_a_hundred(house: House) -> None:
    house.upstream.says(whole(json.dumps({"choices": [], "usage": SPENT}).encode()))
    prompt = TEMPLATE + -(-len(json.dumps(MESSAGES)) // BYTES_PER_TOKEN)
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 80 - prompt}
    ended, left = [], set()
    for number in range(ROUNDS):
        key = await house.key(number, Limits(tokens_per_minute=1, token_burst=100))
        answers = await asyncio.gather(*await house.race(5, key, "/v1/chat/completions", body))
        ended.append(statuses(answers))
        left |= {one.fields["x-ratelimit-remaining-tokens"] for one in answers}
    sums = await house.sums(calls=ROUNDS * 5)

    assert [] == house.troubles(), "each took part in every decision"
    assert [{200: 1, 429: 4}] * ROUNDS == ended
    assert {"20"} == left
    assert {(5, 4, *SPENT.values())} == {
        (one.calls, one.refused, one.prompt_tokens, one.completion_tokens) for one in sums.values()
    }
