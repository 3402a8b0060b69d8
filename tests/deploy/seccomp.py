"""A filter of system calls as systemd makes one of ``SystemCallFilter=``, by the library that it uses itself."""

import ctypes
import ctypes.util
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000
"""With the number of the error in the lower half, seccomp_init(3)."""
_EPERM = 1


@cache
def members(group: str) -> frozenset[str]:
    """The calls of a group such as ``@system-service``, and of all groups in it."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    words = re.findall(r"^ +([@\w-]+)$", told.stdout, re.MULTILINE)
    inner = [members(word) if word.startswith("@") else frozenset({word}) for word in words]
    return frozenset().union(*inner)


def allowed(lines: Iterable[str]) -> frozenset[str]:
    """What these values of ``SystemCallFilter=`` leave, in their order. What every unit may do is in it."""
    calls = members("@default")
    for line in lines:
        named = frozenset().union(*map(members, line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def library() -> str | None:
    """The name of libseccomp, if it is here."""
    return ctypes.util.find_library("seccomp")


def write(file: Path, calls: Iterable[str]) -> None:
    """Into the file goes the filter that lets these calls pass and answers EPERM to all others, as bwrap takes it."""
    seccomp = ctypes.CDLL(library())
    seccomp.seccomp_init.restype = ctypes.c_void_p
    made = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | _EPERM))
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # Others are of other machines.
            assert 0 == seccomp.seccomp_rule_add(made, _ALLOW, number, 0), name
    with file.open("wb") as opened:
        assert 0 == seccomp.seccomp_export_bpf(made, opened.fileno())
    seccomp.seccomp_release(made)
