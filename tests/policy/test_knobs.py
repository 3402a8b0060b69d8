import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import KnobRefused
from proxy.policy.images import sizes
from proxy.policy.knobs import DEFAULTS, ENDLESS, LAUNCH_OPTIONS, OTHER_OPTIONS, SAFE_OPTIONS, turned
from proxy.vocabulary import KNOBS, Ask, Endpoint, Plan, Risk, Rule, Setting, Takes, Tongue

PATHS = {
    "/api/generate": Tongue.OLLAMA,
    "/api/chat": Tongue.OLLAMA,
    "/api/embed": Tongue.OLLAMA,
    "/api/embeddings": Tongue.OLLAMA,
    "/v1/chat/completions": Tongue.OPENAI,
    "/v1/completions": Tongue.OPENAI,
    "/v1/embeddings": Tongue.OPENAI,
    "/v1/responses": Tongue.RESPONSES,
    "/v1/messages": Tongue.ANTHROPIC,
}
DROP, ALLOW, REFUSE = Setting(Rule.DROP), Setting(Rule.ALLOW), Setting(Rule.REFUSE)


def applied(one: Ask, plan: Plan, attached: Sequence[int], room: int | None = None) -> Ask:
    """The ask as the plan lets it be sent."""
    fields, changes = turned(one, one.fields, plan, attached, room)
    return replace(one, fields=fields, changes=changes)


def most(amount: float) -> Setting:
    return Setting(Rule.CLAMP, amount)


def ask(path: str, fields: Mapping[str, bytes]) -> Ask:
    return Ask(Endpoint("POST", path, PATHS[path], Risk.INFERENCE, Takes.JSON), model="m:latest", fields=fields)


def sent(path: str, body: str, **knobs: Setting) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What Ollama would read, and what was told of it."""
    return sent_for(Plan("lab", knobs=knobs), path, body)


def sent_for(plan: Plan, path: str, body: str, room: int | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    fields = {name: json.dumps(value).encode() for name, value in json.loads(body).items()}
    done = applied(ask(path, fields), plan, sizes(PATHS[path], fields), room)
    return json.loads(done.body or b""), done.changes


def test_there_is_a_default_for_every_knob_and_it_is_one_that_a_plan_may_say() -> None:
    assert list(KNOBS) == list(DEFAULTS)
    for name, setting in DEFAULTS.items():
        assert setting.rule in KNOBS[name].rules, name
        assert (setting.rule is Rule.CLAMP) == (setting.most is not None), name


LIMITED = '"options":{"num_predict":16384}'


@pytest.mark.parametrize(
    ("path", "asked", "expected", "changes"),
    [
        # What an ordinary client sends.
        ("/api/chat", "{}", f"{{{LIMITED}}}", ("options.num_predict=16384",)),
        ("/api/chat", '{"options":null}', f"{{{LIMITED}}}", ("options.num_predict=16384",)),
        ("/api/chat", '{"options":{"num_predict":7,"seed":1}}', '{"options":{"num_predict":7,"seed":1}}', ()),
        ("/v1/chat/completions", '{"max_tokens":7,"logprobs":false}', '{"max_tokens":7,"logprobs":false}', ()),
        ("/v1/completions", '{"max_tokens":7,"logprobs":3}', '{"max_tokens":7,"logprobs":3}', ()),
        ("/v1/responses", '{"max_output_tokens":7}', '{"max_output_tokens":7}', ()),
        ("/v1/messages", '{"max_tokens":7}', '{"max_tokens":7}', ()),
        ("/v1/embeddings", '{"input":["a","b"]}', '{"input":["a","b"]}', ()),
        ("/api/embed", '{"input":"a"}', '{"input":"a"}', ()),
        ("/api/embeddings", '{"prompt":"a"}', '{"prompt":"a"}', ()),
        # A load, which is harmless once nobody can pin what it loads.
        ("/api/generate", '{"keep_alive":-1}', f"{{{LIMITED}}}", ("options.num_predict=16384", "keep_alive=dropped")),
        # Reloads.
        ("/api/embed", '{"options":{"num_ctx":9,"num_gpu":0}}', '{"options":{}}', ("num_ctx", "num_gpu")),
        (
            "/api/embed",
            '{"shift":false,"_debug_render_only":true}',
            "{}",
            ("shift=dropped", "_debug_render_only=dropped"),
        ),
        # What the table does not know.
        ("/api/embed", '{"options":{"mirostat":1}}', '{"options":{}}', ("options.mirostat=dropped",)),
        ("/api/embed", '{"options":{"a b\\r\\nX: y":1}}', '{"options":{}}', ("options.?=dropped",)),
        # How long an answer gets.
        ("/v1/responses", "{}", '{"max_output_tokens":16384}', ("max_output_tokens=16384",)),
        ("/v1/messages", '{"max_tokens":99999}', '{"max_tokens":16384}', ("max_tokens=16384",)),
        ("/v1/completions", '{"max_tokens":null}', '{"max_tokens":16384}', ("max_tokens=16384",)),
        ("/v1/completions", '{"max_tokens":0}', '{"max_tokens":16384}', ("max_tokens=16384",)),
        ("/api/chat", '{"options":{"num_predict":-2}}', f"{{{LIMITED}}}", ("options.num_predict=16384",)),
        ("/v1/chat/completions", '{"max_completion_tokens":9}', '{"max_tokens":9}', ("max_tokens=9",)),
        (
            "/v1/chat/completions",
            '{"max_tokens":5,"max_completion_tokens":9}',
            '{"max_tokens":5}',
            ("max_completion_tokens=dropped",),
        ),
        (
            "/v1/chat/completions",
            '{"max_tokens":9,"max_completion_tokens":5}',
            '{"max_tokens":5}',
            ("max_tokens=5",),
        ),
        # How large it gets.
        (
            "/v1/chat/completions",
            '{"max_tokens":1,"logprobs":true,"top_logprobs":20}',
            '{"max_tokens":1,"logprobs":true,"top_logprobs":5}',
            ("top_logprobs=5",),
        ),
        ("/v1/completions", '{"max_tokens":1,"logprobs":20}', '{"max_tokens":1,"logprobs":5}', ("logprobs=5",)),
        # Searching in the owner's name.
        (
            "/v1/messages",
            '{"max_tokens":1,"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"x"}]}',
            '{"max_tokens":1,"tools":[{"name":"x"}]}',
            ("web_search=dropped",),
        ),
        (
            "/v1/responses",
            '{"max_output_tokens":1,"tools":[{"type":"function","Type":"web_search"}]}',
            '{"max_output_tokens":1}',
            ("web_search=dropped",),
        ),
    ],
)
def test_by_default_one_caller_cannot_hurt_the_rest(
    path: str, asked: str, expected: str, changes: tuple[str, ...]
) -> None:
    body, told = sent(path, asked)

    assert json.loads(expected) == body
    assert tuple(one if "=" in one else f"options.{one}=dropped" for one in changes) == told


def test_what_no_knob_stands_in_is_sent_as_it_is() -> None:
    endpoint = Endpoint("POST", "/api/show", Tongue.OLLAMA, Risk.READ, Takes.JSON)
    one = Ask(endpoint, fields={"options": b'{"num_ctx":1}', "keep_alive": b"-1"})

    assert one == applied(one, Plan("lab"), ())


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (5, "5"),
        ("5m", '"5m"'),
        ("1h", '"1h"'),
        (3600, '"1h30m"'),
        (3600, "1e30"),
        (3600, "1e999"),
        (3600, "9" * 90),
        (3600, "-1"),
        (3600, '"-1m"'),
        (3600, '"99999999999h"'),
        (1.5, "1.5"),
        (None, "0"),
        (None, "-0.0"),
        (None, '"0"'),
        (None, '"-0s"'),
        (None, "1e-9"),
        (None, '"1ns"'),
        (None, '"999ms"'),
    ],
)
def test_a_stay_can_be_shortened_but_not_made_an_eviction(expected: object, said: str) -> None:
    fields = {"keep_alive": said.encode()}
    done = applied(ask("/api/embed", fields), Plan("lab", knobs={"keep_alive": most(3600)}), ())

    assert expected == json.loads(done.body or b"").get("keep_alive")


@pytest.mark.parametrize("said", ['"soon"', '"5"', '""', "true", "[5]", '"' + "9" * 10**6, '"m"', '"5m x"'])
def test_what_is_no_duration_is_refused(said: str) -> None:
    said += '"' * (said.count('"') % 2)
    with pytest.raises(KnobRefused, match="duration"):
        sent("/api/embed", f'{{"keep_alive":{said}}}', keep_alive=most(3600))


@pytest.mark.parametrize(
    ("expected", "said"), [(8192, 99999), (8192, 8192), (512, 512), (None, -1), (8192, 10**30), (0, 0)]
)
def test_what_a_model_is_loaded_with_can_be_turned_down(expected: int | None, said: int) -> None:
    body, _ = sent("/api/embed", f'{{"options":{{"num_ctx":{said}}}}}', num_ctx=most(8192))

    assert expected == body["options"].get("num_ctx")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", '{"max_tokens":10.0}'),
        ("/v1/chat/completions", '{"max_tokens":"10"}'),
        ("/v1/chat/completions", '{"max_tokens":true}'),
        ("/v1/chat/completions", '{"max_completion_tokens":1e3}'),
        ("/v1/chat/completions", '{"top_logprobs":2.0}'),
        ("/v1/completions", '{"logprobs":true}'),
        ("/v1/responses", '{"max_output_tokens":[]}'),
        ("/v1/messages", '{"max_tokens":{}}'),
        ("/api/chat", '{"options":{"num_predict":"10"}}'),
        ("/api/chat", '{"options":[]}'),
    ],
)
def test_a_number_of_the_wrong_kind_is_refused_by_its_name(path: str, body: str) -> None:
    with pytest.raises(KnobRefused, match="must be") as refused:
        sent(path, body)

    assert 400 == refused.value.status
    assert refused.value.param
    assert refused.value.param in refused.value.message


@pytest.mark.parametrize(
    ("param", "knob", "path", "body"),
    [
        ("keep_alive", "keep_alive", "/api/chat", '{"keep_alive":0}'),
        ("shift", "shift", "/api/chat", '{"shift":false}'),
        ("_debug_render_only", "debug_render", "/v1/chat/completions", '{"_debug_render_only":true}'),
        ("options.num_gpu", "num_gpu", "/api/chat", '{"options":{"num_gpu":0}}'),
        ("options.use_mmap", "use_mmap", "/api/chat", '{"options":{"use_mmap":false}}'),
        ("options.mirostat", "options", "/api/chat", '{"options":{"mirostat":0}}'),
        ("options.?", "options", "/api/chat", '{"options":{"\\n":0}}'),
        ("top_logprobs", "logprobs", "/api/chat", '{"top_logprobs":1}'),
        ("logprobs", "logprobs", "/v1/chat/completions", '{"logprobs":true}'),
        ("logprobs", "logprobs", "/v1/completions", '{"logprobs":0}'),
        ("tools", "web_search", "/v1/responses", '{"tools":[{"type":"web_search"}]}'),
        ("images", "images", "/api/generate", '{"images":["AAAA"]}'),
        ("max_tokens", "output_tokens", "/v1/completions", '{"max_tokens":1}'),
        ("input", "embed_inputs", "/v1/embeddings", '{"input":["a"]}'),
    ],
)
def test_what_a_plan_refuses_is_refused_by_its_name(param: str, knob: str, path: str, body: str) -> None:
    with pytest.raises(KnobRefused) as refused:
        sent(path, body, **{knob: REFUSE})

    assert param == refused.value.param


@pytest.mark.parametrize(
    "body", ['{"logprobs":false,"top_logprobs":0}', '{"_debug_render_only":false}', '{"shift":null}']
)
def test_what_asks_for_nothing_is_not_refused(body: str) -> None:
    said, changes = sent("/api/chat", body, output_tokens=ALLOW, logprobs=REFUSE, debug_render=REFUSE, shift=REFUSE)

    assert (json.loads(body), ()) == (said, changes)


def test_what_a_plan_allows_is_sent_as_it_is() -> None:
    text = (
        '{"keep_alive":-1,"shift":false,"_debug_render_only":true,"top_logprobs":20,"logprobs":true,'
        '"options":{"num_ctx":1,"mirostat":2,"num_predict":-1,"use_mmap":true}}'
    )

    assert (json.loads(text), ()) == sent("/api/chat", text, **dict.fromkeys(KNOBS, ALLOW))


def test_a_limit_that_ollama_would_not_hear_is_mapped_even_where_any_limit_is_allowed() -> None:
    body, changes = sent("/v1/chat/completions", '{"max_completion_tokens":99999}', output_tokens=ALLOW)

    assert ({"max_tokens": 99999}, ("max_tokens=99999",)) == (body, changes)


@pytest.mark.parametrize(
    ("expected", "knob", "said", "room"),
    [
        # Who says nothing gets what fits.
        (500, most(16384), "{}", 500),
        (500, most(16384), '{"max_tokens":null}', 500),
        (500, most(16384), '{"max_tokens":0}', 500),
        (500, most(16384), '{"max_completion_tokens":-1}', 500),
        (400, most(400), "{}", 500),
        (1, most(400), "{}", 1),
        (400, most(400), "{}", None),
        (50000, most(99999), "{}", 50000),
        # Who says anything is held to the knob alone.
        (900, most(16384), '{"max_tokens":900}', 500),
        (900, most(16384), '{"max_completion_tokens":900}', 500),
        (16384, most(16384), '{"max_tokens":99999}', 500),
        (99999, ALLOW, '{"max_tokens":99999}', 500),
        # Where nothing limits an answer, it is as long as it is taken to be.
        (500, ALLOW, "{}", 500),
        (500, ALLOW, '{"max_tokens":-1}', 500),
        (None, ALLOW, "{}", ENDLESS),
        (None, ALLOW, "{}", None),
    ],
)
def test_an_answer_without_a_limit_must_fit_into_the_room_there_is(
    expected: int | None, knob: Setting, said: str, room: int | None
) -> None:
    plan = Plan("lab", knobs={"output_tokens": knob})
    body, changes = sent_for(plan, "/v1/chat/completions", said, room)

    assert expected == body.get("max_tokens")
    assert body.get("max_tokens") == json.loads(said).get("max_tokens") or (f"max_tokens={expected}",) == changes


@pytest.mark.parametrize("said", ["{}", '{"options":null}', '{"options":{"num_predict":-1}}'])
def test_in_ollamas_own_tongue_the_room_is_said_among_the_options(said: str) -> None:
    body, changes = sent_for(Plan("lab", knobs={"output_tokens": ALLOW}), "/api/chat", said, 500)

    assert ({"options": {"num_predict": 500}}, ("options.num_predict=500",)) == (body, changes)


def test_a_knob_that_knows_no_more_and_less_is_taken_out_where_a_plan_would_clamp_it() -> None:
    body, _ = sent("/api/embed", '{"options":{"main_gpu":0,"use_mmap":true}}', main_gpu=most(1), use_mmap=most(1))

    assert {"options": {}} == body


def test_ollamas_own_tongue_has_no_tool_that_searches() -> None:
    text = '{"tools":[{"type":"web_search"}]}'

    assert (json.loads(text), ()) == sent("/api/chat", text, output_tokens=ALLOW)


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
def test_a_batch_is_never_cut_but_one_too_long_is_refused(path: str) -> None:
    assert 2048 == len(sent(path, json.dumps({"input": ["a"] * 2048}))[0]["input"])
    with pytest.raises(KnobRefused, match="at most 2048 inputs; this one holds 2049") as refused:
        sent(path, json.dumps({"input": ["a"] * 2049}))

    assert "input" == refused.value.param


def test_too_many_images_or_too_large_ones_are_refused() -> None:
    assert 16 == len(sent("/api/generate", json.dumps({"images": ["AAAA"] * 16}))[0]["images"])
    with pytest.raises(KnobRefused, match="at most 16 images"):
        sent("/api/generate", json.dumps({"images": ["AAAA"] * 17}))
    with pytest.raises(KnobRefused, match="at most 5 bytes of images; this one holds 6"):
        sent("/api/chat", json.dumps({"messages": [{"images": ["AAAA", "AAAA"]}]}), image_bytes=most(5))


@pytest.mark.parametrize(
    ("path", "asked", "expected", "changes"),
    [
        (
            "/api/chat",
            '{"truncate":true,"shift":true}',
            '{"truncate":false}',
            ("shift=dropped", "truncate=false"),
        ),
        ("/api/chat", '{"truncate":false}', '{"truncate":false}', ()),
        ("/api/embed", "{}", '{"truncate":false}', ("truncate=false",)),
        ("/api/embed", '{"truncate":false}', '{"truncate":false}', ()),
        ("/api/embeddings", "{}", "{}", ()),
        ("/v1/chat/completions", "{}", "{}", ()),
    ],
)
def test_a_plan_can_have_prompts_refused_that_do_not_fit(
    path: str, asked: str, expected: str, changes: tuple[str, ...]
) -> None:
    plan = Plan("lab", knobs={"output_tokens": ALLOW}, refuses_truncation=True)
    body, told = sent_for(plan, path, asked)

    assert (json.loads(expected), changes) == (body, told)


def test_an_option_that_ollama_does_not_have_is_never_told_by_its_name() -> None:
    _, changes = sent("/api/embed", json.dumps({"options": {"my_secret": 1, "mirostat": 1}}))

    assert {"options.?=dropped", "options.mirostat=dropped"} == set(changes)


def test_no_more_than_sixteen_changes_are_told() -> None:
    body, changes = sent("/api/chat", json.dumps({"options": dict.fromkeys([*OTHER_OPTIONS, "mine"], 1)}))

    assert {"options": {"num_predict": 16384}} == body
    assert 16 == len(changes)


# Whatever is asked.

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
)
NUMBERS = st.one_of(st.none(), st.integers(-3, 40000), st.integers())
OPTIONS = st.dictionaries(
    st.one_of(st.sampled_from([*sorted(SAFE_OPTIONS - {"num_predict"}), *LAUNCH_OPTIONS, "mirostat"]), st.text()),
    VALUES,
)
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
OTHERS = st.dictionaries(
    st.sampled_from(["model", "prompt", "messages", "format", "think", "seed", "keep_alive", "shift", "stream"]), VALUES
)
SPACED = st.sampled_from([None, 1])


@given(
    st.sampled_from([path for path in PATHS if "embed" not in path]),
    OTHERS,
    st.none()
    | st.builds(
        lambda inner, limit: inner | limit, OPTIONS, st.fixed_dictionaries({}, optional={"num_predict": NUMBERS})
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys(LIMITS, NUMBERS)),
    st.integers(1, 50000),
    SPACED,
)
def test_whatever_is_asked_nothing_passes_that_hurts_and_nothing_else_is_touched(
    path: str,
    others: dict[str, Any],
    options: dict[str, Any] | None,
    limits: dict[str, Any],
    longest: int,
    spaced: int | None,
) -> None:
    asked = {**others, "options": options, **limits}
    fields = {name: json.dumps(value, indent=spaced).encode() for name, value in asked.items()}
    done = applied(ask(path, fields), Plan("lab", knobs={"output_tokens": most(longest)}), ())
    read = json.loads(done.body or b"")

    if PATHS[path] is Tongue.OLLAMA:
        assert 1 <= read["options"]["num_predict"] <= longest
        assert read["options"].keys() <= SAFE_OPTIONS
        assert not {"keep_alive", "shift"} & read.keys()
        kept = {name: value for name, value in (options or {}).items() if name in SAFE_OPTIONS - {"num_predict"}}
        left = {name: value for name, value in read["options"].items() if name != "num_predict"}
        assert repr(kept) == repr(left)  # Which tells 1 from 1.0.
        touched = {"keep_alive", "shift", "options"}
    else:
        limit = "max_output_tokens" if PATHS[path] is Tongue.RESPONSES else "max_tokens"
        assert isinstance(read[limit], int)
        assert 1 <= read[limit] <= longest
        touched = {limit, "max_completion_tokens"} if PATHS[path] is Tongue.OPENAI else {limit}
    assert {name: text for name, text in fields.items() if name not in touched} == {
        name: text for name, text in done.fields.items() if name not in touched
    }
    assert all(re.fullmatch(r"[A-Za-z0-9_.?]{1,40}=[A-Za-z0-9_.-]{1,40}", change) for change in done.changes)


@given(st.text(), st.sampled_from(list(Rule)), VALUES)
def test_whatever_an_option_is_called_what_is_told_fits_in_a_header(name: str, rule: Rule, value: object) -> None:
    fields = {"options": json.dumps({name: value}).encode()}
    try:
        done = applied(ask("/api/embed", fields), Plan("lab", knobs={"options": Setting(rule)}), ())
    except KnobRefused as refused:
        told = [refused.param or ""]
    else:
        told = list(done.changes)

    assert all(re.fullmatch(r"[A-Za-z0-9_.?=]+", one) for one in told)
