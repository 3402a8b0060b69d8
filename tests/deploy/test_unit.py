"""The unit of systemd, by systemd's own tools, and the real gate under its list of system calls."""

import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.deploy import seccomp
from tests.end_to_end.commands import forge
from tests.end_to_end.gate import COMMAND_SECONDS, LISTENS, scripted
from tests.end_to_end.processes import STOP_SECONDS, environment, python, running

MOST = 20
"""Tenths: systemd-analyze calls up to 2.0 of 10 "OK"."""
UNIT = "etc/systemd/system/llamagate.service"
CONFIG = "etc/llamagate/llamagate.toml"
NO_WRITABLE_CODE = (
    "import ctypes, os, sys\nassert 0 == ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)\nos.execvp(sys.argv[1], sys.argv[1:])"
)
"""Sets PR_MDWE_REFUSE_EXEC_GAIN of prctl(2), as MemoryDenyWriteExecute= asks for, and becomes the command."""


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("there is no systemd-analyze here")
    return found


def installed(root: Path, config: str = "") -> Path:
    """The unit for this configuration."""
    (root / CONFIG).parent.mkdir(parents=True)
    (root / CONFIG).write_text(config)
    variables = {name: value for name, value in environment(root).items() if not name.startswith("LLAMAGATE_")}
    done = forge().run(["install-service", "--root", str(root)], root, variables, COMMAND_SECONDS)

    assert 0 == done.returncode, done.stderr
    return root / UNIT


def told(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.mark.parametrize("listen", ["127.0.0.1:11435", "0.0.0.0:443"])
def test_systemd_finds_no_fault_with_the_unit_and_little_that_it_exposes(
    analyze: str, tmp_path: Path, listen: str
) -> None:
    unit = installed(tmp_path, f'listen = "{listen}"\n')
    verified = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", unit], capture_output=True, text=True, check=False
    )
    exposed = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={MOST}", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (verified.returncode, verified.stderr)
    assert 0 == exposed.returncode, exposed.stdout


def test_the_user_of_the_unit_is_the_one_that_is_made(tmp_path: Path) -> None:
    unit = installed(tmp_path)
    kind, name, _ = (tmp_path / "etc/sysusers.d/llamagate.conf").read_text().splitlines()[-1].split(maxsplit=2)

    assert ("u", [name], [name]) == (kind, told(unit, "User"), told(unit, "Group"))


def test_the_gate_serves_under_the_system_calls_of_the_unit_and_tells_its_manager(analyze: str, tmp_path: Path) -> None:
    """With no code that is writable, the PIDs of others hidden, and a manager that waits for its word."""
    if shutil.which("bwrap") is None or seccomp.library() is None:
        pytest.skip("there is no bwrap or no libseccomp here")
    unit = installed(tmp_path)
    seccomp.write(tmp_path / "filter", seccomp.allowed(told(unit, "SystemCallFilter")))
    (state := tmp_path / "state").mkdir(mode=0o700)
    address = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        scripted(tmp_path / "script") as upstream,
    ):
        manager.bind(address)
        manager.settimeout(STOP_SECONDS)
        serve = python("proxy", "serve", "--listen", "127.0.0.1:0", "--upstream", upstream)
        inside = [
            *("sh", "-c", f'exec "$@" 9<{tmp_path}/filter', "sh"),
            *("bwrap", "--unshare-user", "--unshare-pid", "--cap-drop", "ALL", "--die-with-parent"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(state), str(state)),
            *("--seccomp", "9", "--chdir", str(state)),
            *(sys.executable, "-c", NO_WRITABLE_CODE, *serve),
        ]
        variables = {**environment(tmp_path), "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}
        with running(inside, tmp_path, LISTENS, variables) as gate:
            with urllib.request.urlopen(f"{gate.url}/healthz", timeout=STOP_SECONDS) as answer:
                healthy = answer.status
            words = {manager.recv(64).decode() for _ in range(3)}
        log = gate.log.read_text()

    assert 200 == healthy
    assert {"READY=1", "WATCHDOG=1"} <= words
    assert "Traceback" not in log


def test_the_list_of_system_calls_has_teeth(analyze: str, tmp_path: Path) -> None:
    calls = seccomp.allowed(told(installed(tmp_path), "SystemCallFilter"))

    assert {"read", "epoll_wait", "sendto", "execve"} <= calls
    assert set() == calls & {"mount", "ptrace", "bpf", "reboot", "setuid", "init_module"}
