import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import Said
from proxy.dialects.table import DIALECTS
from proxy.policy import images, models
from proxy.policy.cost import MOST_TOKENS, PICTURE, TEMPLATE, prompt_tokens, reckoned, room
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.policy.knobs import ENDLESS
from proxy.policy.permit import Installed, permit
from proxy.vocabulary import (
    BOUNDARY,
    Allowance,
    Ask,
    Caller,
    Endpoint,
    Level,
    Limits,
    Part,
    Plan,
    Risk,
    Rule,
    Setting,
    Takes,
    Tongue,
    UsageIn,
    form_of,
)

GENERATE, CHAT, EMBED = (find("POST", f"/api/{name}")[0] for name in ("generate", "chat", "embed"))
COMPLETIONS, MESSAGES = find("POST", "/v1/chat/completions")[0], find("POST", "/v1/messages")[0]
SPEECH = find("POST", "/v1/audio/transcriptions")[0]
GENERATING = [one for one in ENDPOINTS if one.streams is not None and one.risk is Risk.INFERENCE]
NAME = models.canonical("gemma3:4b")
INSTALLED = {NAME: Installed("gemma3:4b")}
MAY_ALL = Plan("owner", frozenset(Risk), owner=True, cloud=True)
ENDLESSLY = replace(MAY_ALL, knobs={"output_tokens": Setting(Rule.ALLOW)})
NONE = Limits()
PNG = "iVBO" * 1000
"""3,000 bytes."""


def caller(*allowances: Allowance, limits: Limits = NONE, plan: Plan = MAY_ALL) -> Caller:
    return Caller("alice", "k1", replace(plan, allowances=allowances), limits=limits)


def read(endpoint: Endpoint, body: Mapping[str, Any]) -> Ask:
    """As a dialect reads it; for a form the members are its texts, and ``file`` is there always."""
    dialect = DIALECTS[endpoint.tongue]
    match endpoint.takes:
        case Takes.JSON:
            named = {"model": "gemma3:4b", "source": "gemma3:4b", "destination": "mine", **body}
            return dialect.read(endpoint, Said(json.dumps(named).encode()))
        case Takes.FORM:
            texts = {"model": "gemma3:4b", "file": "RIFF", **body}
            parts = [Part(name, str(text).encode(), "a" if name == "file" else None) for name, text in texts.items()]
            return dialect.read(endpoint, Said(form_of(parts), f"multipart/form-data; boundary={BOUNDARY}"))
        case _:
            return dialect.read(endpoint, Said(segment="gemma3:4b"))


def most(endpoint: Endpoint, body: Mapping[str, Any], someone: Caller | None = None) -> int:
    return permit(someone or caller(), read(endpoint, body), INSTALLED).most_tokens


def length(value: object) -> int:
    return len(json.dumps(value))


# Every route.


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
def test_a_call_is_taken_to_cost_tokens_exactly_where_its_route_does(endpoint: Endpoint) -> None:
    body = {"prompt": "hi", "messages": [{"role": "user", "content": "word " * 99}], "input": "hi", "system": "a b c"}
    asked = read(endpoint, {} if endpoint.takes is Takes.FORM else body)
    ask = permit(caller(), asked, INSTALLED)

    assert (endpoint.usage_in is not UsageIn.NOWHERE) == (ask.most_tokens > 0)
    assert ask.most_tokens >= ask.prompt_floor


texts = st.one_of(
    st.text(),
    st.text(min_size=300, max_size=900),
    st.sampled_from(["word " * 300, "A" * 600, PNG, "AA\n" * 900, "\u2603" * 99]),
)
blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(lambda text: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}, texts),
    st.builds(lambda text: {"type": "input_audio", "input_audio": {"data": [text]}}, texts),
    st.builds(lambda text: {"type": "image", "source": {"type": "base64", "data": [text]}}, texts),
)
messages = st.lists(
    st.one_of(
        st.builds(
            lambda text, seen: {"role": "user", "content": text, "images": seen}, texts, st.lists(texts, max_size=3)
        ),
        st.builds(lambda inner: {"role": "user", "content": inner}, st.lists(blocks, max_size=4)),
    ),
    max_size=4,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "prompt": texts,
        "system": texts,
        "messages": messages,
        "input": st.one_of(texts, st.lists(texts, max_size=4)),
        "images": st.lists(texts, max_size=4),
        "max_tokens": st.integers(-2, 10**20),
        "options": st.builds(lambda amount: {"num_predict": amount}, st.integers(-2, 10**20)),
    },
)


@given(st.sampled_from([one for one in ENDPOINTS if one.takes is Takes.JSON and one.risk is not Risk.MANAGE]), bodies)
def test_whatever_is_asked_the_most_is_no_less_than_the_least(endpoint: Endpoint, body: dict[str, Any]) -> None:
    for plan in (MAY_ALL, ENDLESSLY):
        ask = permit(caller(plan=plan), read(endpoint, body), INSTALLED)

        assert 0 <= ask.prompt_floor <= ask.most_tokens <= MOST_TOKENS
        assert (endpoint.usage_in is not UsageIn.NOWHERE) == (ask.most_tokens > 0)


@given(st.sampled_from([CHAT, COMPLETIONS]), st.lists(texts, min_size=1, max_size=3), st.lists(texts, max_size=3))
def test_no_text_is_hidden_by_the_pictures_beside_it(endpoint: Endpoint, said: list[str], shown: list[str]) -> None:
    pictures: list[dict[str, Any]] = [
        {"role": "user", "content": "", "images": shown}
        if endpoint is CHAT
        else {"role": "user", "content": [{"image_url": {"url": f"data:image/png;base64,{one}"}} for one in shown]}
    ]
    ask = read(endpoint, {"messages": [{"role": "user", "content": text} for text in said] + pictures})
    attached = images.sizes(endpoint.tongue, ask.fields)

    assert len(shown) == len(attached)
    assert prompt_tokens(ask, attached) >= sum(map(length, said)) // 3 + PICTURE * len(shown)


# What it is made of.


@pytest.mark.parametrize(
    ("tokens", "body"),
    [
        (0, {}),
        (1, {"prompt": "a"}),
        (2, {"prompt": "ab"}),
        (400, {"prompt": "a" * 1198}),
        (400, {"prompt": "a" * 598, "system": "b" * 598}),
        (400, {"prompt": "a" * 1198, "stop": ["b" * 99], "format": {"type": "object"}}),
        (400, {"tools": ["a" * 1196]}),
        (PICTURE + 2, {"images": [PNG]}),  # Two brackets, two quotes.
        (2 * PICTURE + 3, {"images": [PNG, PNG[:4]]}),
        (2 + 4097, {"images": ["AAAA" * (4097 * 1280 // 3)]}),  # A large one, or five minutes of sound.
    ],
)
def test_a_prompt_is_reckoned_from_the_bytes_of_its_text_and_the_pictures_beside_it(
    tokens: int, body: dict[str, Any]
) -> None:
    assert TEMPLATE + tokens + 7 == most(GENERATE, {**body, "options": {"num_predict": 7}})


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (GENERATE, {"prompt": PNG}),
        (GENERATE, {"system": json.dumps({"images": [PNG]})}),
        (CHAT, {"messages": [{"role": "user", "pictures": [PNG]}]}),
        (CHAT, {"messages": [{"role": "user", "content": f"data:image/png;base64,{PNG}"}]}),
        (CHAT, {"tools": [{"images": [PNG]}]}),
        (COMPLETIONS, {"messages": [{"role": "user", "content": [{"type": "text", "text": PNG, "image": PNG}]}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "text", "source": {"data": [PNG]}}]}]}),
    ],
)
def test_only_a_picture_in_its_place_is_taken_for_one(endpoint: Endpoint, body: dict[str, Any]) -> None:
    assert most(endpoint, body) >= TEMPLATE + len(PNG) // 3 + ENDLESS


@pytest.mark.parametrize("endpoint", GENERATING, ids=lambda one: one.path)
def test_an_answer_is_reckoned_as_long_as_it_may_get(endpoint: Endpoint) -> None:
    def said(amount: int | None) -> dict[str, Any]:
        limits = ("max_tokens", "max_output_tokens")
        return (
            {"options": {"num_predict": amount}} if endpoint.tongue is Tongue.OLLAMA else dict.fromkeys(limits, amount)
        )

    endlessly = caller(plan=ENDLESSLY)
    assert TEMPLATE + 700 == most(endpoint, said(700))
    assert TEMPLATE + 16384 == most(endpoint, said(99999))
    assert TEMPLATE + 99999 == most(endpoint, said(99999), endlessly)
    assert MOST_TOKENS == most(endpoint, said(10**30), endlessly)
    for nothing in (None, 0, -1):
        assert TEMPLATE + 16384 == most(endpoint, said(nothing))
        assert TEMPLATE + ENDLESS == most(endpoint, said(nothing), endlessly)
    assert TEMPLATE + ENDLESS == most(endpoint, {}, endlessly)


def test_an_embedding_is_its_prompt_alone() -> None:
    assert TEMPLATE + 5 == most(EMBED, {"input": ["abc", "abcd"], "options": {"num_predict": 99}})


@pytest.mark.parametrize(
    ("tokens", "form"),
    [
        (1, {}),
        (60 * 30, {"file": "RIFF" + "\0" * (60 * 32_000 - 4)}),
        (60 * 30, {"file": "ID3" + "\0" * (60 * 4_000 - 3)}),
        (60 * 30 + 100, {"file": "ID3" + "\0" * (60 * 4_000 - 3), "prompt": "a" * 300}),
    ],
)
def test_speech_is_reckoned_by_how_long_it_takes(tokens: int, form: dict[str, str]) -> None:
    assert TEMPLATE + tokens == most(SPEECH, form)


def test_a_picture_that_was_taken_for_text_does_not_raise_the_least() -> None:
    lines = "\n".join(["A" * 76] * 5000)  # As MIME has base64, and Go reads it.
    asked = read(CHAT, {"messages": [{"role": "user", "images": [lines]}], "options": {"num_predict": 1}})
    ask = permit(caller(), asked, INSTALLED)

    assert 75_000 < asked.prompt_floor
    assert 3_500 > ask.most_tokens == ask.prompt_floor + 1


def test_what_costs_no_tokens_has_no_least_either() -> None:
    show = find("POST", "/api/show")[0]

    assert Ask(show) == reckoned(Ask(show, prompt_floor=9))


# How much of an answer can ever fit.


def allowed(tokens: int, level: Level = Level.KEY, models: str = "", *, shadow: bool = False) -> Allowance:
    return Allowance(level, Limits(tokens_per_minute=tokens), models, shadow)


@pytest.mark.parametrize(
    ("expected", "someone"),
    [
        (None, caller()),
        (None, caller(Allowance(Level.KEY, Limits(requests_per_minute=1, concurrent=1, gpu_seconds_per_day=1)))),
        (900, caller(allowed(1000))),
        (900, caller(allowed(3000), allowed(1000, Level.EVERYBODY), allowed(2000, Level.USER))),
        (900, caller(Allowance(Level.KEY, Limits(tokens_per_minute=10, token_burst=1000)))),
        (900, caller(Allowance(Level.KEY, Limits(tokens_per_minute=3000, tokens_per_day=1000)))),
        (900, caller(Allowance(Level.KEY, Limits(tokens_per_month=1000)))),
        (900, caller(allowed(2000), allowed(1000, models=models.canonical_pattern("gemma3:*")))),
        (1900, caller(allowed(2000), allowed(1000, models=models.canonical_pattern("llama3*")))),
        (1900, caller(allowed(2000), allowed(1000, shadow=True))),
        (1900, caller(allowed(2000), allowed(1000, Level.TEAM))),
        (900, caller(allowed(2000), limits=Limits(tokens_per_minute=1000))),
        (2900, caller(allowed(2000), limits=Limits(tokens_per_minute=3000))),
        (900, caller(limits=Limits(tokens_per_day=1000))),
        (1, caller(allowed(101))),
        (None, caller(allowed(100))),
    ],
)
def test_the_room_for_an_answer_is_what_the_tightest_limit_leaves_beside_the_prompt(
    expected: int | None, someone: Caller
) -> None:
    assert expected == room(someone, NAME, 100)


def test_a_call_without_a_limit_fits_exactly_and_is_told_what_it_got() -> None:
    someone = caller(allowed(10_000))
    ask = permit(someone, read(COMPLETIONS, {"messages": [{"role": "user", "content": "hi"}]}), INSTALLED)

    assert 10_000 == ask.most_tokens
    assert (f"max_tokens={ask.fields['max_tokens'].decode()}",) == ask.changes


def test_what_a_caller_says_is_not_made_to_fit() -> None:
    assert TEMPLATE + 12_000 == most(COMPLETIONS, {"max_tokens": 12_000}, caller(allowed(10_000)))


def test_a_prompt_that_never_fits_is_not_given_an_answer_of_nothing() -> None:
    assert TEMPLATE + 4000 + ENDLESS == most(GENERATE, {"prompt": "a" * 11_998}, caller(allowed(1000)))


@given(st.integers(1, 50_000), st.integers(0, 9000), st.sampled_from(GENERATING))
def test_whoever_says_no_limit_is_let_in_if_the_prompt_leaves_room(
    tokens: int, length: int, endpoint: Endpoint
) -> None:
    body = {"messages": [{"role": "user", "content": "a" * length}], "input": "a" * length, "prompt": "a" * length}
    for plan in (MAY_ALL, ENDLESSLY):
        ask = permit(caller(allowed(tokens), plan=plan), read(endpoint, body), INSTALLED)
        assert ask.most_tokens <= tokens or prompt_tokens(ask, ()) >= tokens
