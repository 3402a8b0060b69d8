import resource

import pytest

from proxy.bootstrap.descriptors import held, raised
from proxy.errors import Misconfigured


@pytest.mark.parametrize(
    ("told", "descriptors", "expected"),
    [(None, 1024, 341), (None, 256, 85), (None, 10**6, 10_000), (100, 264, 100), (50_000, 10**6, 50_000)],
)
def test_as_many_connections_are_held_as_there_are_descriptors_for(
    told: int | None, descriptors: int, expected: int
) -> None:
    assert expected == held(told, descriptors)


@pytest.mark.parametrize(("told", "descriptors"), [(100, 263), (10_000, 1024), (None, 64)])
def test_what_cannot_be_held_is_refused_with_the_cure(told: int | None, descriptors: int) -> None:
    with pytest.raises(Misconfigured, match=rf"may have {descriptors}: raise the limit"):
        held(told, descriptors)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(512, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
        found = raised()

        assert found == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= lower
        assert hard in (found, resource.RLIM_INFINITY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
