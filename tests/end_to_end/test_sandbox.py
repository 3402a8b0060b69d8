"""The real gate under bubblewrap: read-only but for its state, not root, without any capability."""

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.gate import LISTENS, scripted
from tests.end_to_end.processes import ROOT, STOP_SECONDS, Running, environment, python, running

NOBODY = "65534"
STATE = "/tmp/state"  # noqa: S108 - in the sandbox, whose /tmp is its own
MODEL = "llama3.2:1b"
COMMAND_SECONDS = 60.0
TRY_TO_WRITE = """
import os, sys, tempfile
for folder in sys.argv[1:]:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        print(folder, error.strerror)
    else:
        print(folder, "was written")
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the gate is shut in."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def variables(self) -> dict[str, str]:
        return {**environment(self.folder), "LLAMAGATE_STATE_DIR": STATE, "HOME": "/nonexistent"}

    def around(self, command: list[str]) -> list[str]:
        return [
            *("bwrap", "--unshare-all", "--share-net", "--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY),
            *("--new-session", "--die-with-parent"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108
            # Where they are below /tmp they would be hidden now.
            *("--ro-bind", str(ROOT), str(ROOT), "--ro-bind", sys.prefix, sys.prefix),
            *("--bind", str(self.state), STATE, "--chdir", STATE),
            *command,
        ]

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.around(command),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=self.variables,
            cwd=ROOT,
            check=False,
        )

    def asked(self, *words: str) -> list[Any]:
        """What a command of the gate's prints, one JSON value per line."""
        done = self.run(python("proxy", *words))

        assert 0 == done.returncode, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def serving(self, upstream: str) -> Iterator[Running]:
        serve = python("proxy", "serve", "--listen", "127.0.0.1:0", "--upstream", upstream)
        with running(self.around(serve), self.folder, LISTENS, self.variables) as process:
            yield process


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    if shutil.which("bwrap") is None:
        pytest.skip("there is no bwrap here; on Debian it is in the package bubblewrap")
    here = Sandbox(tmp_path)
    here.state.mkdir(mode=0o700)
    tried = here.run(["true"])
    if tried.returncode != 0:
        pytest.skip(f"bwrap makes no sandbox on this machine: {tried.stderr.strip()}")
    return here


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[str]:
    with scripted(tmp_path / "script") as url:
        yield url


def gate_in(process: Running) -> psutil.Process:
    """The gate itself, which bwrap has started and to which it passes no signal."""
    (gate,) = [one for one in psutil.Process(process.process.pid).children(recursive=True) if not one.children()]
    return gate


def asked(url: str, key: str, path: str, **said: object) -> str:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", json.dumps(said).encode() if said else None, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_gate_works_in_a_sandbox(sandbox: Sandbox, upstream: str) -> None:
    question = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}]}
    (issued,) = sandbox.asked("keys", "create", "--user", "alice", "--json")
    with sandbox.serving(upstream) as process:
        status = Path(f"/proc/{gate_in(process).pid}/status").read_text()
        whole = json.loads(asked(process.url, issued["key"], "/v1/chat/completions", **question))
        stream = asked(process.url, issued["key"], "/v1/chat/completions", **question, stream=True)
        native = asked(process.url, issued["key"], "/api/chat", **question)
        health = asked(process.url, "", "/healthz")
        (usage,) = sandbox.asked("usage", "--by", "user", "--json")
        gate_in(process).send_signal(signal.SIGTERM)
        ended = process.process.wait(STOP_SECONDS)
        log = process.log.with_name("out.log").read_text()
    calls = sandbox.asked("calls", "--json")

    assert whole["choices"][0]["message"]["content"]
    assert stream.endswith("data: [DONE]\n\n")
    assert json.loads(native.splitlines()[-1])["done"]
    assert "ok" == health
    assert 0 == ended
    assert [("alice", 3)] == [(row["user"], row["calls"]) for row in usage]
    assert ["served"] * 3 == [call["outcome"] for call in calls]
    assert 3 == log.count('"call_ended"')
    assert "Traceback" not in log
    facts = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert {"0000000000000000"} == {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert "1" == facts["NoNewPrivs"]
    assert {"llamagate.db", "pepper"} <= {file.name for file in sandbox.state.iterdir()}


def test_the_sandbox_holds(sandbox: Sandbox) -> None:
    """What is promised of it is so, else the other test shows nothing."""
    folders = ("/", "/etc", "/var", str(ROOT), str(sandbox.folder.parent.parent), STATE)
    told = sandbox.run([sys.executable, "-c", TRY_TO_WRITE, *folders]).stdout.splitlines()
    who = sandbox.run(["id", "-u"]).stdout.strip()
    alone = sandbox.run([sys.executable, "-c", "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"])

    assert f"{STATE} was written" == told.pop()
    assert len(folders) - 1 == len(told)
    assert not [line for line in told if line.endswith("was written")]
    assert NOBODY == who
    assert int(alone.stdout) <= 3
