"""A Dockerfile as a list of steps, and the steps of one that only fetches and copies, done without an engine."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STEP_SECONDS = 300.0
WHEELS = "/tmp/wheels"  # noqa: S108 - in the box, whose /tmp is its own


class Unreachable(Exception):
    """No registry of packages is in reach."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    word: str
    said: str

    @property
    def words(self) -> list[str]:
        """What it says as a list: of a shell's words, or as JSON has it."""
        return list(json.loads(self.said)) if self.said.startswith("[") else shlex.split(self.said)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, word: str) -> list[Step]:
        return [step for step in self.steps if step.word == word]

    def last(self, word: str) -> Step:
        return self.all(word)[-1]

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for step in self.all("ENV") for pair in step.words)


def stages(text: str) -> list[Stage]:
    """In their order; what stands before the first FROM is in none."""
    whole = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    found: list[Stage] = []
    for line in filter(None, map(str.strip, whole.splitlines())):
        word, _, said = line.partition(" ")
        if word == "FROM":
            found.append(Stage(said.partition(" AS ")[2]))
        elif found:
            found[-1].steps.append(Step(word, said.strip()))
    return found


@dataclass(frozen=True, slots=True)
class Box:
    """A bubblewrap over this machine's own files, read-only but for /mnt, /opt and /var/lib, which are folders of ours.

    /mnt is the /src of the image: every machine has such a folder.
    """

    folder: Path

    def place(self, path: str) -> Path:
        """Where a path of the box is out here."""
        for top in ("src", "opt", "var"):
            if path.lstrip("/").split("/")[0] == top:
                return self.folder / path.lstrip("/")
        raise ValueError(f"{path} is not one that can be written here")

    def around(self, command: Sequence[str], *, wheels: Path | None, user: int, folder: str) -> list[str]:
        for name in ("src", "opt", "var/lib"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        fetched = ["--ro-bind", str(wheels), WHEELS] if wheels else []
        return [
            *("bwrap", "--unshare-all", "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", "--uid", str(user), "--gid", str(user)),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108 - its own
            *("--bind" if wheels else "--ro-bind", str(self.folder / "opt"), "/opt"),
            *("--bind", str(self.folder / "var/lib"), "/var/lib"),
            *("--bind", str(self.folder / "src"), "/mnt", "--chdir", folder),
            *fetched,
            *command,
        ]

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        wheels: Path | None = None,
        user: int = 0,
        folder: str = "/",
    ) -> subprocess.CompletedProcess[str]:
        """However it ends, within ``STEP_SECONDS``. ``wheels`` are packages to build from; without, /opt is fixed."""
        around = self.around(command, wheels=wheels, user=user, folder=folder)
        return subprocess.run(
            around, env=dict(environment), capture_output=True, text=True, timeout=STEP_SECONDS, check=False
        )


def fetched(locks: Sequence[Path], folder: Path) -> Path:
    """A folder with the files that the locks pin, which is kept: to find them takes longer than all that follows.

    Raises Unreachable.
    """
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + sys.version.encode()).hexdigest()
    kept = folder / digest[:16]
    if kept.is_dir():
        return kept
    half = Path(tempfile.mkdtemp(dir=folder))
    named = [word for lock in locks for word in ("-r", str(lock))]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--no-deps", "--dest", str(half), *named], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unreachable(done.stderr.strip().splitlines()[-1])
    return half.rename(kept)


def build(stage: Stage, context: Path, box: Box, wheels: Path) -> None:
    """Do what the stage says. AssertionError tells a step that failed."""
    shim = box.place("/opt/.bin")
    shim.mkdir(parents=True)
    (shim / "python").symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    variables = {**stage.environment, "PATH": "/opt/.bin:/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108 - its own
    variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
    for step in stage.steps:
        if step.word == "COPY":
            *sources, target = step.words
            for source in sources:
                copy(context / source, box.place("/src") / target, is_folder=target.endswith("/"))
        elif step.word == "RUN":
            done = box.run(["sh", "-ec", step.said], variables, wheels=wheels, folder="/mnt")
            assert 0 == done.returncode, f"{step.said}\n{done.stdout}{done.stderr}"
        else:
            assert step.word in ("ENV", "WORKDIR"), step


def copy(source: Path, target: Path, *, is_folder: bool = False) -> None:
    """As COPY does: of a folder, what is in it, and not its mode (moby/buildkit#1941)."""
    if source.is_dir():
        mode = target.stat().st_mode if target.exists() else 0o755
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        target.chmod(mode)
        return
    there = target / source.name if is_folder else target
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, there)
