"""What is in ``forking.py``, in a process of its own: the supervisor has no threads, and this process may have some.

A signal that is blocked in one thread comes to another, and whoever forks beside a thread may wait for ever for what
that thread held.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_workers_are_forked_ordered_and_killed_where_there_are_no_threads() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "forking.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert " passed" in done.stdout
