"""``python -m bench.peers [litellm] [portkey]``: install what is large and measured beside the gate, some 1.2 GB."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.peers import HERE, LITELLM, PORTKEY, place


def _litellm(folder: Path) -> None:
    """A virtual environment of its own."""
    uv = Path(sys.executable).with_name("uv")
    run = [str(uv)] if uv.exists() else [shutil.which("uv") or ""]
    if not run[0]:
        raise SystemExit("bench.peers: needs uv, which the developer's environment has")
    _done([*run, "venv", "--clear", "--python", sys.executable, str(folder)])
    python = str(folder / "bin" / "python")
    _done([*run, "pip", "sync", "--require-hashes", "--python", python, str(HERE / "litellm.lock")])


def _portkey(folder: Path) -> None:
    if not shutil.which("npm"):
        raise SystemExit("bench.peers: needs Node.js 18 or newer, with npm")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "portkey", folder)
    _done(["npm", "ci", "--ignore-scripts"], folder)


INSTALLERS: Mapping[str, Callable[[Path], None]] = {LITELLM: _litellm, PORTKEY: _portkey}


def _done(command: Sequence[str], folder: Path | None = None) -> None:
    if code := subprocess.run(command, cwd=folder, check=False).returncode:
        raise SystemExit(f"bench.peers: {command[0]} ended with {code}")


def main(words: Sequence[str]) -> None:
    """Install what is named, or all; what is there stays."""
    by_word = {name.lower(): name for name in INSTALLERS}
    for word in words:
        if word not in by_word:
            raise SystemExit(f"bench.peers: there is no {word}, only {' and '.join(by_word)}")
    for word in words or by_word:
        there = place(by_word[word])
        if not there.complete.exists():
            there.folder.parent.mkdir(parents=True, exist_ok=True)
            INSTALLERS[by_word[word]](there.folder)
            there.complete.touch()
        print(f"{by_word[word]} is in {there.folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
