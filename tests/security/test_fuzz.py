"""What nobody would send, for a short time and always the same; `scripts/fuzz` looks for longer and elsewhere."""

import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import h11
import pytest

from tests.fakes.answers import MODEL
from tests.security.fuzz import http, stalls, through
from tests.security.fuzz.finding import lines_run, search, tried
from tests.security.fuzz.mutation import LONGEST, changed, inputs
from tests.security.fuzz.stalls import Stall
from tests.security.fuzz.standing import CANARY, FAILS, Standing, standing
from tests.security.fuzz.targets import ROOT, TARGETS, Target

SEED = 20261126
TRIES = 1200
OF_THE_SLOW = {"settings_files": 30, "answers": 800, "refusals_of_backends": 400}
"""How many inputs those get that take long, since they read more than one thing."""
RUNS_WITH_ATHERIS = 2000
EXAMPLES = 2
STALLING_BYTES = 512 * 1024

of_each = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("gate")) as gate:
        yield gate


@of_each
def test_every_seed_is_read_without_a_finding(target: Target) -> None:
    assert [] == [(seed, said) for seed in target.seeds if (said := tried(target, seed)) is not None]


@of_each
def test_no_changed_input_does_what_none_may_do(target: Target) -> None:
    some = islice(inputs(random.Random(SEED), target.seeds), OF_THE_SLOW.get(target.name, TRIES))

    assert [] == [str(finding) for finding in search(target, SEED, some)]


REPEATED = (b"a", b"[", b'"', b"\\", b",", b"1,", b"\r\n", b"%41", b" ", b"=", b"A: 1\r\n", b"[]:,")


@of_each
def test_twice_as_long_an_input_is_no_more_than_about_twice_the_work(target: Target) -> None:
    """Counted in lines of our own code; what the libraries do in C, only the clock of ``scripts/fuzz`` can tell."""
    for piece in REPEATED:
        short, long = (target.seeds[0] + piece * (size // len(piece)) for size in (1000, 2000))
        before, after = lines_run(target.check, short), lines_run(target.check, long)

        assert after <= 2.5 * before + 400, (piece, before, after)


def test_with_an_eye_on_what_code_is_reached_nothing_is_found_either(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine")
    options = [f"-runs={RUNS_WITH_ATHERIS}", f"-seed={SEED}"]
    words = [sys.executable, "-m", "tests.security.fuzz.covered", "framing", str(tmp_path), *options]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert 0 == ended.returncode, f"seed {SEED}: {ended.stderr[-3000:]}"
    assert [] == list(tmp_path.glob("framing-*"))


def test_nothing_on_any_route_is_answered_as_it_should_not_be(gate: Standing) -> None:
    assert [] == list(through.findings(gate, SEED, EXAMPLES))


@pytest.mark.parametrize("status", FAILS)
def test_only_an_upstream_that_fails_makes_the_gate_say_so(gate: Standing, status: int) -> None:
    body = f'{{"model":"{MODEL}","prompt":"FAIL {status}"}}'.encode()
    told = stalls.answered(gate, stalls.post("/api/generate", body, f"Authorization: Bearer {gate.key}"))

    assert told.startswith(f"HTTP/1.1 {status} ".encode()), told[:200]
    assert b"told to" not in told


@pytest.mark.parametrize("name", sorted(stalls.heavy("KEY", 4096)))
def test_no_request_keeps_the_others_waiting(gate: Standing, name: str) -> None:
    stall = stalls.measured(gate, name, stalls.heavy(gate.key, STALLING_BYTES)[name])

    assert not stall.is_one, stall


def test_the_log_tells_of_no_accident_and_repeats_nothing(gate: Standing) -> None:
    stalls.answered(gate, stalls.post(f"/{CANARY}", CANARY.encode(), f"Authorization: Bearer {CANARY}", f"X: {CANARY}"))
    logged = gate.logged()

    assert "call_ended" in logged
    assert [] == [
        word for word in (CANARY, "Traceback", "call_crashed", "connection_failed", gate.key) if word in logged
    ]


# The search itself must have teeth.


def planted(data: bytes) -> None:
    if b"\xff" in data:
        raise KeyError("it has that byte in it")


def test_what_is_planted_is_found_and_shown_as_short_as_it_gets() -> None:
    target = Target(planted, (b"something good",))
    found = list(search(target, SEED, islice(inputs(random.Random(SEED), target.seeds), 2000)))

    assert [b"\xff"] == [finding.data for finding in found]
    assert str(found[0]).startswith(f"planted, seed {SEED}: KeyError: 'it has that byte in it'")


def test_the_same_seed_gives_the_same_inputs_and_none_is_too_long() -> None:
    first, second = ([changed(random.Random(number), (b"a" * 9000, b"b")) for number in range(50)] for _ in range(2))

    assert first == second
    assert max(map(len, first)) <= LONGEST


def test_a_wait_for_the_machine_is_no_stall() -> None:
    assert Stall("a", (0.1, 0.2, 0.1), (0.1, 0.1, 0.1), (0.0, 0.0, 0.0)).is_one
    assert not Stall("a", (0.1, 0.2, 0.1), (0.1, 0.01, 0.1), (0.0, 0.0, 0.0)).is_one
    assert not Stall("a", (0.1, 0.2, 0.1), (0.1, 0.1, 0.1), (0.0, 0.0, 0.09)).is_one
    assert not Stall("a", (0.1, 0.02), (0.1, 0.1), (0.0, 0.0)).is_one


def test_h11_and_aiohttp_refuse_what_framing_would_never_let_through() -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"

    with pytest.raises(h11.RemoteProtocolError):
        http.as_h11(smuggled)
    assert b"" == http.passed([smuggled]).data
