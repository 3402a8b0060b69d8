"""``scripts/docs`` in a small clone, with the environment that there is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.shell import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("scripts/docs", "docs/conf.py", "docs/generate.py", "docs/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    install = tmp_path / "scripts/install"
    install.write_text(f"#!/bin/sh\necho {sys.prefix}\n")
    install.chmod(0o755)
    return tmp_path


def run(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(clone / "scripts/docs"), *words], cwd="/", check=False, capture_output=True, text=True, timeout=60
    )


def test_pages_are_written_looked_at_and_built(clone: Path) -> None:
    (clone / "docs/index.md").write_text("# Index\n\n```{toctree}\ncommands\nerrors\nclients\nollama-identity\n```\n")
    for name in ("clients", "ollama-identity"):  # The pages that those lead to.
        (clone / f"docs/{name}.md").write_text("# A page\n")
    missing = run(clone, "--check")
    written = run(clone, "--write")

    assert 1 == missing.returncode
    assert "docs/errors.md is not what the code says" in missing.stderr
    assert (0, "") == (written.returncode, written.stderr)
    assert (clone / "docs/_build/html/docs/errors.html").is_file()
    assert 0 == run(clone, "--check").returncode


def test_an_option_that_is_none_is_refused(clone: Path) -> None:
    done = run(clone, "--open")

    assert (2, "scripts/docs: unknown option --open; see the top of the file\n") == (done.returncode, done.stderr)
    assert not (clone / "docs/_build").exists()
