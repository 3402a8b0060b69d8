import asyncio
import inspect
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from proxy.dialects.table import DIALECTS
from proxy.errors import ClientGone
from proxy.ledger import steps
from proxy.ledger.line import Line
from proxy.ledger.prices import Costs
from proxy.policy.endpoints import find
from proxy.relay import relay
from proxy.vocabulary import Ask, Call, Later, Outcome, Take, Tongue, Usage
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import (
    NATIVE_LINES,
    NDJSON,
    OPENAI_EVENTS,
    SSE,
    STREAMS,
    WHOLE,
    line,
    question,
    streamed,
)
from tests.fakes.upstream import ABORT, CLOSE, LAST_CHUNK, RecordingUpstream, Step, chunk, head, streaming, whole

TONGUES = pytest.mark.parametrize("tongue", list(STREAMS))


def asking(gate: Gate, tongue: Tongue) -> bytes:
    """A stream, with its counts where they have to be asked for."""
    return gate.post(STREAMS[tongue][0], question(stream=True, **WITH_COUNTS.get(tongue, {})))


WITH_COUNTS = {Tongue.OPENAI: {"stream_options": {"include_usage": True}}}


def said_of_failure(tongue: Tongue, tail: bytes) -> str:
    """The error's words in what a broken stream ends with."""
    last = tail.strip(b"\n").rpartition(b"\n")[2]
    match tongue:
        case Tongue.OLLAMA:
            return str(json.loads(last)["error"])
        case Tongue.RESPONSES if last.startswith(b"data: "):
            assert b"event: response.failed\ndata: " in tail
            failed = json.loads(last.removeprefix(b"data: "))
            assert failed["error"]["message"] == failed["response"]["error"]["message"]
        case Tongue.ANTHROPIC if last.startswith(b"data: "):
            assert b"event: error\ndata: " in tail
    return str(json.loads(last.removeprefix(b"data: "))["error"]["message"])


@TONGUES
async def test_every_piece_reaches_the_client_before_the_next_exists(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    _, content_type, pieces = STREAMS[tongue]
    events = [asyncio.Event() for _ in pieces]
    script = [step for piece, event in zip(pieces, events, strict=True) for step in (chunk(piece), event)]
    upstream.says(streaming(content_type), *script, LAST_CHUNK)
    client = await gate.connect()
    await client.send(asking(gate, tongue))
    for piece, event in zip(pieces, events, strict=True):
        await client.until(piece)
        event.set()
    told = await client.told()

    assert (b"".join(pieces), True) == (told.body, told.clean)
    assert content_type == told.fields["content-type"]


@TONGUES
@pytest.mark.parametrize("size", [1, 7, 64])
async def test_an_answer_cut_anywhere_arrives_byte_for_byte(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue, size: int
) -> None:
    _, content_type, pieces = STREAMS[tongue]
    everything = b"".join(pieces)
    upstream.says(*streamed(content_type, [everything[at : at + size] for at in range(0, len(everything), size)]))
    told = await gate.ask(asking(gate, tongue))

    assert (everything, True) == (told.body, told.clean)
    assert Usage(26, 3) == (await gate.entry()).usage


@pytest.mark.parametrize("length", [(), ("Content-Length: {length}",)], ids=["chunked", "with a length"])
async def test_counts_that_only_the_gate_asked_for_are_taken_out(
    gate: Gate, upstream: RecordingUpstream, length: tuple[str, ...]
) -> None:
    everything = b"".join(OPENAI_EVENTS)
    framed = [line.format(length=len(everything)) for line in length]
    steps = (
        (head(f"Content-Type: {SSE}", *framed), everything)
        if framed
        else (streaming(SSE), chunk(everything), LAST_CHUNK)
    )
    upstream.says(*steps)
    told = await gate.ask(gate.post("/v1/chat/completions", question(stream=True)))

    assert (b"".join(OPENAI_EVENTS[:3] + OPENAI_EVENTS[4:]), True) == (told.body, told.clean)
    assert Usage(26, 3) == (await gate.entry()).usage
    assert {"include_usage": True} == json.loads(upstream.asked[0].body)["stream_options"]


@TONGUES
@pytest.mark.parametrize("at_a_border", [True, False])
@pytest.mark.parametrize("how", ["last words missing", "reset", "closed", "bad chunk", "short"])
async def test_a_stream_that_breaks_off_looks_broken(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue, how: str, at_a_border: bool
) -> None:
    _, content_type, pieces = STREAMS[tongue]
    came = pieces[0] + pieces[1] + (b"" if at_a_border else pieces[2][:-5])
    read = asyncio.Event()
    ends: dict[str, tuple[Step, ...]] = {
        "last words missing": (LAST_CHUNK,),
        "reset": (ABORT,),
        "closed": (CLOSE,),
        "bad chunk": (b"xyz\r\n",),
    }
    if how == "short":
        length = f"Content-Length: {len(came) + 100}"
        upstream.says(head(f"Content-Type: {content_type}", length), came, read, CLOSE)
    else:
        upstream.says(streaming(content_type), chunk(came), read, *ends[how])
    client = await gate.connect()
    await client.send(asking(gate, tongue))
    await client.until(came)
    read.set()
    told = await client.told()
    entry = await gate.entry()

    assert not told.clean
    assert told.body.startswith(came)
    assert said_of_failure(tongue, told.body[len(came) :])
    assert b"" == await client.closed()
    if how == "last words missing":
        assert (Outcome.TRUNCATED, "truncated") == (entry.outcome, entry.reason)
    else:
        assert (Outcome.BACKEND_FAILED, "backend_broke_off") == (entry.outcome, entry.reason)
    assert 200 == entry.status
    assert not entry.usage.exact
    assert entry.usage.completion_tokens >= 1


ONE_OBJECT = {
    "/api/chat": Tongue.OLLAMA,
    "/v1/chat/completions": Tongue.OPENAI,
    "/v1/responses": Tongue.RESPONSES,
    "/v1/messages": Tongue.ANTHROPIC,
}


@pytest.mark.parametrize("path", ONE_OBJECT)
@pytest.mark.parametrize(
    "framing", [("Transfer-Encoding: chunked",), ("Content-Length: 100",)], ids=["chunks", "short"]
)
async def test_an_answer_of_one_object_that_breaks_off_was_never_begun(
    gate: Gate, upstream: RecordingUpstream, path: str, framing: tuple[str, ...]
) -> None:
    came = WHOLE[ONE_OBJECT[path]][:-5]
    upstream.says(head("Content-Type: application/json", *framing), chunk(came) if "chunked" in framing[0] else came)
    upstream.says(*upstream.script, CLOSE)
    told = await gate.ask(gate.post(path, question(stream=False)))
    entry = await gate.entry()

    assert (502, True, "application/json") == (told.status, told.clean, told.fields["content-type"])
    assert "broke off" in said_of_failure(ONE_OBJECT[path], told.body)
    assert (Outcome.BACKEND_FAILED, "backend_broke_off", 502) == (entry.outcome, entry.reason, entry.status)
    assert not entry.usage.exact


@pytest.mark.parametrize("path", ONE_OBJECT)
async def test_an_object_that_ends_politely_before_its_end_is_no_answer(
    gate: Gate, upstream: RecordingUpstream, path: str
) -> None:
    upstream.says(whole(WHOLE[ONE_OBJECT[path]][:-5]))
    told = await gate.ask(gate.post(path, question(stream=False)))

    assert (502, True) == (told.status, told.clean)
    assert "before it was complete" in said_of_failure(ONE_OBJECT[path], told.body)
    assert Outcome.TRUNCATED == (await gate.entry()).outcome


async def test_an_answer_that_ollama_could_not_finish_is_no_answer(gate: Gate, upstream: RecordingUpstream) -> None:
    upstream.says(whole(b'{"model":"llama3.2:1b","message":{"role":"assistant","content":"Be"},"done":false}'))
    told = await gate.ask(gate.post("/api/chat", question(stream=False)))

    assert 502 == told.status
    assert (Outcome.TRUNCATED, "truncated") == ((entry := await gate.entry()).outcome, entry.reason)


@pytest.mark.parametrize(
    ("path", "content_type", "failure"),
    [
        ("/api/chat", NDJSON, line(error="the model crashed")),
        ("/v1/chat/completions", SSE, b'data: {"error":{"message":"the model crashed"}}\n\n'),
        (
            "/v1/responses",
            SSE,
            b'event: response.failed\ndata: {"type":"response.failed","response":{"status":"failed"}}\n\n',
        ),
        ("/v1/messages", SSE, b'event: error\ndata: {"type":"error","error":{"message":"the model crashed"}}\n\n'),
    ],
)
async def test_a_failure_that_the_backend_tells_itself_is_told_once(
    gate: Gate, upstream: RecordingUpstream, path: str, content_type: str, failure: bytes
) -> None:
    piece = next(row for row in STREAMS.values() if row[0] == path)[2][1]
    upstream.says(*streamed(content_type, [piece, failure]))
    told = await gate.ask(gate.post(path, question(stream=True)))
    entry = await gate.entry()

    # The clients of /v1/responses read on after this event, so that they would hear of a broken connection instead.
    assert (piece + failure, path == "/v1/responses") == (told.body, told.clean)
    assert Outcome.BACKEND_FAILED == entry.outcome


async def test_a_response_that_failed_by_its_own_words_ends_properly_though_the_backend_then_breaks_off(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    failure = b'event: response.failed\ndata: {"type":"response.failed","response":{"status":"failed"}}\n\n'
    upstream.says(streaming(SSE), chunk(failure), CLOSE)
    told = await gate.ask(gate.post("/v1/responses", question(stream=True)))
    entry = await gate.entry()

    assert (failure, True) == (told.body, told.clean)
    assert (Outcome.BACKEND_FAILED, "backend_broke_off") == (entry.outcome, entry.reason)


async def test_after_a_response_that_failed_by_its_own_words_the_connection_serves_on(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    failure = b'event: response.failed\ndata: {"type":"response.failed","response":{"status":"failed"}}\n\n'
    upstream.says(*streamed(SSE, [failure]))
    client = await gate.connect()
    told = []
    for _ in range(2):
        await client.send(gate.post("/v1/responses", question(stream=True)))
        told.append(await client.told())

    assert [(failure, True)] * 2 == [(each.body, each.clean) for each in told]


@TONGUES
async def test_last_words_after_an_error_make_no_good_end(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    _, content_type, pieces = STREAMS[tongue]
    error = line(type="error", error={"message": "the model crashed"})
    failure = error if tongue is Tongue.OLLAMA else b"data: " + error + b"\n"
    upstream.says(*streamed(content_type, [failure, *pieces]))
    told = await gate.ask(asking(gate, tongue))

    assert (failure + b"".join(pieces), False) == (told.body, told.clean)
    assert Outcome.BACKEND_FAILED == (await gate.entry()).outcome


async def test_a_free_answer_that_breaks_off_looks_broken_whatever_its_type(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    upstream.says(streaming(NDJSON), chunk(b'{"version'), CLOSE)
    told = await gate.ask(gate.get("/api/version"))

    assert not told.clean
    assert Outcome.BACKEND_FAILED == (await gate.entry()).outcome


async def test_a_question_that_streams_may_be_answered_with_one_object(gate: Gate, upstream: RecordingUpstream) -> None:
    loaded = b'{"model":"llama3.2:1b","done":true,"done_reason":"load"}'
    upstream.says(whole(loaded, "application/json; charset=utf-8"))
    told = await gate.ask(gate.post("/api/chat", {"model": "llama3.2:1b"}))

    assert (loaded, True) == (told.body, told.clean)
    assert Outcome.SERVED == (await gate.entry()).outcome


async def test_a_giant_last_line_passes_and_is_counted(gate: Gate, upstream: RecordingUpstream) -> None:
    last = line(done=True, context=[1] * 500_000, prompt_eval_count=26, eval_count=3)
    upstream.says(*streamed(NDJSON, [NATIVE_LINES[0], last]))
    told = await gate.ask(gate.post("/api/generate", {"model": "llama3.2:1b", "prompt": "why?"}))

    assert (NATIVE_LINES[0] + last, True) == (told.body, told.clean)
    assert Usage(26, 3) == (await gate.entry()).usage


async def test_only_fields_that_mean_the_same_to_the_client_come_back(gate: Gate, upstream: RecordingUpstream) -> None:
    fields = (
        "Set-Cookie: s=CANARY",
        "Server: CANARY",
        "Access-Control-Allow-Origin: *",
        "Location: http://evil.example",
        "X-Accel-Redirect: /CANARY",
        "WWW-Authenticate: CANARY",
        "Connection: X-Own",
        "X-Own: CANARY",
        "Cache-Control: no-cache",
    )
    upstream.says(whole(b'{"models":[]}', "application/json", *fields))
    told = await gate.ask(gate.get("/api/tags"))

    own = {"server", "date", "x-request-id", "ratelimit", "ratelimit-policy"}
    assert {"content-type", "transfer-encoding", "cache-control"} == told.fields.keys() - own
    assert b"CANARY" not in told.head
    assert "no-cache" == told.fields["cache-control"]


async def test_a_backend_that_falls_silent_within_its_answer_is_left(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    gate = await open_gate(idle_timeout=0.05)
    upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), asyncio.Event())
    told = await gate.ask(asking(gate, Tongue.OLLAMA))
    entry = await gate.entry()

    assert not told.clean
    assert "took too long" in said_of_failure(Tongue.OLLAMA, told.body)
    assert (Outcome.BACKEND_FAILED, "backend_silent") == (entry.outcome, entry.reason)
    async with asyncio.timeout(20):
        await upstream.connections[0].closed.wait()


@TONGUES
async def test_a_client_that_hangs_up_on_the_last_words_was_served(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    _, content_type, pieces = STREAMS[tongue]
    upstream.says(streaming(content_type), chunk(b"".join(pieces)), asyncio.Event())
    client = await gate.connect()
    await client.send(asking(gate, tongue))
    await client.until(pieces[-1])
    client.close()
    entry = await gate.entry()

    assert (Outcome.SERVED, 200, None) == (entry.outcome, entry.status, entry.reason)
    assert Usage(26, 3) == entry.usage


LOADED = [{"name": "llama3.2:1b", "model": "llama3.2:1b", "context_length": 26}]


@pytest.mark.parametrize(
    ("path", "holds", "cut"),
    [(path, holds, cut) for path in ONE_OBJECT for holds, cut in ((25, True), (26, True), (27, False), (None, False))],
)
async def test_a_prompt_that_reached_the_end_of_the_context_is_marked(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str, holds: int | None, cut: bool
) -> None:
    upstream.loaded = [{**LOADED[0], "context_length": holds}]
    gate = await open_gate()
    upstream.says(whole(WHOLE[ONE_OBJECT[path]]))
    told = await gate.ask(gate.post(path, question(stream=False)))

    assert ("yes" if cut else None) == told.fields.get("x-llamagate-prompt-cut")
    assert cut is (await gate.entry()).prompt_cut


@TONGUES
async def test_a_stream_whose_prompt_was_cut_is_marked_in_the_ledger(
    open_gate: OpenGate, upstream: RecordingUpstream, tongue: Tongue
) -> None:
    upstream.loaded = LOADED
    gate = await open_gate()
    upstream.says(*streamed(STREAMS[tongue][1], STREAMS[tongue][2]))
    short = await gate.ask(asking(gate, tongue))
    long = await gate.ask(
        gate.post(STREAMS[tongue][0], question(stream=True, system="why? " * 50, prompt="why? " * 50))
    )

    assert None is short.fields.get("x-llamagate-prompt-cut")
    assert (200, True) == (long.status, long.clean)
    assert [True, True] == [(await gate.entry()).prompt_cut for _ in range(2)]


async def test_a_stream_whose_prompt_is_plainly_too_long_says_so_at_once(
    open_gate: OpenGate, upstream: RecordingUpstream
) -> None:
    upstream.loaded = LOADED
    gate = await open_gate()
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    messages = [{"role": "user", "content": "why is the sky blue? " * 50}]
    told = await gate.ask(gate.post("/api/chat", question(messages=messages)))

    assert "likely" == told.fields["x-llamagate-prompt-cut"]


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        ("/api/chat", {"messages": []}, False),
        ("/api/generate", {"prompt": "x", "truncate": True}, False),
        ("/api/embed", {"input": "x"}, False),
        ("/v1/chat/completions", {"messages": []}, None),
    ],
)
async def test_a_plan_may_have_long_prompts_refused_where_ollama_can(
    open_gate: OpenGate, upstream: RecordingUpstream, path: str, said: dict[str, object], told: bool | None
) -> None:
    gate = await open_gate(plans={"default": {"truncation": "refuse"}})
    upstream.says(whole(b'{"error":"the input length exceeds the context length"}', status="400 Bad Request"))
    refused = await gate.ask(gate.post(path, {"model": "llama3.2:1b", **said}))

    assert told is json.loads(upstream.asked[0].body).get("truncate")
    assert 400 == refused.status
    assert b"Shorten it, or ask for a model that holds more." in refused.body


class Left:
    """An answer whose client leaves just as its last words have come, and a client and a ``Keeper`` for it."""

    status = 200
    headers: Mapping[str, str] = {"content-type": NDJSON}
    full = False

    def __init__(self) -> None:
        self.kept: list[Later] = []

    async def flow(self, take: Take) -> None:
        if (owed := take(NATIVE_LINES[-1])) is not None:
            owed.close()
        raise ClientGone

    def context_length(self) -> None:
        return None

    def begin(self, status: int, headers: dict[str, str]) -> None:
        raise AssertionError(status)

    def write(self, piece: bytes) -> Later | None:
        raise AssertionError(piece)

    def end(self) -> Later | None:
        raise AssertionError

    async def break_off(self, piece: bytes) -> None:
        raise AssertionError(piece)

    def note(self, step: steps.Step) -> None:
        raise AssertionError(step)

    def keep(self, step: steps.Step) -> Later:
        self.kept.append(asyncio.sleep(0))
        return self.kept[-1]


async def test_who_leaves_just_as_the_ledger_is_told_leaves_nothing_that_nobody_waits_for() -> None:
    left, endpoint = Left(), find("POST", "/api/chat")[0]
    call = Call("c1", datetime(2026, 3, 1, tzinfo=UTC), "POST", "/api/chat")
    line = Line(call, "", asyncio.get_running_loop().time, left, lambda *told: Costs())
    with pytest.raises(ClientGone):
        await relay(left, Ask(endpoint), DIALECTS[Tongue.OLLAMA], left, line, lambda name: True)

    assert [inspect.CORO_CLOSED] == [inspect.getcoroutinestate(one) for one in left.kept]
