"""Whatever nginx refuses, the gate refuses: its verdicts on the same bytes, recorded by ``scripts/differential``.

What the gate says to each is shown in ``test_vectors``.
"""

import asyncio
from pathlib import Path

import pytest

from tests.security.vectors import CASES
from tests.security.vectors.case import Case
from tests.security.vectors.nginx import Verdict, digest_of, found, recorded, verdicts

LENIENT = {
    "fields: a head as large as it may be": "nginx has four buffers of 8 KiB, into which such fields do not go; they "
    "have one meaning all the same.",
    "host: blanks around it": "A tab may stand around a value (RFC 9110 §5.6.3), where nginx takes blanks alone.",
    "lengths: a length with blanks around it": "The same tab.",
    "lengths: chunks with a tab before": "The same tab.",
    "several: a probe with a body": "It is answered before its body, and its connection closed; nginx waits for it.",
}
"""What the gate takes though nginx does not, and why it may."""
EVERY = 12
"""One case in so many is given to nginx again."""
NGINX = found()


@pytest.fixture(scope="module")
def record() -> dict[str, Verdict]:
    return recorded()


def test_whatever_nginx_refuses_the_gate_refuses_but_for_what_is_listed(record: dict[str, Verdict]) -> None:
    assert LENIENT.keys() == {case.name for case in CASES if case.good_answers > record[case.name].good_answers}


def test_there_is_a_verdict_on_the_bytes_of_each_case_and_on_no_others(record: dict[str, Verdict]) -> None:
    assert {case.name: digest_of(case) for case in CASES} == {name: one.digest for name, one in record.items()}


def test_nginx_takes_what_is_good_and_refuses_much(record: dict[str, Verdict]) -> None:
    taken = sum(verdict.good_answers > 0 for verdict in record.values())

    assert 100 <= taken <= len(record) - 100


@pytest.mark.parametrize(
    "cases",
    [CASES[::EVERY] if NGINX else ()],
    ids=["by the nginx here" if NGINX else "by no nginx, for there is none here"],
)
def test_the_record_is_still_true(cases: tuple[Case, ...], record: dict[str, Verdict], tmp_path: Path) -> None:
    anew = asyncio.run(verdicts(NGINX, tmp_path, cases)) if NGINX else {}

    assert {case.name: record[case.name] for case in cases} == anew
