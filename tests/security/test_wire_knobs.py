"""The wire tests about what one caller can set and others feel; the docstrings number them."""

from typing import Any

import pytest

from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Tongue
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import MODEL, WHOLE, answer_of
from tests.fakes.upstream import RecordingUpstream, whole
from tests.fakes.wire import all_sent, as_sent

INNER = "num_ctx num_gpu num_batch num_thread use_mmap main_gpu draft_num_predict".split()
OPTIONS = ",".join(f'"{name}":{"true" if name == "use_mmap" else 9}' for name in INNER)
MESSAGES = '"messages":[{"role":"user","content":"why?"}]'
SEARCH = '{"type":"web_search"}'
TOOL = '{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}'
TURNED: list[tuple[str, str, str, str]] = [
    # What it is, the path, what is said beside the model, and what is sent of that.
    *[
        (f"keep_alive {value}", "/api/chat", f'"keep_alive":{value}', '"options":{"num_predict":16384}')
        for value in ("-1", "0", '"0"', '"1ns"', "1e30", '"-1m"', '"24h"', "1e-9")
    ],
    ("options", "/api/generate", f'"options":{{{OPTIONS},"seed":10}}', '"options":{"seed":10,"num_predict":16384}'),
    ("options of embed", "/api/embed", f'"input":"x","options":{{{OPTIONS}}}', '"input":"x","options":{}'),
    ("unknown option", "/api/chat", '"options":{"no_such":1,"top_k":10}', '"options":{"top_k":10,"num_predict":16384}'),
    ("shift", "/api/chat", '"shift":false', '"options":{"num_predict":16384}'),
    ("debug", "/api/chat", '"_debug_render_only":true', '"options":{"num_predict":16384}'),
    ("debug on /v1", "/v1/chat/completions", f'{MESSAGES},"_debug_render_only":true', f'{MESSAGES},"max_tokens":16384'),
    ("huge num_predict", "/api/chat", '"options":{"num_predict":99999999}', '"options":{"num_predict":16384}'),
    ("endless num_predict", "/api/chat", '"options":{"num_predict":-1}', '"options":{"num_predict":16384}'),
    ("small num_predict", "/api/chat", '"options":{"num_predict":10}', '"options":{"num_predict":10}'),
    ("absent max_tokens", "/v1/completions", '"prompt":"x"', '"prompt":"x","max_tokens":16384'),
    ("huge max_tokens", "/v1/chat/completions", f'{MESSAGES},"max_tokens":1000000', f'{MESSAGES},"max_tokens":16384'),
    (
        "max_completion_tokens",
        "/v1/chat/completions",
        f'{MESSAGES},"max_completion_tokens":10',
        f'{MESSAGES},"max_tokens":10',
    ),
    (
        "both",
        "/v1/chat/completions",
        f'{MESSAGES},"max_tokens":20,"max_completion_tokens":10',
        f'{MESSAGES},"max_tokens":10',
    ),
    (
        "huge max_output_tokens",
        "/v1/responses",
        '"input":"x","max_output_tokens":1000000',
        '"input":"x","max_output_tokens":16384',
    ),
    ("huge max_tokens for Claude", "/v1/messages", f'{MESSAGES},"max_tokens":64000', f'{MESSAGES},"max_tokens":16384'),
    ("search", "/v1/responses", f'"input":"x","tools":[{SEARCH}]', '"input":"x","max_output_tokens":16384'),
    (
        "search and more",
        "/v1/responses",
        f'"input":"x","tools":[{SEARCH},{TOOL}]',
        f'"input":"x","tools":[{TOOL}],"max_output_tokens":16384',
    ),
    (
        "search for Claude",
        "/v1/messages",
        f'{MESSAGES},"max_tokens":10,"tools":[{{"type":"web_search_20250305","name":"web_search"}}]',
        f'{MESSAGES},"max_tokens":10',
    ),
    (
        "logprobs",
        "/api/chat",
        '"logprobs":true,"top_logprobs":20',
        '"logprobs":true,"top_logprobs":5,"options":{"num_predict":16384}',
    ),
    (
        "integers",
        "/api/chat",
        '"options":{"seed":10,"temperature":1.0,"num_predict":5}',
        '"options":{"seed":10,"temperature":1.0,"num_predict":5}',
    ),
    ("empty prompt", "/api/generate", '"prompt":""', '"prompt":"","options":{"num_predict":16384}'),
    ("empty messages", "/api/chat", '"messages":[]', '"messages":[],"options":{"num_predict":16384}'),
    ("empty input", "/v1/responses", '"instructions":"x"', '"instructions":"x","max_output_tokens":16384'),
]


@pytest.mark.parametrize(("path", "said", "sent"), [row[1:] for row in TURNED], ids=[row[0] for row in TURNED])
async def test_a_knob_that_others_would_feel_is_turned_down_and_that_is_told(
    gate: Gate, upstream: RecordingUpstream, path: str, said: str, sent: str
) -> None:
    """wire-24"""
    endpoint = next(one for one in ENDPOINTS if one.path == path)
    streams = ',"stream":false' if endpoint.streams is not None else ""
    upstream.says(*answer_of(endpoint, stream=False))
    told = await gate.ask(gate.post(path, f'{{"model":"{MODEL}"{streams},{said}}}'.encode()))
    entry = await gate.entry()

    assert 200 == told.status, told.body
    assert [as_sent(upstream, f"POST {path}", f'{{"model":"{MODEL}"{streams},{sent}}}'.encode())] == all_sent(upstream)
    assert entry.changes == tuple(filter(None, told.fields.get("x-llamagate-changed", "").split(", ")))
    assert (said == sent) == (entry.changes == ())


WRONG_KIND: dict[str, tuple[str, dict[str, Any]]] = {
    "a text for a number": ("/api/chat", {"options": {"num_predict": "10"}}),
    "a fraction for a number": ("/v1/chat/completions", {"max_tokens": 10.0}),
    "a word for a yes": ("/api/chat", {"stream": "true"}),
    "a list for options": ("/api/chat", {"options": []}),
    "a number for a model": ("/api/chat", {"model": 5}),
}


@pytest.mark.parametrize(("path", "said"), WRONG_KIND.values(), ids=WRONG_KIND)
async def test_a_value_of_the_wrong_kind_is_refused_by_name(
    gate: Gate, upstream: RecordingUpstream, path: str, said: dict[str, Any]
) -> None:
    """wire-24"""
    told = await gate.ask(gate.post(path, {"model": MODEL, **said}))

    assert (400, True) == (told.status, b"must be " in told.body)
    assert [] == upstream.connections


FETCHED = {"type": "image_url", "image_url": {"url": "http://evil.example/"}}
TOO_MUCH: dict[str, tuple[str, dict[str, Any]]] = {
    "10 000 inputs": ("/api/embed", {"input": ["x"] * 10_000}),
    "10 000 inputs of OpenAI's": ("/v1/embeddings", {"input": ["x"] * 10_000}),
    "a thousand images": ("/api/chat", {"messages": [{"role": "user", "images": ["aGk="] * 1000}]}),
    "an image to fetch": ("/v1/chat/completions", {"messages": [{"role": "user", "content": [FETCHED]}]}),
}


@pytest.mark.parametrize(("path", "said"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_too_much_of_something_is_refused(
    gate: Gate, upstream: RecordingUpstream, path: str, said: dict[str, Any]
) -> None:
    """wire-24"""
    told = await gate.ask(gate.post(path, {"model": MODEL, **said}))

    assert (400, "knob_refused") == (told.status, (await gate.entry()).reason)
    assert [] == upstream.connections


@pytest.mark.parametrize("knob", ["keep_alive", "num_ctx", "shift", "debug_render", "options"])
async def test_a_plan_may_refuse_what_by_default_is_taken_out(
    open_gate: OpenGate, upstream: RecordingUpstream, knob: str
) -> None:
    """wire-24"""
    gate = await open_gate(plans={"default": {"knobs": {knob: "refuse"}}})
    said: dict[str, Any] = {
        "keep_alive": {"keep_alive": "24h"},
        "num_ctx": {"options": {"num_ctx": 4096}},
        "shift": {"shift": False},
        "debug_render": {"_debug_render_only": True},
        "options": {"options": {"mirostat": 1}},
    }
    told = await gate.ask(gate.post("/api/chat", {"model": MODEL, "messages": [], **said[knob]}))

    assert (400, "knob_refused") == (told.status, (await gate.entry()).reason)
    assert [] == upstream.connections


async def test_a_plan_may_allow_what_by_default_is_taken_out(open_gate: OpenGate, upstream: RecordingUpstream) -> None:
    """wire-24"""
    gate = await open_gate(
        plans={"default": {"knobs": {"num_ctx": {"at_most": 4096}, "keep_alive": "allow", "output_tokens": "allow"}}}
    )
    upstream.says(whole(WHOLE[Tongue.OLLAMA]))
    said = b'"keep_alive":-1,"stream":false,"options":{"num_ctx":%d}}'
    told = await gate.ask(gate.post("/api/chat", b'{"model":"llama3.2:1b",' + said % 8192))

    assert "options.num_ctx=4096" == told.fields["x-llamagate-changed"]
    assert [as_sent(upstream, "POST /api/chat", b'{"model":"llama3.2:1b",' + said % 4096)] == all_sent(upstream)
