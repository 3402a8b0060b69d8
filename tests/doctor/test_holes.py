import pytest

from proxy.doctor.holes import HOLES, Version, never_closed, open_in, version_of


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.17.1", (0, 17, 1, True)),
        ("v0.33.0", (0, 33, 0, True)),
        ("0.33.0-rc2", (0, 33, 0, False)),
        ("0.6.8-0-g8d5ac4c", (0, 6, 8, False)),
        ("0.5.7+cuda", (0, 5, 7, True)),
        ("0.0.0", None),
        ("unknown", None),
        ("0.1", None),
        ("", None),
    ],
)
def test_a_version_is_read_and_what_is_none_is_told_apart(text: str, version: Version | None) -> None:
    assert version == version_of(text)


@pytest.mark.parametrize(
    ("text", "open_"),
    [
        ("0.1.28", 5),
        ("0.1.29", 4),
        ("0.1.34", 3),
        ("0.1.46", 2),
        ("0.1.47", 1),
        ("0.17.0", 1),
        ("0.17.1-rc1", 1),
        ("0.17.1", 0),
        ("0.33.0", 0),
    ],
)
def test_a_hole_is_open_up_to_the_version_that_closed_it(text: str, open_: int) -> None:
    version = version_of(text)
    assert version is not None

    assert open_ == len(list(open_in(version)))


def test_each_hole_has_its_number_once_and_either_a_version_or_none() -> None:
    assert len(HOLES) == len({hole.cve for hole in HOLES})
    assert all(hole.closed_in is None or version_of(hole.closed_in) for hole in HOLES)
    assert ["CVE-2025-51471", "CVE-2026-5530"] == [hole.cve for hole in never_closed()]
