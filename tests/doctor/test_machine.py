import pytest

from proxy.doctor.machine import Descriptors, Disk, descriptors, disk
from tests.doctor.shown import shown

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (Descriptors(None), "ok"),
        (Descriptors(65_536), "ok"),
        (Descriptors(1024), "warning"),
        (Descriptors(1024, connections=200), "ok"),
        (Descriptors(1024, connections=480), "ok"),
        (Descriptors(1024, connections=481), "critical"),
    ],
)
def test_too_few_descriptors_are_told(found: Descriptors, severity: str) -> None:
    assert {"machine.descriptors": severity} == shown(descriptors(found))


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (Disk("/state", 1024 * MEBIBYTE, 256 * MEBIBYTE), "ok"),
        (Disk("/state", 200 * MEBIBYTE, 256 * MEBIBYTE), "warning"),
        (Disk("/state", 63 * MEBIBYTE, MEBIBYTE), "critical"),
        (Disk("/state", 1024 * MEBIBYTE, MEBIBYTE, read_only=True), "critical"),
        (Disk("/state", None, MEBIBYTE), "info"),
    ],
)
def test_too_little_room_is_told(found: Disk, severity: str) -> None:
    assert {"machine.disk": severity} == shown(disk(found))


def test_the_cure_for_little_room_fits_into_it() -> None:
    (told,) = disk(Disk("/state", 200 * MEBIBYTE, 256 * MEBIBYTE))

    assert 'spool = "100MiB"' in told.cure
