import pytest

from proxy.doctor.clocks import Clock, findings
from tests.doctor.shown import shown


@pytest.mark.parametrize(
    ("ahead", "unsure", "severity"),
    [
        (0.0, 0.0, "ok"),
        (2.0, 0.0, "ok"),
        (-2.4, 0.5, "ok"),
        (2.6, 0.5, "warning"),
        (-10.0, 0.5, "warning"),
        (3600.0, 1.0, "critical"),
        (-61.0, 0.5, "critical"),
        (5.0, 10.0, "ok"),
    ],
)
def test_clocks_may_differ_by_what_nobody_can_tell_and_two_seconds(ahead: float, unsure: float, severity: str) -> None:
    assert {"clock.redis": severity} == shown(findings([Clock("Redis", ahead, unsure)]))


def test_it_is_told_which_clock_is_ahead() -> None:
    first, second = findings([Clock("Redis", 10.0, 0.0), Clock("PostgreSQL", -10.0, 0.0)])

    assert "The clock of Redis is 10.0 s ahead of ours." == first.what
    assert "The clock of PostgreSQL is 10.0 s behind ours." == second.what
