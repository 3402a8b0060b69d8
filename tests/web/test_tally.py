from enum import StrEnum

import pytest

from proxy.web.tally import Tally


class Why(StrEnum):
    A = "a"
    B = "b"


def test_all_are_counted_and_one_a_second_is_told(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    tally = Tally(lambda: now)
    for _ in range(100):
        tally.note("refused", Why.A, status=400)
    tally.note("refused", Why.B)
    now = 1.0
    tally.note("refused", Why.A, status=400)
    told = [(record.message, record.__dict__["reason"], record.__dict__["count"]) for record in caplog.records]

    assert {"a": 101, "b": 1} == tally.counts
    assert [("refused", "a", 1), ("refused", "b", 1), ("refused", "a", 100)] == told
