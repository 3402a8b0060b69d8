import dataclasses
import inspect
import json
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import vocabulary
from proxy.vocabulary import (
    BOUNDARY,
    KNOBS,
    SEGMENT,
    Allowance,
    Ask,
    Call,
    Caller,
    Carrier,
    Credential,
    Endpoint,
    Level,
    Limits,
    ModelIn,
    Part,
    Plan,
    Risk,
    Rule,
    Takes,
    Tongue,
    form_of,
    joined,
)

NOUNS = [noun for _, noun in inspect.getmembers(vocabulary, dataclasses.is_dataclass) if isinstance(noun, type)]
CHAT = Endpoint("POST", "/api/chat", Tongue.OLLAMA, Risk.INFERENCE, Takes.JSON, ModelIn.BODY, streams=True)
MODEL = Endpoint("GET", f"/v1/models/{SEGMENT}", Tongue.OPENAI, Risk.READ, Takes.NOTHING, ModelIn.PATH)
BLOB = Endpoint("POST", f"/api/blobs/{SEGMENT}", Tongue.OLLAMA, Risk.MANAGE, Takes.BYTES)
SPEECH = Endpoint("POST", "/v1/audio", Tongue.TRANSCRIPTION, Risk.INFERENCE, Takes.FORM, ModelIn.FORM)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_cannot_be_changed_by_whoever_it_is_handed_to(noun: type) -> None:
    assert noun.__dict__["__dataclass_params__"].frozen
    assert "__slots__" in noun.__dict__


def test_a_call_shows_none_of_its_secrets() -> None:
    assert "canary" not in repr(
        Call("c1", datetime(2026, 3, 1, tzinfo=UTC), "GET", "/", credentials=(Credential(Carrier.BEARER, "canary"),))
    )


def test_an_ask_shows_nothing_of_its_prompt() -> None:
    assert "canary" not in repr(Ask(CHAT, fields={"prompt": b'"canary"'}))
    assert "canary" not in repr(Ask(SPEECH, parts=(Part("prompt", b"canary"),)))


@pytest.mark.parametrize(
    ("ask", "path", "body"),
    [
        (Ask(CHAT, model="evil", spelling="m:1b", fields={"model": b'"m:1b"'}), "/api/chat", b'{"model":"m:1b"}'),
        (Ask(CHAT), "/api/chat", b"{}"),
        (Ask(MODEL, model="evil", segment="m:1b", fields={"x": b"1"}), "/v1/models/m:1b", None),
        (Ask(CHAT, segment="evil"), "/api/chat", b"{}"),
        (Ask(BLOB, segment="sha256:0", fields={"x": b"1"}), "/api/blobs/sha256:0", None),
        (
            Ask(SPEECH, model="evil", spelling="m:1b", fields={"x": b"1"}),
            "/v1/audio",
            form_of([Part("model", b"m:1b")]),
        ),
        (
            Ask(SPEECH, spelling="m:1b", parts=(Part("file", b"RIFF", "audio.wav"), Part("prompt", b"x"))),
            "/v1/audio",
            form_of([Part("model", b"m:1b"), Part("file", b"RIFF", "audio.wav"), Part("prompt", b"x")]),
        ),
    ],
)
def test_an_ask_is_sent_as_it_was_checked(ask: Ask, path: str, body: bytes | None) -> None:
    assert (path, body) == (ask.path, ask.body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_members_are_joined_to_the_object_they_came_from(members: dict[str, object]) -> None:
    text = joined({name: json.dumps(value).encode() for name, value in members.items()})

    assert members == json.loads(text)
    assert list(members) == list(json.loads(text))


def test_a_value_is_sent_byte_for_byte_as_it_was_written() -> None:
    assert b'{"a":1.0e2,"k\\u00e4se\\"":[ 1 ]}' == joined({"a": b"1.0e2", 'käse"': b"[ 1 ]"})


def test_a_form_is_written_as_the_standard_has_it() -> None:
    parts = [Part("model", b"m"), Part("file", b"\x00\r\n\xff", "audio.wav", "audio/wav"), Part("x", b"", "y")]

    assert (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="model"\r\n\r\n'
        "m\r\n"
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
        "\x00\r\n\xff\r\n"
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="x"; filename="y"\r\n\r\n'
        "\r\n"
        f"--{BOUNDARY}--\r\n"
    ).encode("latin-1") == form_of(parts)


def test_a_form_without_parts_is_its_end() -> None:
    assert f"--{BOUNDARY}--\r\n".encode() == form_of([])


words = st.text(st.sampled_from("abcXYZ_.-09"), min_size=1, max_size=9)


@given(st.lists(st.builds(Part, words, st.binary().filter(lambda data: BOUNDARY.encode() not in data)), max_size=4))
def test_a_form_is_read_by_others_as_it_was_meant(parts: list[Part]) -> None:
    head = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    read = BytesParser(policy=policy.HTTP).parsebytes(head + form_of(parts)) if parts else None

    found = list(read.iter_parts()) if isinstance(read, EmailMessage) else []
    assert [part.name for part in parts] == [one.get_param("name", header="content-disposition") for one in found]


def test_by_default_a_plan_lets_nobody_change_the_box_or_leave_the_house() -> None:
    plan = Plan("x")

    assert frozenset({Risk.HEALTH, Risk.READ, Risk.INFERENCE}) == plan.grants
    assert (False, False) == (plan.cloud, plan.owner)
    assert (("registry.ollama.ai",), ("library",)) == (plan.pulls.registries, plan.pulls.namespaces)


@pytest.mark.parametrize("name", KNOBS)
def test_a_knob_can_be_clamped_exactly_where_there_is_more_and_less_of_it(name: str) -> None:
    knob = KNOBS[name]

    assert (knob.unit is not None) == (Rule.CLAMP in knob.rules)
    assert Rule.ALLOW in knob.rules


# How much somebody may have.


@pytest.mark.parametrize(
    ("expected", "own", "plans"),
    [
        (Limits(), Limits(), Limits()),
        (Limits(concurrent=2), Limits(), Limits(concurrent=2)),
        (Limits(concurrent=1, tokens_per_day=9), Limits(concurrent=1), Limits(concurrent=2, tokens_per_day=9)),
        (Limits(requests_per_minute=0), Limits(requests_per_minute=0), Limits(requests_per_minute=60)),
        (Limits(60, 5), Limits(request_burst=5), Limits(60, 30)),
    ],
)
def test_what_limits_say_stands_over_what_others_say(expected: Limits, own: Limits, plans: Limits) -> None:
    assert expected == own.over(plans)


def test_a_rate_told_anew_brings_its_own_burst() -> None:
    plans = Limits(requests_per_minute=60, request_burst=30, tokens_per_minute=600, token_burst=300)

    assert Limits(6, None, 600, 300) == Limits(requests_per_minute=6).over(plans)
    assert Limits(60, 30, 50, None) == Limits(tokens_per_minute=50).over(plans)
    assert Limits(6, 2, 50, 20) == Limits(6, 2, 50, 20).over(plans)


@pytest.mark.parametrize(
    ("expected", "limits"),
    [
        (None, Limits(requests_per_minute=1, concurrent=1, gpu_seconds_per_day=1)),
        (60, Limits(tokens_per_minute=60)),
        (90, Limits(tokens_per_minute=60, token_burst=90)),
        (50, Limits(tokens_per_minute=60, tokens_per_day=50, tokens_per_month=70)),
        (40, Limits(tokens_per_month=40)),
        (0, Limits(tokens_per_minute=60, tokens_per_day=0)),
    ],
)
def test_one_call_can_have_as_much_as_the_tightest_limit_ever_gives(expected: int | None, limits: Limits) -> None:
    assert expected == limits.most_at_once


EACH_KEY = Allowance(Level.KEY, Limits(concurrent=4, tokens_per_day=9), shadow=True, time_zone="Europe/Berlin")
EACH_KEY_ON_LARGE = Allowance(Level.KEY, Limits(concurrent=1), "*/*/large:*", shadow=True, time_zone="Asia/Tokyo")
EACH_TEAM = Allowance(Level.TEAM, Limits(concurrent=8))
EVERYBODY = Allowance(Level.EVERYBODY, Limits(concurrent=16), shadow=True, time_zone="America/Lima")
OWN = Limits(concurrent=2)
HOWS = Allowance(Level.KEY, OWN, shadow=True, time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("expected", "limits", "plans"),
    [
        ((), Limits(), ()),
        ((EACH_KEY, EVERYBODY), Limits(), (EACH_KEY, EVERYBODY)),
        (
            (
                EACH_KEY_ON_LARGE,
                dataclasses.replace(EACH_KEY, limits=Limits(concurrent=2, tokens_per_day=9)),
                EVERYBODY,
            ),
            OWN,
            (EACH_KEY_ON_LARGE, EACH_KEY, EVERYBODY),
        ),
        ((Allowance(Level.KEY, OWN),), OWN, ()),
        ((HOWS, EVERYBODY), OWN, (dataclasses.replace(HOWS, limits=Limits()), EVERYBODY)),
        ((EVERYBODY,), Limits(), (dataclasses.replace(HOWS, limits=Limits()), EVERYBODY)),
    ],
)
def test_a_keys_own_limits_stand_over_those_that_its_plan_has_for_each_key(
    expected: tuple[Allowance, ...], limits: Limits, plans: tuple[Allowance, ...]
) -> None:
    assert expected == Caller("alice", "k1", Plan("lab", allowances=plans), limits=limits).allowances


def test_what_a_team_is_allowed_counts_only_for_who_has_one() -> None:
    plan = Plan("lab", allowances=(EACH_KEY, EACH_TEAM))

    assert (EACH_KEY,) == Caller("alice", "k1", plan).allowances
    assert (EACH_KEY, EACH_TEAM) == Caller("alice", "k1", plan, team="lab").allowances


def test_what_a_user_and_a_team_have_of_their_own_stands_over_what_their_plan_has_for_each() -> None:
    of_team = dataclasses.replace(EACH_TEAM, limits=Limits(requests_per_minute=9, tokens_per_day=8))
    own = Caller("alice", "k1", Plan("lab", allowances=(EACH_KEY, of_team)), "lab").allowances
    plan = Plan("lab", allowances=(EACH_KEY, of_team, Allowance(Level.EVERYBODY, Limits(concurrent=1))))
    caller = Caller("alice", "k1", plan, "lab", user_limits=Limits(concurrent=2), team_limits=Limits(tokens_per_day=5))

    assert (EACH_KEY, of_team) == own
    assert (
        EACH_KEY,
        Allowance(Level.USER, Limits(concurrent=2), shadow=EACH_KEY.shadow, time_zone=EACH_KEY.time_zone),
        dataclasses.replace(of_team, limits=Limits(requests_per_minute=9, tokens_per_day=5)),
        Allowance(Level.EVERYBODY, Limits(concurrent=1)),
    ) == caller.allowances
    assert (Allowance(Level.USER, Limits(concurrent=2)),) == Caller(
        "alice", "k1", Plan("lab"), user_limits=Limits(concurrent=2), team_limits=Limits(concurrent=1)
    ).allowances


def test_what_a_plan_allows_on_some_models_is_nobodys_own() -> None:
    on_some = Allowance(Level.USER, Limits(concurrent=1), models="gemma3:*")
    caller = Caller("alice", "k1", Plan("lab", allowances=(on_some,)), user_limits=Limits(concurrent=2))

    assert {on_some, Allowance(Level.USER, Limits(concurrent=2))} == set(caller.allowances)


def test_when_a_request_was_signed_is_no_parameter_of_its_route() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    signed = Call("c1", at, "GET", "/v1/usage", (Credential(Carrier.SIGNED, "P:S"),), query="by=day&ts=12&tsx=1")

    assert "by=day&tsx=1" == signed.parameters
    assert "by=day&ts=12" == dataclasses.replace(signed, credentials=(), query="by=day&ts=12").parameters
