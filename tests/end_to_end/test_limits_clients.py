"""What the official clients make of limits, and whether what they are told that calls cost is what they used up."""

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
from anthropic.types import MessageParam
from openai.types.chat import ChatCompletionMessageParam

from proxy.demo.real import NAME as REAL
from proxy.policy.cost import BYTES_PER_TOKEN, TEMPLATE
from tests.end_to_end import node
from tests.end_to_end.gate import Account, Gate, Row, opened, scripted, zone_at_noon
from tests.end_to_end.processes import until

MODEL = "llama3.2:1b"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
HELLO_CLAUDE: list[MessageParam] = [{"role": "user", "content": "Say hello."}]
COST = 2 + 6
"""Of one call, in the script's words."""
LATE_SECONDS = 3.0
"""By which a client may come later than it was told to, where the machine has other things to do."""

Heard = list[tuple[int, dict[str, str]]]
"""The status and the fields of every answer that came over the wire."""
Ask = Callable[[Gate, Account, int, Heard], None]
"""One call of a client that tries again so many times."""


@pytest.fixture(scope="module")
def scripted_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "llamagate.toml").write_text(f'time_zone = "{zone_at_noon()}"')
    with scripted(tmp_path_factory.mktemp("script")) as upstream, opened(folder, upstream) as gate:
        yield gate


def ask_openai(gate: Gate, account: Account, retries: int, heard: Heard) -> None:
    hooks = {"response": [lambda answer: heard.append((answer.status_code, dict(answer.headers)))]}
    with openai.OpenAI(
        base_url=f"{gate.url}/v1",
        api_key=account.key,
        max_retries=retries,
        http_client=openai.DefaultHttpxClient(event_hooks=hooks),
    ) as client:
        client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=6)


def ask_anthropic(gate: Gate, account: Account, retries: int, heard: Heard) -> None:
    hooks = {"response": [lambda answer: heard.append((answer.status_code, dict(answer.headers)))]}
    with anthropic.Anthropic(
        base_url=gate.url,
        api_key=account.key,
        max_retries=retries,
        http_client=anthropic.DefaultHttpxClient(event_hooks=hooks),
    ) as client:
        client.messages.create(model=MODEL, messages=HELLO_CLAUDE, max_tokens=6)


@pytest.fixture(params=[ask_openai, ask_anthropic], ids=["openai", "anthropic"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked


def written(gate: Gate, account: Account, calls: int) -> list[Row]:
    """The account's lines of the ledger in order, once there are so many."""

    def lines() -> list[Row] | None:
        rows = gate.calls(account)
        return rows if len(rows) >= calls else None

    return sorted(until(lines, 10, f"{calls} lines of the ledger"), key=lambda row: str(row["at"]))


def assert_waited(rows: list[Row], milliseconds: str) -> None:
    """One call, and another that was refused once and came again when it had been told to."""
    refused, again = [datetime.fromisoformat(row["at"]).timestamp() for row in rows[1:]]
    told = int(milliseconds) / 1000

    assert [("served", None), ("refused", "key-requests"), ("served", None)] == [
        (row["outcome"], row["reason"]) for row in rows
    ]
    assert 0 < told <= 2, "at thirty a minute"
    assert told - 0.01 <= again - refused <= told + LATE_SECONDS


def test_a_client_that_is_told_to_wait_comes_again_in_time(scripted_gate: Gate, ask: Ask) -> None:
    account = scripted_gate.issue(f"patient-{ask.__name__}", "--rpm", "30", "--burst", "1")
    heard: Heard = []
    for _ in range(2):
        ask(scripted_gate, account, 2, heard)
    rows = written(scripted_gate, account, 3)

    assert [200, 429, 200] == [status for status, _ in heard]
    assert_waited(rows, heard[1][1]["retry-after-ms"])


def test_a_client_that_does_not_try_again_raises_its_own_error(scripted_gate: Gate) -> None:
    account = scripted_gate.issue("hasty", "--rpm", "1", "--tokens-per-day", "1000")
    ask_openai(scripted_gate, account, 0, [])
    with pytest.raises(openai.RateLimitError) as refusal:
        ask_openai(scripted_gate, account, 0, [])
    fields = refusal.value.response.headers

    assert ("rate_limit_exceeded", "requests") == (refusal.value.code, refusal.value.type)
    assert ("1", "0") == (fields["x-ratelimit-limit-requests"], fields["x-ratelimit-remaining-requests"])
    assert {"retry-after", "retry-after-ms", "x-ratelimit-reset-requests", "ratelimit"} <= fields.keys()
    assert refusal.value.request_id == fields["x-request-id"]

    with pytest.raises(anthropic.RateLimitError) as refused:
        ask_anthropic(scripted_gate, account, 0, [])
    fields = refused.value.response.headers

    assert "rate_limit_error" == refused.value.type
    assert "Limit reached of this key: 1 requests per minute" in str(refused.value)
    assert ("1", "0") == tuple(fields[f"anthropic-ratelimit-requests-{what}"] for what in ("limit", "remaining"))
    assert "1000" == fields["anthropic-ratelimit-tokens-limit"]
    assert datetime.fromisoformat(fields["anthropic-ratelimit-requests-reset"]).tzinfo is not None


def test_a_client_does_not_try_again_on_a_day_that_is_used_up(scripted_gate: Gate, ask: Ask) -> None:
    account = scripted_gate.issue(f"spent-{ask.__name__}", "--tokens-per-day", "55")
    heard: Heard = []
    ask(scripted_gate, account, 5, heard)
    written(scripted_gate, account, 1)
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
        ask(scripted_gate, account, 5, heard)
    rows = written(scripted_gate, account, 2)

    assert [200, 429] == [status for status, _ in heard]
    assert "false" == heard[1][1]["x-should-retry"]
    assert [None, "key-tokens-day"] == [row["reason"] for row in rows]


@pytest.mark.timeout(600)  # The first time, Node.js itself may have to be installed.
def test_the_javascript_client_waits_too(scripted_gate: Gate, programs: Path) -> None:
    account = scripted_gate.issue("node", "--rpm", "30", "--burst", "1")
    told = node.told_by(programs / "limits.mjs", MODEL, "2", **variables(scripted_gate, account))
    rows = written(scripted_gate, account, 3)

    assert [{"tokens": COST}] * 2 == told["came"]
    assert [200, 429, 200] == [status for status, _ in told["heard"]]
    assert_waited(rows, told["heard"][1][1])


@pytest.mark.timeout(600)
def test_the_javascript_client_knows_the_error_and_leaves_a_day_that_is_used_up(
    scripted_gate: Gate, programs: Path
) -> None:
    hasty = scripted_gate.issue("hasty-node", "--rpm", "1")
    spent = scripted_gate.issue("spent-node", "--tokens-per-day", "55")
    told = node.told_by(programs / "limits.mjs", MODEL, "0", **variables(scripted_gate, hasty))
    after = node.told_by(programs / "limits.mjs", MODEL, "5", **variables(scripted_gate, spent))

    assert {
        "error": "RateLimitError",
        "code": "rate_limit_exceeded",
        "type": "requests",
        "status": 429,
        "left": "0",
    } == told["came"][1]
    assert ("RateLimitError", "tokens") == (after["came"][1]["error"], after["came"][1]["type"])
    assert [200, 429] == [status for status, _ in after["heard"]]
    assert 2 == len(written(scripted_gate, spent, 2))


def variables(gate: Gate, account: Account) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{gate.url}/v1", "OPENAI_API_KEY": account.key}


@pytest.fixture(params=["in process", "Redis"])
def real_gate(engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    told = {"time_zone": zone_at_noon()}
    if request.param == "Redis":
        told["redis_url"] = request.getfixturevalue("redis_server").url
    (folder / "llamagate.toml").write_text("\n".join(f"{name} = {json.dumps(one)}" for name, one in told.items()))
    with opened(folder, engine) as gate:
        yield gate


Counts = tuple[int | None, int | None]
"""Tokens of the prompt and of the answer."""


def post(gate: Gate, account: Account, body: bytes) -> Mapping[str, str]:
    """The header fields of the answer, by lower-case name."""
    fields = {"Content-Type": "application/json", **account.bearer}
    request = urllib.request.Request(f"{gate.url}/v1/chat/completions", body, fields)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


def used(gate: Gate, account: Account) -> dict[str, int]:
    (rows,) = gate.asked("limits", "show", account.key_id, "--json")
    return {row["limit"]: row["most"] - row["left"] for row in rows}


def told_natively(gate: Gate, account: Account) -> Iterator[Counts]:
    short = {"num_predict": 6, "temperature": 0}
    with ollama.Client(gate.url, headers=account.bearer) as client:
        answer = client.chat(REAL, [{"role": "user", "content": "Say hello."}], options=short)
        yield answer.prompt_eval_count, answer.eval_count
        *_, last = client.generate(REAL, "One, two, three,", options=short, stream=True)
        yield last.prompt_eval_count, last.eval_count
        yield client.embed(REAL, ["cat", "dog"]).prompt_eval_count, 0


def told_by_openai(gate: Gate, account: Account) -> Iterator[Counts]:
    with openai.OpenAI(base_url=f"{gate.url}/v1", api_key=account.key, max_retries=0) as client:
        said: dict[str, Any] = {"max_tokens": 6, "temperature": 0}
        counted: dict[str, Any] = {**said, "stream_options": {"include_usage": True}}
        with client.chat.completions.create(model=REAL, messages=HELLO, stream=True, **counted) as stream:
            *_, last = stream
        assert last.usage is not None
        yield last.usage.prompt_tokens, last.usage.completion_tokens
        with client.chat.completions.create(model=REAL, messages=HELLO, stream=True, **said) as stream:
            assert [] == [chunk.usage for chunk in stream if chunk.usage]
        usage = client.chat.completions.create(model=REAL, messages=HELLO, stream=False, **said).usage
        assert usage is not None
        for _ in range(2):  # At this temperature the same question costs the same again.
            yield usage.prompt_tokens, usage.completion_tokens
        yield client.embeddings.create(model=REAL, input=["cat", "dog"]).usage.prompt_tokens, 0
        answer = client.responses.create(model=REAL, input="Say hello.", max_output_tokens=6)
        with client.responses.stream(model=REAL, input="Say hello.", max_output_tokens=6) as events:
            for one in (answer, events.get_final_response()):
                assert one.usage is not None
                yield one.usage.input_tokens, one.usage.output_tokens


def told_by_anthropic(gate: Gate, account: Account) -> Iterator[Counts]:
    with anthropic.Anthropic(base_url=gate.url, api_key=account.key, max_retries=0) as client:
        whole = client.messages.create(model=REAL, messages=HELLO_CLAUDE, max_tokens=6)
        with client.messages.stream(model=REAL, messages=HELLO_CLAUDE, max_tokens=6) as stream:
            for one in (whole, stream.get_final_message()):
                yield one.usage.input_tokens, one.usage.output_tokens


def test_what_is_used_up_is_what_the_clients_were_told_to_the_token(real_gate: Gate) -> None:
    account = real_gate.issue("exact", "--tokens-per-day", "1000000", "--tokens-per-month", "2000000")
    told = [
        (prompt or 0, answer or 0)  # Ollama leaves out what is zero.
        for ask in (told_natively, told_by_openai, told_by_anthropic)
        for prompt, answer in ask(real_gate, account)
    ]
    rows = written(real_gate, account, len(told))
    total = sum(map(sum, told))

    assert told == [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    assert {("served", True)} == {(row["outcome"], row["exact"]) for row in rows}
    assert 100 < total
    assert {"tokens-day": total, "tokens-month": total} == used(real_gate, account)


DENSE = {
    "emoji": "💥" * 50,
    "Chinese": "床前明月光疑是地上霜举头望明月低头思故乡" * 4,
    "digits": "3141592653589793238462643383279502884197" * 5,
    "noise": "zQ9#xK!vW$eR7^pL&mN2*bY8(cT5)dF0_gH4+jS6=" * 5,
    "spaces and signs": "{ [ ( < / @ > ) ] } " * 10,
    "English": "The quick brown fox jumps over the lazy dog, and nobody minds. " * 3,
}


@pytest.mark.parametrize("script", DENSE)
def test_no_prompt_goes_further_beyond_what_was_set_aside_than_is_promised(gate: Gate, script: str) -> None:
    account = gate.issue(f"dense {script}", "--tokens-per-day", "1000000")
    said = [{"role": "user", "content": DENSE[script]}]
    messages = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    size = len(messages)
    told = post(gate, account, b'{"model":"%b","messages":%b,"max_tokens":1}' % (REAL.encode(), messages))
    set_aside = 1_000_000 - int(told["x-ratelimit-remaining-tokens"])
    row = written(gate, account, 1)[-1]
    beyond = row["prompt_tokens"] + row["completion_tokens"] - set_aside

    assert TEMPLATE - (-size // BYTES_PER_TOKEN) + 1 == set_aside
    assert beyond <= size - size // BYTES_PER_TOKEN, "as proxy.policy.cost has it"
