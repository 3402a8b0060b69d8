"""What is asked is kept word for word only where a plan says so, apart from everything else, and who asks is told."""

import json
from pathlib import Path

import pytest

from proxy.vocabulary import Tongue
from tests.conftest import OpenGate
from tests.fakes.answers import WHOLE, question
from tests.fakes.upstream import RecordingUpstream, Step, whole

CHAT = "/v1/chat/completions"
CANARY = "canary of a prompt"
ASKED = question(messages=[{"role": "user", "content": CANARY}])
KEPT = "x-llamagate-prompt-logged"


@pytest.mark.parametrize(
    ("answer", "status"),
    [(whole(WHOLE[Tongue.OPENAI]), 200), (whole(b'{"error":"no"}', status="500 Internal Server Error"), 500)],
)
async def test_where_a_plan_says_so_a_prompt_is_kept_and_the_caller_told_whatever_becomes_of_it(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path, answer: Step, status: int
) -> None:
    upstream.says(answer)
    gate = await open_gate(plans={"default": {"log_prompts": "7d"}})
    told = await gate.ask(gate.post(CHAT, ASKED))
    await gate.opened.books.prompts.close()
    (file,) = (tmp_path / "prompts").iterdir()
    (line,) = map(json.loads, file.read_text().splitlines())

    assert (status, "7d") == (told.status, told.fields[KEPT])
    assert (gate.heard.entries[0].id, "alice", CHAT) == (line["id"], line["user"], line["endpoint"])
    assert CANARY in line["body"]
    assert (0o700, 0o600) == tuple(path.stat().st_mode & 0o777 for path in (file.parent, file))


@pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 1}])
async def test_what_is_not_asked_of_the_backend_is_not_kept_and_nobody_is_told_that_it_is(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path, limits: dict[str, int]
) -> None:
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    gate = await open_gate(plans={"default": {"log_prompts": "7d", "limits": limits}})
    if limits:
        await gate.ask(gate.post(CHAT, question()))
    told = await gate.ask(gate.post(CHAT, {**ASKED, "model": MODEL_OF_NOBODY} if not limits else ASKED))
    await gate.opened.books.prompts.close()

    assert (429 if limits else 404) == told.status
    assert KEPT not in told.fields
    assert CANARY not in "".join(path.read_text() for path in (tmp_path / "prompts").glob("*"))


MODEL_OF_NOBODY = "nobody:1b"


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_by_default_no_word_of_a_call_is_anywhere(
    open_gate: OpenGate, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    gate = await open_gate(ledger={"usage_log": True})
    told = await gate.ask(gate.post(CHAT, ASKED))
    await gate.written(1)
    kept = everything(tmp_path)

    assert (200, False) == (told.status, KEPT in told.fields)
    assert CANARY.encode() not in kept
    assert gate.key.encode() not in kept
    assert 1 == len(list((tmp_path / "usage").iterdir()))
