import inspect
import re

import pytest

from proxy import errors
from proxy.errors import BackendRefused, GateError, RateLimited, WrongMethod

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GateError)]


def made(kind: type[GateError]) -> GateError:
    match kind:
        case errors.WrongMethod:
            return WrongMethod(("GET", "HEAD"))
        case errors.BackendRefused:
            return BackendRefused(503)
        case errors.RateLimited:
            return RateLimited("Too many.", wait=1_500_000)
        case errors.TooManyFailures:
            return errors.TooManyFailures(wait=1)
    return kind()


def drawn() -> dict[str, tuple[str, int | None]]:
    """The tree above the classes: each one's parent, and its status where one is told."""
    above, tree = ["GateError"], {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│ ├└─]+)(\w+)(?:\s+(\d{3})?|$)", line):
            depth = len(found[1]) // 4
            tree[found[2]] = above[depth - 1], int(found[3]) if found[3] else None
            above[depth:] = [found[2]]
    return tree


def test_the_tree_is_drawn_as_it_is() -> None:
    assert {kind.__name__: kind.__base__.__name__ for kind in KINDS if kind is not GateError and kind.__base__} == {
        name: parent for name, (parent, _) in drawn().items()
    }


def test_the_statuses_are_drawn_as_they_are() -> None:
    told = {name: status for name, (_, status) in drawn().items() if status}

    assert len(told) >= 12
    assert told == {name: made(getattr(errors, name)).status for name in told}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_a_code_and_a_sentence(kind: type[GateError]) -> None:
    error = made(kind)

    assert 400 <= error.status <= 599
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.message == str(error)
    assert re.fullmatch(r"[A-Z][^\n]*\.", error.message)


def test_a_code_belongs_to_one_error() -> None:
    assert len(KINDS) == len({kind.code for kind in KINDS})


@pytest.mark.parametrize("kind", KINDS)
def test_header_fields_cannot_be_split(kind: type[GateError]) -> None:
    for name, value in made(kind).headers.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[ -~]+", value)


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.Unauthenticated(), {"WWW-Authenticate": 'Bearer realm="llamagate"'}),  # RFC 9110 §11.6.1 wants one.
        (WrongMethod(("GET", "HEAD")), {"Allow": "GET, HEAD"}),  # RFC 9110 §15.5.6, too.
        (errors.EncodingUnknown(), {"Accept-Encoding": "zstd, identity"}),
        (errors.BackendDown(), {"Retry-After": "5"}),
        (errors.StorageFailed(), {"Retry-After": "5"}),
        (errors.ModelServerBusy(), {"Retry-After": "5"}),
        (RateLimited("", wait=1), {"Retry-After": "1", "Retry-After-Ms": "1"}),
        (RateLimited("", wait=1_000_001), {"Retry-After": "2", "Retry-After-Ms": "1001"}),
        (RateLimited("", wait=60_000_000), {"Retry-After": "60", "Retry-After-Ms": "60000"}),
        (
            RateLimited("", wait=60_001_000),
            {"Retry-After": "61", "Retry-After-Ms": "60001", "X-Should-Retry": "false"},
        ),
        (BackendRefused(404), {}),
        (BackendRefused(503), {}),
        (errors.Forbidden(), {}),
    ],
)
def test_a_refusal_says_in_its_head_what_to_do(error: GateError, headers: dict[str, str]) -> None:
    assert headers == error.headers


def test_a_message_of_ones_own_takes_the_place_of_the_usual_one() -> None:
    assert ("No.", "stream") == (
        (error := errors.NotUnderstood("No.", param="stream")).message,
        error.param,
    )
    assert errors.NotUnderstood.default == errors.NotUnderstood().message


def test_what_the_backend_said_keeps_its_status() -> None:
    assert (429, "slow down") == ((error := BackendRefused(429, "slow down")).status, error.message)
