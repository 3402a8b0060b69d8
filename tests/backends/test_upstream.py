from collections.abc import Mapping
from typing import Any

import pytest

from proxy.backends.upstream import context_lengths


def test_the_loaded_models_say_how_much_they_hold() -> None:
    told = {
        "models": [
            {"name": "m:1b", "model": "m:1b", "size": 7, "context_length": 4096},
            {"name": "Big:latest", "context_length": 131072},
        ]
    }

    assert {"m:1b": 4096, "Big:latest": 131072} == context_lengths(told)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"models": None},
        {"models": []},
        {"models": {"name": "m", "context_length": 1}},
        {"models": [None, "m", 7, []]},
        {"models": [{"name": "m"}, {"context_length": 7}]},
        {"models": [{"name": "m", "context_length": length} for length in (None, "7", 7.5, [7], True, 0, -1)]},
        {"models": [{"name": name, "context_length": 7} for name in (None, 7, ["m"])]},
    ],
)
def test_what_an_older_or_stranger_server_says_is_left_out(told: Mapping[str, Any]) -> None:
    assert {} == context_lengths(told)
