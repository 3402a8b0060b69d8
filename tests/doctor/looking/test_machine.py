import ipaddress
import resource
from pathlib import Path

from proxy.doctor.looking import machine as looking
from proxy.doctor.machine import disk
from tests.doctor.shown import shown


def test_this_machines_addresses_are_addresses_that_others_could_reach() -> None:
    for one in looking.addresses():
        address = ipaddress.ip_address(one)

        assert not address.is_loopback
        assert not address.is_link_local


def test_the_limit_is_the_one_up_to_which_a_process_raises_its_own() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert (None if hard == resource.RLIM_INFINITY else hard) == looking.descriptors(None).most
    assert 7 == looking.descriptors(7).connections


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_around_it(tmp_path: Path) -> None:
    found = looking.disk(tmp_path / "not" / "yet", 100)

    assert found.free is not None
    assert found.free > 0
    assert (str(tmp_path / "not" / "yet"), 100, False) == (found.path, found.spool, found.read_only)


def test_a_spool_that_the_disk_has_no_room_for_is_told(tmp_path: Path) -> None:
    assert {"machine.disk": "warning"} == shown(disk(looking.disk(tmp_path, 2**60)))


def test_a_disk_without_room_is_told() -> None:
    assert {"machine.disk": "critical"} == shown(
        disk(looking.disk(Path("/proc/self"), 100))
    )  # It has room for nothing.
