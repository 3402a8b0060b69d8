"""What this machine tells of itself: its addresses, its limits, its disk."""

import ipaddress
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.doctor.machine import Descriptors, Disk

_IPV4 = Path("/proc/net/fib_trie")
_LOCAL = re.compile(r"\|-- ([0-9.]+)\s+/32 host LOCAL")
"""An address of our own there; proc(5)."""
_IPV6 = Path("/proc/net/if_inet6")
_NOWHERE = "192.0.2.1"
"""Kept for documentation (RFC 5737). Nothing is sent there: the kernel only says by which of our addresses it would."""


def addresses() -> set[str]:
    """This machine's own that are no loopback, as far as it tells."""
    found = {*_of_ipv4(), *_of_ipv6(), *_of_the_way_out()}
    return {str(one) for one in found if not (one.is_loopback or one.is_link_local or one.is_unspecified)}


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _of_ipv4() -> Iterator[Address]:
    with suppress(OSError):
        for one in _LOCAL.findall(_IPV4.read_text()):
            yield ipaddress.IPv4Address(one)


def _of_ipv6() -> Iterator[Address]:
    with suppress(OSError):
        for line in _IPV6.read_text().splitlines():
            yield ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))


def _of_the_way_out() -> Iterator[Address]:
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((_NOWHERE, 9))
        yield ipaddress.ip_address(asking.getsockname()[0])


def descriptors(connections: int | None) -> Descriptors:
    """What a process that is started here may have open, once it has raised its own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Descriptors(None if hard == resource.RLIM_INFINITY else hard, connections)


def disk(folder: Path, spool: int) -> Disk:
    """Of the folder, or of the nearest one around it that is there."""
    for there in (folder, *folder.parents):
        with suppress(OSError):  # It is not there, or stands in a folder that is closed to us.
            told = os.statvfs(there)
            return Disk(str(folder), told.f_bavail * told.f_frsize, spool, bool(told.f_flag & os.ST_RDONLY))
    return Disk(str(folder), None, spool)
