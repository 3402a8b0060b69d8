import json
from typing import Any

import pytest

from proxy.errors import GateError, NotUnderstood, RateLimited
from proxy.own.answers import Answers
from proxy.own.doctor import DONE, MOST, MOST_OF_A_KEY, Course, OwnDoctor, asked
from proxy.policy.endpoints import find
from proxy.vocabulary import Ask, Caller, Later, Plan
from tests.conftest import Gate
from tests.fakes.eventually import eventually
from tests.own.test_answers import Backend

ALICE = Caller("alice", "k1", Plan("default"))


class Time:
    """Passes while somebody pauses, and at no other time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds
        self.pauses.append(seconds)


def ask(peer: str = "203.0.113.9", **query: str) -> Ask:
    return Ask(find("GET", "/v1/doctor")[0], query=query, peer=peer)


def events(body: bytes) -> list[dict[str, Any]]:
    *pieces, done, nothing = body.split(b"\n\n")

    assert (b"data: [DONE]", b"") == (done, nothing)
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces]


async def test_it_is_silent_for_as_long_as_was_asked_and_says_its_events_with_their_pauses() -> None:
    time, taken = Time(), list[bytes]()
    async with OwnDoctor(time.clock, time.pause)(ALICE, ask(wait="70", events="3", every="0.5")) as answer:
        await answer.flow(taken.append)

    assert [70.0, 0.5, 0.5] == time.pauses
    assert 3 == len(taken)
    assert [
        {"object": "doctor.event", "number": 1, "of": 3, "seconds": 70.0, "peer": "203.0.113.9"},
        {"object": "doctor.event", "number": 2, "of": 3, "seconds": 70.5, "peer": "203.0.113.9"},
        {"object": "doctor.event", "number": 3, "of": 3, "seconds": 71.0, "peer": "203.0.113.9"},
    ] == events(b"".join(taken))
    assert (200, "text/event-stream", None) == (answer.status, answer.headers["content-type"], answer.context_length())


async def test_the_next_event_waits_until_the_last_one_could_be_sent() -> None:
    time, said = Time(), list[str]()

    def take(piece: bytes) -> Later:
        async def later() -> None:
            said.append(f"sent after {len(time.pauses)} pauses")

        return later()

    async with OwnDoctor(time.clock, time.pause)(ALICE, ask(events="2")) as answer:
        await answer.flow(take)

    assert ["sent after 1 pauses", "sent after 2 pauses"] == said


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"wait": "121"}, "wait"),
        ({"wait": "-1"}, "wait"),
        ({"wait": "1e1"}, "wait"),
        ({"wait": "nan"}, "wait"),
        ({"wait": "0.0001"}, "wait"),
        ({"events": "0"}, "events"),
        ({"events": "1.5"}, "events"),
        ({"events": "101"}, "events"),
        ({"every": "soon"}, "every"),
        ({"wait": "119", "events": "3", "every": "1"}, "every"),
    ],
)
def test_what_would_take_too_long_or_is_no_number_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        asked(query)

    assert param == refused.value.param


def test_without_parameters_it_is_short() -> None:
    assert Course(0.0, 8, 0.25) == asked({})
    assert Course(118.0, 3, 1.0) == asked({"wait": "118", "events": "3", "every": "1"})


async def test_of_one_key_and_of_all_only_so_many_are_under_way() -> None:
    doctor = OwnDoctor(lambda: 0.0)
    open_ = []
    for number in range(MOST):
        caller = Caller("alice", f"k{number // MOST_OF_A_KEY}", Plan("default"))
        open_.append(doctor(caller, ask()))
        await open_[-1].__aenter__()
        if number == MOST_OF_A_KEY - 1:
            with pytest.raises(RateLimited):
                await doctor(caller, ask()).__aenter__()
    with pytest.raises(RateLimited):
        await doctor(Caller("bob", "another", Plan("default")), ask()).__aenter__()
    for one in open_:
        await one.__aexit__(None, None, None)
    async with doctor(Caller("bob", "another", Plan("default")), ask()) as answer:
        assert 200 == answer.status


async def test_it_is_answered_without_the_backend() -> None:
    backend, time = Backend(), Time()
    answers = Answers(backend, {}, {"/v1/doctor": OwnDoctor(time.clock, time.pause)})
    taken: list[bytes] = []
    async with answers.open(ALICE, ask(events="1"), None) as answer:
        await answer.flow(taken.append)

    assert [1] == [event["number"] for event in events(b"".join(taken))]
    assert [] == backend.asked


async def test_through_a_real_gate_it_streams_costs_nothing_and_has_its_line(gate: Gate) -> None:
    told = await gate.ask(gate.get("/v1/doctor?events=3&every=0.01"))
    entry = await gate.entry()

    assert (200, "text/event-stream") == (told.status, told.fields["content-type"])
    assert ["127.0.0.1"] * 3 == [event["peer"] for event in events(told.body)]
    assert told.body.endswith(DONE)
    assert ("/v1/doctor", "served", 200, 0, 0) == (
        entry.endpoint,
        entry.outcome,
        entry.status,
        entry.usage.prompt_tokens,
        entry.usage.completion_tokens,
    )


async def test_who_leaves_while_it_is_silent_makes_room_at_once(gate: Gate) -> None:
    client = await gate.connect()
    await client.send(gate.get("/v1/doctor?wait=100"))

    async def asks() -> bool | None:
        return any(one.endpoint == "/v1/doctor" for one in gate.opened.books.under_way()) or None

    await eventually(asks, 20, "a call whose caller is known")
    client.close()
    entry = await gate.entry()

    assert ("/v1/doctor", "client_left") == (entry.endpoint, entry.outcome)


async def test_a_query_that_makes_no_sense_and_a_stranger_are_refused(gate: Gate) -> None:
    for query, status in (("?wait=200", 400), ("?seconds=1", 400), ("?wait=1&wait=2", 400)):
        assert status == (await gate.ask(gate.get(f"/v1/doctor{query}"))).status
    assert 401 == (await gate.ask(gate.get("/v1/doctor", key=""))).status
    assert issubclass(RateLimited, GateError)
