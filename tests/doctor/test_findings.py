import pytest

from proxy.doctor.findings import Finding, Severity, critical, exit_code, info, ok, warning, worst_first

FINE = ok("a.a", "Fine.")
KNOWN = info("a.b", "Known.")
BAD = warning("a.c", "Bad.", "So.", "cure")
WORSE = critical("a.d", "Worse.", "So.", "cure")


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([FINE, KNOWN], 0), ([FINE, BAD, KNOWN], 1), ([BAD, WORSE], 2), ([WORSE, FINE], 2)],
)
def test_the_exit_code_is_that_of_the_worst(findings: list[Finding], code: int) -> None:
    assert code == exit_code(findings)


def test_the_worst_stand_first_and_the_rest_as_it_came() -> None:
    second = Finding("b.b", Severity.CRITICAL, "Also.")

    assert [WORSE, second, BAD, KNOWN, FINE] == worst_first([FINE, WORSE, BAD, second, KNOWN])
