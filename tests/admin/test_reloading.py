from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.control import Control, path_in
from proxy.admin.refusals import GateNotRunning, NotDone
from proxy.admin.reloading import Reloaded, reload, told
from proxy.config.layers import Mistake

MISTAKES = (Mistake("llamagate.toml", "listne", "is not a setting", "did you mean listen?"),)


@pytest.mark.parametrize(
    "reloaded", [Reloaded(), Reloaded(("plans.lab.models", "limits"), ("listen",)), Reloaded(mistakes=MISTAKES)]
)
async def test_what_the_gate_made_of_it_arrives_as_it_was_sent(tmp_path: Path, reloaded: Reloaded) -> None:
    async def handler(_: Mapping[str, Any]) -> Any:
        return told(reloaded)

    async with Control(path_in(tmp_path), {"reload": handler}).listening():
        assert reloaded == await reload(path_in(tmp_path))


async def test_without_a_gate_nothing_is_read_again(tmp_path: Path) -> None:
    with pytest.raises(GateNotRunning):
        await reload(path_in(tmp_path))


@pytest.mark.parametrize("answer", [None, {}, {"applied": [], "waiting": [], "mistakes": [{"moon": 1}]}])
async def test_an_answer_of_another_version_is_told(tmp_path: Path, answer: Any) -> None:
    async def handler(_: Mapping[str, Any]) -> Any:
        return answer

    async with Control(path_in(tmp_path), {"reload": handler}).listening():
        with pytest.raises(NotDone, match="different versions"):
            await reload(path_in(tmp_path))
