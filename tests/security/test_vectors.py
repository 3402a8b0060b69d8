"""Hundreds of requests, byte for byte, through the real process: what each comes to, and that nothing else does."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from proxy.vocabulary import Tongue
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import RecordingUpstream
from tests.fakes.wire import all_sent, as_sent
from tests.security.vectors import CASES
from tests.security.vectors.case import CANARY, HOST, Case, Said, text_of
from tests.security.vectors.stand import Line, Stand, standing

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROBE = text_of((b"GET /healthz HTTP/1.1", HOST))
MEMBERS = {
    Tongue.OPENAI: {"error": {"message": str, "type": str, "param": type(None), "code": str}},
    Tongue.ANTHROPIC: {"type": str, "error": {"type": str, "message": str}, "request_id": str},
    Tongue.OLLAMA: {"error": str},
}
"""What a refusal has in it, with the types."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a case came to."""

    answers: list[Told]
    rest: bytes
    """What came after the answers: on a connection that stays open that to a probe, else all until its end."""
    got: list[bytes]
    """By the upstream."""
    afterwards: Told
    """The answer to a good request on another connection."""
    log: str
    lines: list[Line]
    """Of the log, without that of the request afterwards."""
    counted: Counter[str]
    """What came to no request, by why."""
    key: str

    @property
    def calls(self) -> list[Line]:
        return [line for line in self.lines if line["event"] == "call_ended"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with standing(tmp_path_factory.mktemp("vectors")) as stand:
        yield stand
        lingered = await stand.left_alone()
        at_last = await stand.at_rest()
    assert [] == [name for name, rest in lingered.items() if rest]
    assert 0 == at_last.connections


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_request_comes_to_what_the_table_says_and_to_nothing_else(stand: Stand, case: Case) -> None:
    seen = await run(stand, case)

    assert_told(case, seen)
    assert_sent(case, stand.upstream, seen.got)
    assert_logged(case, seen)
    assert_ended(case, seen)
    assert 200 == seen.afterwards.status


async def test_there_are_hundreds_of_them_each_with_a_name_of_its_own_and_a_word_to_look_for() -> None:
    assert len(CASES) >= 300
    assert len(CASES) == len({case.name for case in CASES})
    assert [] == [case.name for case in CASES if CANARY not in case.raw]


async def run(stand: Stand, case: Case) -> Seen:
    before = stand.figures_last
    stand.upstream.forget()
    client = await stand.connect()
    try:
        await client.send(stand.raw_of(case))
        answers = [] if case.leaves else [await heard(client, said) for said in case.says]
        if case.stays_open:
            await client.send(PROBE)
            rest = (await client.told()).body
        else:
            rest = b"" if case.leaves or case.lingers else await client.closed()
    finally:
        if case.lingers:
            stand.lingering[case.name] = client
        else:
            client.close()
    got = received(stand.upstream)
    afterwards = await stand.ask_well()
    calls = [said for said in case.says if said.is_call]
    log, lines = await stand.logged(len(calls) + 1)
    lines = [line for line in lines if line.get("id") != afterwards.fields.get("x-request-id")]
    after = await stand.at_rest()
    return Seen(answers, rest, got, afterwards, log, lines, after.refused - before.refused, stand.key)


async def heard(client: RawClient, said: Said) -> Told:
    return await client.told(bodiless=said.is_bodiless)


def received(upstream: RecordingUpstream) -> list[bytes]:
    """Whatever came; the gate's own looks at the lists are no part of it."""
    return [sent for sent in all_sent(upstream) if sent]


def assert_told(case: Case, seen: Seen) -> None:
    """Each answer has its status, its fields and a body in the shape of its route, and nothing of the client's."""
    assert [said.status for said in case.says if said.status] == [told.status for told in seen.answers]
    for said, told in zip(case.says, seen.answers, strict=False):
        whole = told.head + told.body

        assert CANARY.lower() not in whole.lower()
        assert seen.key.encode() not in whole
        assert told.clean
        if told.status >= 200:
            assert "llamagate" == told.fields["server"]
        assert said.is_call == ("x-request-id" in told.fields)
        if said.tongue is not None:
            assert "no-store" == told.fields["cache-control"]
            assert "application/json" == told.fields["content-type"]
            if not said.is_bodiless:
                assert MEMBERS[said.tongue] == shape_of(json.loads(told.body))


def shape_of(value: object) -> object:
    return {name: shape_of(one) for name, one in value.items()} if isinstance(value, dict) else type(value)


def assert_sent(case: Case, upstream: RecordingUpstream, got: list[bytes]) -> None:
    """Nothing, or what the gate itself has written."""
    assert [as_sent(upstream, sent.asked, sent.body, sent.content_type) for sent in case.sent] == got


def assert_logged(case: Case, seen: Seen) -> None:
    """A line for each call and at most one for the bytes that were none; all is counted, and nothing else is said."""
    calls = [said for said in case.says if said.is_call]
    counted = Counter([*(said.reason for said in case.says if not said.is_call and said.reason), *case.counted])

    assert len(calls) == len(seen.calls)
    for said, told, line in zip(calls, [*heard_of_calls(case, seen), *[None] * len(calls)], seen.calls, strict=False):
        assert f"{line.get('reason', '')}.".startswith(f"{said.reason}.")
        assert (said.status or None) == line.get("status")
        if told is not None:
            assert told.fields["x-request-id"] == line["id"]
    others = [line for line in seen.lines if line["event"] != "call_ended"]

    assert len(others) <= 1
    assert {line["event"] for line in others} <= {"not_http", "connection_closed"}
    assert {line["reason"] for line in others} <= set(counted)
    assert counted == seen.counted
    assert CANARY.decode().lower() not in seen.log.lower()
    assert seen.key not in seen.log
    assert "Traceback" not in seen.log


def heard_of_calls(case: Case, seen: Seen) -> list[Told]:
    return [told for said, told in zip(case.says, seen.answers, strict=False) if said.is_call]


def assert_ended(case: Case, seen: Seen) -> None:
    """The connection is closed after the last word, or goes on; what an answer says of it is true."""
    assert (b"ok" if case.stays_open else b"") == seen.rest
    if seen.answers:
        assert case.stays_open == seen.answers[-1].keeps_alive or case.counted
