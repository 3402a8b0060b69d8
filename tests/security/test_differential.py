"""Nothing passes that Ollama would read otherwise than the gate has checked it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects import Said
from proxy.dialects.table import DIALECTS
from proxy.errors import Refused
from proxy.policy.endpoints import ENDPOINTS
from proxy.policy.permit import InstalledModels, permit, read_tags
from proxy.vocabulary import Ask, Caller, Endpoint, Plan, Risk, Takes, Tongue
from tests.conftest import Gate
from tests.fakes import go_json
from tests.fakes.answers import MODEL, answer_of
from tests.fakes.go_json import ListOf, Loose, NotForGo
from tests.fakes.upstream import RecordingUpstream

FLAT = dict.fromkeys(
    "model stream keep_alive options prompt input shift name max_tokens num_ctx _debug_render_only".split()
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"MODEL":"b"}', {"model": "b"}),
        ('{"model":"a","Model":"b"}', {"model": "b"}),
        ('{"Model":"b","model":"a"}', {"model": "a"}),
        ('{"model":"a","model":null}', {"model": "a"}),
        ('{"\u017ftream":false,"\u212aeep_alive":-1}', {"stream": False, "keep_alive": -1}),
        ('{"\\u017ftream":false,"\\u212aeep_alive":-1}', {"stream": False, "keep_alive": -1}),
        ('{"option\u017f":{"num_ctx":9}}', {"options": {"num_ctx": 9}}),
        ('{"options":{"num_ctx":1},"options":{"num_predict":2}}', {"options": {"num_ctx": 1, "num_predict": 2}}),
        ('{"options":{"num_ctx":1},"OPTIONS":{"num_ctx":999}}', {"options": {"num_ctx": 999}}),
        ('{"options":{"NUM_CTX":1}}', {"options": {"NUM_CTX": 1}}),
        ('{"model":"a"}{"model":"b"}', {"model": "a"}),
        ('{"model":"a"} rubbish', {"model": "a"}),
        ("null", {}),
        ('{"model":"\\ud800"}', {"model": "\ufffd"}),
        ('{"unknown":1}', {}),
    ],
)
def test_the_reference_reads_as_go_does(body: str, expected: dict[str, Any]) -> None:
    assert expected == go_json.decode(body.encode(), {**FLAT, "options": Loose()})


def test_the_reference_replaces_what_is_not_utf_8() -> None:
    assert {"model": "a\ufffd"} == go_json.decode(b'{"model":"a\xff"}', FLAT)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{'model':1}", b'{"a":NaN}', b'{"a":"\n"}', b"\xef\xbb\xbf{}", '{"model":"a"}'.encode("utf-16")],
)
def test_the_reference_refuses_what_go_refuses(body: bytes) -> None:
    with pytest.raises(NotForGo):
        go_json.decode(body, FLAT)


FUNCTION: dict[str, Any] = {"type": None, "name": None, "function": {"name": None}}
MESSAGE: dict[str, Any] = {"role": None, "content": None, "images": None}
SHAPES: Mapping[Tongue, Mapping[str, Any]] = {
    Tongue.OLLAMA: {
        **dict.fromkeys("model prompt input stream keep_alive shift truncate logprobs top_logprobs images".split()),
        "_debug_render_only": None,
        "options": Loose(),
        "messages": ListOf(MESSAGE),
        "tools": ListOf(FUNCTION),
    },
    Tongue.OPENAI: {
        **dict.fromkeys("model prompt input stream max_tokens logprobs top_logprobs _debug_render_only".split()),
        "stream_options": {"include_usage": None},
        "messages": ListOf(MESSAGE),
        "tools": ListOf(FUNCTION),
    },
    Tongue.RESPONSES: {
        **dict.fromkeys("model input stream max_output_tokens top_logprobs _debug_render_only".split()),
        "tools": ListOf(FUNCTION),
    },
    Tongue.ANTHROPIC: {
        **dict.fromkeys("model stream max_tokens logprobs top_logprobs _debug_render_only".split()),
        "messages": ListOf(MESSAGE),
        "tools": ListOf(FUNCTION),
    },
}
"""What each of Ollama's request structs has that a gate must know."""

ROUTES = [one for one in ENDPOINTS if one.takes is Takes.JSON and one.risk is Risk.INFERENCE]
LAUNCH = "num_ctx num_gpu num_thread num_batch use_mmap main_gpu draft_num_predict".split()
CALLER = Caller("alice", "k1", Plan("default", models=(MODEL,)))
INSTALLED: InstalledModels = read_tags({"models": [{"name": MODEL}, {"name": "mistral:latest"}]})

NAMES = sorted(
    {name for shape in SHAPES.values() for name in shape} | {*LAUNCH, "num_predict", "max_completion_tokens", "seed"}
)


def _bent(name: str) -> st.SearchStrategy[str]:
    """The name, mostly as it is, or with one letter as Go still takes it."""
    others = [
        name[:at] + other + name[at + 1 :]
        for at, letter in enumerate(name)
        for other in {letter.upper(), {"s": "\u017f", "k": "\u212a"}.get(letter, letter)} - {letter}
    ]
    strange = [other for other in others if not other.isascii()]
    ways = [st.just(name), st.just(name), st.sampled_from(others), st.sampled_from(strange or others)]
    return st.one_of(ways)


SPELLED = st.sampled_from(NAMES).flatmap(_bent)
MODELS = st.sampled_from(
    [MODEL, "LLAMA3.2:1B", "llama3.2:1b:local", "mistral", "mistral:latest", "m:1b-cloud", "", " "]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 10, 10**6, 1.5, "5m", "-1", "x", 10**20, {"include_usage": False}]),
    MODELS,
)
TOOLS = st.lists(
    st.builds(
        lambda name, kind: {name: kind, "name": "f"},
        _bent("type"),
        st.sampled_from(["function", "web_search", "web_search_preview", "web_search_20250305", None]),
    ),
    max_size=3,
)


class Members(list[tuple[str, Any]]):
    """An object that may say one name several times."""


IMAGES = st.integers(0, 20).map(lambda count: ["aGk="] * count)
CONTENT = st.lists(st.tuples(_bent("images"), IMAGES), min_size=1, max_size=2).map(
    lambda images: [Members([("role", "user"), *images])]
)


def written(value: Any) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{written(one)}" for name, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


OPTION = st.tuples(st.one_of(st.sampled_from(LAUNCH), st.sampled_from(["seed", "num_predict"]), SPELLED), SCALARS)
OPTIONS = st.lists(OPTION, max_size=4).map(Members)
MEMBER = st.one_of(
    st.tuples(SPELLED, SCALARS),
    st.tuples(_bent("model"), MODELS),
    st.tuples(_bent("options"), OPTIONS),
    st.tuples(_bent("tools"), TOOLS),
    st.tuples(_bent("messages"), CONTENT),
)
BODIES = st.lists(MEMBER, max_size=6).map(lambda members: written(Members([("model", MODEL), *members])).encode())
TAILS = st.sampled_from([b"", b"", b"", b" ", b"{}", b'{"model":"mistral"}', b"\xff", b"]"])


def permitted(endpoint: Endpoint, body: bytes) -> Ask:
    return permit(CALLER, DIALECTS[endpoint.tongue].read(endpoint, Said(body)), INSTALLED)


def holds_what_was_checked(ask: Ask, body: bytes) -> None:
    """What Ollama would find in the body is what the plan has been asked about."""
    shape = SHAPES[ask.endpoint.tongue]
    found = go_json.decode(body, shape)

    assert MODEL == ask.spelling == found["model"]
    if ask.endpoint.streams is not None:
        assert ask.stream is found.get("stream", ask.endpoint.streams)
    assert found == go_json.decode(_plainly(body), shape), "no spelling but the exact one"
    embeds = ask.endpoint.path.endswith(("embeddings", "embed"))
    hurts = {"keep_alive", "shift"} | (set() if ask.endpoint.path == "/v1/embeddings" else {"_debug_render_only"})
    assert not found.keys() & hurts
    options = found.get("options") or {}
    assert not set(options) & set(LAUNCH)
    for limit in ("num_predict",) if ask.endpoint.path in ("/api/chat", "/api/generate") else ():
        assert 1 <= options[limit] <= 16384
    for limit in ("max_tokens", "max_output_tokens"):
        if limit in shape and not embeds:
            assert 1 <= found[limit] <= 16384
    tools = found["tools"] if isinstance(found.get("tools"), list) else []
    if ask.endpoint.tongue is not Tongue.OLLAMA and not embeds:
        assert not [one for one in tools if isinstance(one, dict) and str(one.get("type")).startswith("web_search")]
    if ask.endpoint.path in ("/api/chat", "/api/generate"):
        messages = found["messages"] if isinstance(found.get("messages"), list) else []
        images = [image for message in messages for image in message.get("images") or []]
        assert len(images) <= 16
    if ask.stream and ask.endpoint.tongue is Tongue.OPENAI and ask.endpoint.streams is not None:
        assert {"include_usage": True} == found["stream_options"]


def _plainly(body: bytes) -> bytes:
    """The body as a reader has it that knows nothing of Go: the names to the letter, the last of several alone."""
    return json.dumps(json.loads(body)).encode()


@pytest.mark.parametrize("endpoint", ROUTES, ids=lambda endpoint: endpoint.path)
@settings(max_examples=150)
@given(body=BODIES, tail=TAILS)
def test_what_is_sent_is_what_was_checked_or_nothing_is(endpoint: Endpoint, body: bytes, tail: bytes) -> None:
    try:
        ask = permitted(endpoint, body + tail)
    except Refused:
        return
    assert ask.body is not None
    holds_what_was_checked(ask, ask.body)


def test_the_property_would_see_a_body_that_says_more_than_was_checked() -> None:
    endpoint = next(one for one in ROUTES if one.path == "/api/chat")
    ask = permitted(endpoint, b'{"model":"llama3.2:1b"}')
    good = ask.body or b""
    holds_what_was_checked(ask, good)
    for more in ('"Model":"mistral"', '"\u212aeep_alive":-1', '"OPTIONS":{"num_ctx":9}', '"\u017ftream":false'):
        with pytest.raises(AssertionError):
            holds_what_was_checked(ask, good[:-1] + f",{more}}}".encode())


async def test_through_the_socket_it_is_the_same(gate: Gate, upstream: RecordingUpstream) -> None:
    """A few of those bodies, as bytes on the wire."""
    bodies: list[bytes] = []

    @settings(max_examples=60, database=None, derandomize=True)
    @given(BODIES)
    def collected(body: bytes) -> None:
        bodies.append(body)

    collected()
    served = 0
    for endpoint in ROUTES[:1] + ROUTES[4:5]:
        upstream.says(*answer_of(endpoint, stream=False))
        for body in bodies:
            upstream.forget()
            await gate.ask(gate.post(endpoint.path, body))
            for asked in upstream.asked:
                served += 1
                told = permit(CALLER, DIALECTS[endpoint.tongue].read(endpoint, Said(body)), INSTALLED)
                holds_what_was_checked(told, asked.body)
                assert told.body == asked.body
    assert served > 10
