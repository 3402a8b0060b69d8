import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Forbidden, GateError, TooManyFailures, TwoCredentials, Unauthenticated
from proxy.limits.strangers import MOST_ADDRESSES, Strangers, network
from tests.fakes.moments import FakeMoments

HOME = "203.0.113.7"
PER_MINUTE = 60


def strangers(clock: FakeMoments | None = None, per_minute: int = PER_MINUTE) -> Strangers:
    moments = clock or FakeMoments()
    return Strangers(per_minute, lambda: moments.steady)


def tried(counts: Strangers, peer: str = HOME, error: type[GateError] = Unauthenticated) -> GateError:
    """What a call hears that proves nothing."""
    with pytest.raises(GateError) as raised, counts.counted(peer):
        raise error
    return raised.value


def unanswered(counts: Strangers, peer: str, times: int = PER_MINUTE) -> int:
    """How many of so many were told to come back later."""
    return sum(isinstance(tried(counts, peer), TooManyFailures) for _ in range(times))


def facts(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any, Any]]:
    return [(record.message, vars(record)["calls"], vars(record)["addresses"]) for record in caplog.records]


def test_as_many_as_are_allowed_in_a_minute_are_answered_and_no_more() -> None:
    counts = strangers()

    assert [Unauthenticated] * PER_MINUTE == [type(tried(counts)) for _ in range(PER_MINUTE)]
    assert [TooManyFailures] * 5 == [type(tried(counts)) for _ in range(5)]
    assert 5 == counts.refused


def test_they_come_back_one_by_one() -> None:
    clock = FakeMoments()
    counts = strangers(clock)
    unanswered(counts, HOME)
    clock.move(0.999_999)
    told = tried(counts)

    assert isinstance(told, TooManyFailures)
    assert 1 == told.wait
    clock.move(0.000_001)

    assert type(tried(counts)) is Unauthenticated
    assert 1 == unanswered(counts, HOME, 1)


def test_who_tries_too_often_waits_no_longer_for_it() -> None:
    clock = FakeMoments()
    counts = strangers(clock)
    unanswered(counts, HOME, 10 * PER_MINUTE)
    clock.move(60)

    assert 0 == unanswered(counts, HOME)


def test_the_refusal_says_when_to_come_back_and_why_it_came() -> None:
    counts = strangers(per_minute=1)
    first, told = tried(counts), tried(counts)

    assert (429, "too_many_failures", "requests") == (told.status, told.code, told.counts)
    assert {"Retry-After": "60", "Retry-After-Ms": "60000"} == told.headers
    assert type(told.__cause__) is type(first)
    assert HOME not in told.message


def test_two_credentials_count_like_one_that_is_wrong() -> None:
    counts = strangers(per_minute=1)

    assert type(tried(counts, error=TwoCredentials)) is TwoCredentials
    assert isinstance(tried(counts, error=TwoCredentials), TooManyFailures)
    assert isinstance(tried(counts), TooManyFailures)


def test_who_is_known_is_let_in_from_an_address_that_others_guess_at() -> None:
    counts = strangers(per_minute=1)
    unanswered(counts, HOME)
    with counts.counted(HOME):
        entered = True

    assert entered


def test_who_is_known_and_may_not_counts_for_nothing() -> None:
    counts = strangers(per_minute=1)

    assert [Forbidden] * 9 == [type(tried(counts, error=Forbidden)) for _ in range(9)]
    assert type(tried(counts)) is Unauthenticated


def test_one_address_does_not_pay_for_another() -> None:
    counts = strangers()
    unanswered(counts, HOME)

    assert 0 == unanswered(counts, "203.0.113.8")


@pytest.mark.parametrize(
    ("peer", "other", "one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:DB8::1:0:0:0:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:203.0.113.7", HOME, True),
        ("::ffff:cb00:7107", HOME, True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("::203.0.113.7", HOME, False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "127.0.0.1", False),
        (HOME, "203.0.113.07", False),
        ("", HOME, False),
    ],
)
def test_a_household_has_one_address_however_it_is_written(peer: str, other: str, one: bool) -> None:
    counts = strangers()
    unanswered(counts, peer)

    assert one == (network(peer) == network(other))
    assert (1 if one else 0) == unanswered(counts, other, 1)


@pytest.mark.parametrize("peer", ["", "unix:", "localhost", "1.2.3.4:80", "[::1]", "%", "\x00", "\udcff", "9" * 99])
def test_a_peer_that_is_no_address_counts_like_one(peer: str) -> None:
    counts = strangers()

    assert 0 == unanswered(counts, peer)
    assert 1 == unanswered(counts, peer, 1)


@given(st.text(st.characters(exclude_categories=[])))
def test_no_peer_is_too_odd_to_be_counted(peer: str) -> None:
    assert type(tried(strangers(), peer)) is Unauthenticated


@given(st.ip_addresses(v=4).map(str))
def test_an_address_of_the_fourth_version_is_itself(peer: str) -> None:
    assert peer == network(peer) == network(f"::ffff:{peer}")


def test_so_many_addresses_are_remembered_and_the_quietest_is_forgotten() -> None:
    counts = strangers(per_minute=1)
    peers = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(MOST_ADDRESSES + 1)]
    for peer in peers[:-1]:
        tried(counts, peer)
    tried(counts, peers[0])  # It is not quiet.
    tried(counts, peers[-1])

    assert type(tried(counts, peers[1])) is Unauthenticated
    assert isinstance(tried(counts, peers[0]), TooManyFailures)
    assert isinstance(tried(counts, peers[-1]), TooManyFailures)


def test_the_log_has_one_line_a_minute_with_all_that_were_refused_since(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeMoments()
    counts = strangers(clock, per_minute=1)
    for _ in range(10):
        tried(counts)
    tried(counts, "203.0.113.8")

    assert [("strangers_refused", 1, 1)] == facts(caplog)
    clock.move(59.999)
    tried(counts)
    caplog.clear()
    clock.move(0.001)
    tried(counts)
    tried(counts)

    assert [("strangers_refused", 10, 2)] == facts(caplog)
    assert {("proxy.limits", logging.WARNING)} == {(record.name, record.levelno) for record in caplog.records}
    assert 11 == counts.refused


def test_the_log_says_nothing_while_nobody_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    unanswered(strangers(), HOME)

    assert [] == caplog.records


def test_a_clock_that_is_set_back_locks_nobody_out_for_longer_than_a_minute() -> None:
    clock = FakeMoments()
    counts = strangers(clock)
    unanswered(counts, HOME)
    clock.move(-86_400)

    assert 1 == unanswered(counts, HOME, 1)
    clock.move(60)

    assert 0 == unanswered(counts, HOME)
