"""What findings come to, for tests that care for no words."""

from collections.abc import Iterable, Mapping

from proxy.doctor.findings import Finding, Severity, exit_code


def shown(findings: Iterable[Finding]) -> Mapping[str, str]:
    """The severity of each by its id; whatever is bad tells why and how to cure it."""
    told = list(findings)
    for one in told:
        assert one.what.endswith((".", "?"))
        if exit_code([one]):
            assert one.why.endswith(".")
            assert one.cure
        assert one.severity is not Severity.OK or not one.cure
    assert len({one.id for one in told}) == len(told)
    return {one.id: one.severity.value for one in told}
