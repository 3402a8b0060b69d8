"""The first minute of whoever has just installed the gate."""

import re
from pathlib import Path

import pytest

from proxy.demo.real import NAME as MODEL
from tests.end_to_end.gate import command


@pytest.mark.parametrize(("options", "model"), [([], r"\S+"), (["--real"], re.escape(MODEL))])
def test_a_demo_shows_a_streamed_answer_a_refusal_and_its_lines_of_the_ledger(
    options: list[str], model: str, tmp_path: Path
) -> None:
    printed = command(tmp_path, "demo", *options, "--exit")
    _, asked, asked_without_key = printed.split("\n$ curl -N ")
    _, _, answer = asked.split("\n", 2)

    assert '"stream": true' in asked
    assert 1 < len(answer.split())
    assert "Authorization" not in asked_without_key.partition("refused with 401")[0]
    assert '"code":"invalid_api_key"' in asked_without_key
    assert re.search(
        rf"alice · /v1/chat/completions · {model} · served 200 · [1-9]\d* tokens in, [1-9]\d* out", printed
    )
    assert "- · /v1/chat/completions · - · invalid_api_key.nothing_shown 401 · 0 tokens in, 0 out" in printed
